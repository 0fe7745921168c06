"""Which fields do thousands of protobuf messages have, and where do these lie in their bytes?

The messages are read side by side: each turn of the loop takes the next field of every message that has one, as a few
operations on arrays, so that a field costs some nanoseconds and not a Python object. Spans resemble one another, so
there are about as many turns as a span has fields; the few messages that go on for longer are finished one by one.
Nothing is decoded that nobody asks for: a field is the place of its content.

Every place lies inside the message that it was found in, or `UnreadableError` is raised; groups, which proto3 has not,
raise it as well. What the fields mean is not decided here.

Source: protobuf.dev, "Encoding" (tags, wire types, varints).
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "PADDING",
    "Bytes",
    "Fields",
    "Places",
    "TooManyError",
    "UnreadableError",
    "few_fields_of_one",
    "fields",
    "fields_of_one",
    "fixed64",
    "padded",
    "run_of",
    "varint",
    "varints",
]

Bytes = npt.NDArray[np.uint8]
"""The bytes of all messages, as `padded` makes them."""
Places = npt.NDArray[np.int32]
"""Positions in them, or numbers of messages."""

BYTES_MAX: Final = 1 << 30
"""Places are numbers of 32 bits."""
PADDING: Final = 512
"""Bytes behind the last message that may be looked at without harm."""
SIDE_BY_SIDE: Final = 8_192
"""Messages whose places fit together into the processor's near memory."""
FEW: Final = 48
"""So many messages are read faster one by one."""
FIELDS_MAX: Final = 600_000
"""Fields that are looked at together: 5,000 spans with 21 attributes have 250,000 at one level."""
FIELDS_OF_ONE_MAX: Final = 100_000
"""Fields of one message that goes on for longer than the others, which are Python objects for a moment."""
TAG_MAX: Final = (1 << 31) - 1 - PADDING
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
VARINT_BYTES_MAX: Final = 10
_FIXED: Final = np.array([0, 8, 0, 0, 0, 4, 0, 0], np.int32)
_KNOWN: Final = np.array([True, True, True, False, False, True, False, False])


class UnreadableError(ValueError):
    """Bytes that are no protobuf, or protobuf of a kind that proto3 does not write."""


class TooManyError(UnreadableError):
    """More of something than memory should be taken for at one time; fewer messages may have less of it."""


class Fields(NamedTuple):
    """Fields of some messages, those of one message in their order, but not next to each other.

    Attributes:
        owner: which message each is of, counted from 0. tag: its number and wire type, as they are written.
        begin, end: where its content lies, without tag and length.
    """

    owner: Places
    tag: Places
    begin: Places
    end: Places

    def of(self, tag: int) -> "Fields":
        """Those with this number and wire type; the same number in another wire type is not that field."""
        return self.at(np.flatnonzero(self.tag == tag))

    def at(self, which: npt.NDArray[np.intp]) -> "Fields":
        """Some of them, by their positions here."""
        return Fields(*(each.take(which) for each in self))


def padded(parts: Iterable[bytes]) -> bytes:
    """Bytes one after the other, and PADDING more, as the functions here read them.

    Raises:
        UnreadableError: there are more than BYTES_MAX bytes.
    """
    data = b"".join((*parts, bytes(PADDING)))
    if len(data) > BYTES_MAX:
        raise UnreadableError(f"more than {BYTES_MAX} bytes")
    return data


def fields(data: Bytes, begin: Places, end: Places) -> Fields:
    """All fields of the messages that lie at `begin` to `end`. O(fields), in as many turns as a message has fields.

    Raises:
        UnreadableError: a message is damaged.
        TooManyError: they have more than FIELDS_MAX fields.
    """
    none = np.empty(0, np.int32)
    found = [Fields(none, none, none, none)]
    count = 0
    for first in range(0, len(begin), SIDE_BY_SIDE):
        slab = slice(first, first + SIDE_BY_SIDE)
        for some in _fields_of_some(data, begin[slab], end[slab], first):
            found.append(some)
            count += len(some.owner)
            if count > FIELDS_MAX:
                raise TooManyError(f"more than {FIELDS_MAX} fields")
    return Fields(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _fields_of_some(data: Bytes, at: Places, limit: Places, first: int) -> Iterator[Fields]:
    """One turn after the other; `first` is the number of the first of these messages."""
    owner = np.flatnonzero(at < limit).astype(np.int32)
    at, limit = at[owner], limit[owner]
    owner += np.int32(first)
    while len(at) > FEW:
        tag, body, stop = _next_field(data, at)
        room = limit - stop
        if room.min() < 0:
            raise UnreadableError("a field ends behind its message")
        yield Fields(owner, tag, body, stop)
        (going,) = room.nonzero()
        if len(going) == len(at):
            at = stop
        else:
            owner, at, limit = owner[going], stop[going], limit[going]
    for which, start, last in zip(owner.tolist(), at.tolist(), limit.tolist(), strict=True):
        one = np.array(few_fields_of_one(data.data, start, last), np.int32).reshape(-1, 3)
        yield Fields(np.full(len(one), which, np.int32), one[:, 0], one[:, 1], one[:, 2])


def _next_field(data: Bytes, at: Places) -> tuple[Places, Places, Places]:
    """Tag, begin and end of the field that begins at each place."""
    tag, body = prefixed(data, at)
    kind = tag & 7
    (delimited,) = (kind == DELIMITED).nonzero()
    if len(delimited) == len(at):
        sizes, body = prefixed(data, body)
        return tag, body, body + sizes
    if not _KNOWN.take(kind).all():
        raise UnreadableError("a field of no known wire type")
    stop = body + _FIXED.take(kind)
    sizes, after = prefixed(data, body[delimited])
    body[delimited], stop[delimited] = after, after + sizes
    (varint,) = (kind == VARINT).nonzero()
    stop[varint] = _behind_varints(data, body[varint])
    return tag, body, stop


def prefixed(data: Bytes, at: Places) -> tuple[Places, Places]:
    """The lengths (or tags) written at some places, and where what they announce begins.

    Raises:
        UnreadableError: one is longer than everything there is.
    """
    size, after = data.take(at).astype(np.int32), at + 1
    (long,) = (size >= 0x80).nonzero()
    if len(long):
        ends = _behind_varints(data, at[long])
        values = varints(data, at[long], ends)
        if (values > TAG_MAX).any():
            raise UnreadableError("a length that makes no sense")
        size[long], after[long] = values, ends
    return size, after


def _behind_varints(data: Bytes, at: Places) -> Places:
    """Where the varints end that begin at some places."""
    end = at.copy()
    (going,) = (end >= 0).nonzero()
    for _ in range(VARINT_BYTES_MAX):
        here = end[going]
        end[going] = here + 1
        going = going[data.take(here) >= 0x80]
        if not len(going):
            return end
    raise UnreadableError("a number of more than 64 bits")


def varints(data: Bytes, begin: Places, end: Places) -> npt.NDArray[np.uint64]:
    """The numbers that are written as varints at `begin` to `end`."""
    values = np.zeros(len(begin), np.uint64)
    size = end - begin
    for place in range(int(size.max(initial=0))):
        (going,) = (size > place).nonzero()
        low = (data.take(begin[going] + place) & 0x7F).astype(np.uint64)
        values[going] |= low << np.uint64(7 * place)
    return values


def fixed64(data: Bytes, begin: Places) -> npt.NDArray[np.uint64]:
    """The eight bytes that begin at each place, as a number."""
    words: npt.NDArray[np.uint64] = np.ndarray((len(data) - 7,), "<u8", data.data, strides=(1,))[begin]
    return words


def fields_of_one(data: bytes | memoryview, at: int, limit: int) -> Iterator[tuple[int, int, int]]:
    """Tag, begin and end of each field of one message.

    Raises:
        UnreadableError: it is damaged.
    """
    while at < limit:
        tag, at = (data[at], at + 1) if data[at] < 0x80 else varint(data, at)
        kind = tag & 7
        if kind == DELIMITED:
            size, at = (data[at], at + 1) if data[at] < 0x80 else varint(data, at)
            stop = at + size
        elif kind == VARINT:
            stop = varint(data, at)[1]
        elif kind in (FIXED64, FIXED32):
            stop = at + (8 if kind == FIXED64 else 4)
        else:
            raise UnreadableError("a field of no known wire type")
        if stop > limit:
            raise UnreadableError("a field ends behind its message")
        yield tag, at, stop
        at = stop


def few_fields_of_one(data: bytes | memoryview, at: int, limit: int) -> list[tuple[int, int, int]]:
    """The same as a list.

    Raises:
        UnreadableError: it is damaged.
        TooManyError: it has more than FIELDS_OF_ONE_MAX fields.
    """
    found = list(islice(fields_of_one(data, at, limit), FIELDS_OF_ONE_MAX + 1))
    if len(found) > FIELDS_OF_ONE_MAX:
        raise TooManyError(f"a message of more than {FIELDS_OF_ONE_MAX} fields")
    return found


def run_of(tag: int, data: bytes, place: tuple[int, int], found: tuple[list[int], list[int]]) -> int:
    """Add where the next fields with this tag begin and end to what was found; returns where the others begin.

    It is `fields_of_one` for what there is most of: spans, which have a tag of one byte and a length of one or two.
    """
    (at, limit), (begin, end) = place, found
    while at + 2 < limit and data[at] == tag:
        size, high = data[at + 1], data[at + 2]
        if size < 0x80:
            start = at + 2
        elif high < 0x80:
            start, size = at + 3, (size & 0x7F) + (high << 7)
        else:
            break
        if start + size > limit:
            break
        begin.append(start)
        at = start + size
        end.append(at)
    return at


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number that is written at a place, and where it ends."""
    value = 0
    for place in range(VARINT_BYTES_MAX):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise UnreadableError("a number of more than 64 bits")
