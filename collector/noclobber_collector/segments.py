"""Segments of the spool on disk: their names, the frame around each request, and what of a damaged one is sound.

A segment is `number.open` while it is written, `number.spans.seg` once closed, `.done` once loaded and counted,
`.refused` if the store will never take it. Number is unix milliseconds << 16 | counter: it orders segments, and its day
is the partition. To each request five protobuf fields of our own are appended (1000 to 1004): segment, number of the
request, collector, how many spans the segment has up to its end, and a checksum (crc32) over all before it, so that the
file stays a stream that ClickHouse reads and every row knows where it came from. The same fields are where reading goes
on behind a request whose length, content or end was damaged: it costs no other request. Format 1 had no count of spans;
it is still read.

Source: storage.md, section 12 of the design.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

__all__ = [
    "CLOSED",
    "LOADED",
    "OPEN",
    "REFUSED",
    "BeforeClose",
    "Repaired",
    "Segment",
    "bare_requests",
    "begun_s",
    "closed_segments",
    "frame",
    "framed",
    "newest_number",
    "repair",
    "salvage",
    "size_of",
    "sound_requests",
    "sync_folder",
]

OPEN: Final = ".open"
CLOSED: Final = ".seg"
LOADED: Final = ".done"
REFUSED: Final = ".refused"
BeforeClose = Callable[[Path, int, int], None]
"""Is told of a segment that is about to be closed: its file, its number, how many spans it holds."""
_SEGMENT_KEY: Final = b"\xc0\x3e"  # field 1000, varint
_NUMBER_KEY: Final = b"\xc8\x3e"  # field 1001, varint
_CHECK_KEY: Final = b"\xd5\x3e"  # field 1002, fixed32
_COLLECTOR_KEY: Final = b"\xda\x3e"  # field 1003, text
_SPANS_KEY: Final = b"\xe0\x3e"  # field 1004, varint
_CHECK_SIZE: Final = len(_CHECK_KEY) + 4
_RESOURCE_SPANS: Final = 0x0A  # field 1 of a request
_FIXED_SIZES: Final = {1: 8, 5: 4}
_SPAN_BYTES_MIN: Final = 28
"""No span is smaller: it has two ids."""
_LONG_LENGTH: Final = re.compile(rb"(?=([\x80-\xff]{1,4}[\x00-\x7f]))")
_SHORT_LENGTH_MAX: Final = 0x7F


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment.

    Attributes:
        number: orders segments.
        spans: how many it holds. loaded: whether the loader is done with it.
    """

    path: Path
    number: int
    spans: int
    loaded: bool

    @property
    def day(self) -> int:
        """Days since 1970 of its arrival."""
        return (self.number >> 16) // 86_400_000

    @property
    def begun_s(self) -> float:
        """Unix time at which it was begun."""
        return begun_s(self.number)


def begun_s(number: int) -> float:
    """Unix time at which the segment of a number was begun."""
    return (number >> 16) / 1_000


def closed_segments(folder: Path, *, loaded: bool = False) -> list[Segment]:
    """Closed segments in order; those that were loaded already too, if `loaded`."""
    found = []
    for name in os.listdir(folder):  # noqa: PTH208  names are enough, and many times faster
        stem, dot, kind = name.rpartition(".")
        if dot + kind == CLOSED or (loaded and dot + kind == LOADED):
            number, _, spans = stem.partition(".")
            if number.isdigit() and spans.isdigit():
                found.append(Segment(folder / name, int(number), int(spans), dot + kind == LOADED))
    return sorted(found, key=lambda segment: segment.number)


def newest_number(folder: Path) -> int:
    """The greatest number of any segment in the folder; 0 where there is none."""
    stems = (name.partition(".")[0] for name in os.listdir(folder))  # noqa: PTH208  as above
    return max((int(stem) for stem in stems if stem.isdigit()), default=0)


class Repaired(NamedTuple):
    """What was found in segments that a crash left open.

    Attributes:
        cut_bytes: of torn tails: no request stands whole behind them. damaged_spans: in requests that had been written
            whole and are so no longer; at least so many where format 1 does not tell. One whose own fields were hit
            right before a torn one can't be told from it, and counts as cut.
    """

    cut_bytes: int
    damaged_spans: int


class _Fields(NamedTuple):
    """Our own fields behind a request: its number, how many spans the segment has so far (0: not told), their end."""

    number: int
    spans: int
    end: int


def frame(request: bytes, segment: int, number: int, collector: bytes, spans: int = 0) -> bytes:
    """`request` as it stands in a segment: its length, itself, and our fields.

    `spans` is how many the segment has, those of the request included; 0: it is not told (format 1).
    """
    return b"".join(framed(request, segment, number, collector, spans))


def framed(request: bytes, segment: int, number: int, collector: bytes, spans: int = 0) -> tuple[bytes, bytes, bytes]:
    """The same as what stands before the request, itself, and what stands behind it: it may be large."""
    ours = b"".join(
        (_SEGMENT_KEY, _varint(segment), _NUMBER_KEY, _varint(number), _COLLECTOR_KEY, _varint(len(collector)),
         collector, *((_SPANS_KEY, _varint(spans)) if spans else ()))
    )  # fmt: skip
    check = zlib.crc32(ours, zlib.crc32(request)).to_bytes(4, "little")
    return _varint(len(request) + len(ours) + _CHECK_SIZE), request, b"".join((ours, _CHECK_KEY, check))


def sound_requests(data: bytes, segment: int) -> Iterator[tuple[int, int]]:
    """Where the requests of a segment begin and end whose checksums fit; begins include the length.

    What is damaged is passed over, whatever of it was hit: the next request is found by the segment's number in it.
    """
    at = 0
    while 0 <= at < len(data):
        end = _sound_end(data, at)
        if end:
            yield at, end
            at = end
        else:
            at = _next_sound(data, at, segment)


def _sound_end(data: bytes, at: int) -> int:
    """Where the request that begins at `at` ends; 0 if it is not sound."""
    length, begin = _read_varint(data, at)
    end = begin + length
    check = end - _CHECK_SIZE
    if length < _CHECK_SIZE or end > len(data) or not data.startswith(_CHECK_KEY, check):
        return 0
    told = int.from_bytes(data[check + len(_CHECK_KEY) : end], "little")
    return end if zlib.crc32(memoryview(data)[begin:check]) == told else 0


def _next_sound(data: bytes, at: int, segment: int) -> int:
    """Where the first sound request behind a damaged one begins, which itself begins at `at`; -1: there is none.

    It may begin where the damaged one's length leads, or behind any of our own fields; or it ends with such, and the
    end of the one before it was hit too.
    """
    length, begin = _read_varint(data, at)
    told = begin + length
    led_to = told if length and _sound_end(data, told) else -1
    before = at
    for fields in _own_fields(data, at, segment):
        if 0 <= led_to < fields.end:
            break
        found = _begin_of(data, before, fields.end) if fields.end != told else -1
        if found >= 0:
            return found
        if _sound_end(data, fields.end):
            return fields.end
        before = fields.end
    return led_to


def _begin_of(data: bytes, before: int, end: int) -> int:
    """Where behind `before` the sound request begins that ends at `end`; -1: it is not sound."""
    for found in _LONG_LENGTH.finditer(data, before + 1, end):
        at, size = found.start(), len(found[1])
        if data[at] == (end - at - size) & 0x7F | 0x80 and _sound_end(data, at) == end:
            return at
    for at in range(max(before + 1, end - 1 - _SHORT_LENGTH_MAX), end):
        if data[at] == end - at - 1 and _sound_end(data, at) == end:
            return at
    return -1


def _own_fields(data: bytes, begin: int, segment: int) -> Iterator[_Fields]:
    """Our own fields from `begin` on, as far as they are whole, whether or not their checksum fits."""
    ours, at = _ours(segment), begin
    while (at := data.find(ours, at)) >= 0:
        at += len(ours)
        fields = _read_fields(data, at)
        if fields is not None:
            yield fields


def _fields_of(data: bytes, begin: int, end: int, segment: int) -> _Fields | None:
    """Our own fields of a sound request; None where they are another segment's."""
    ours = _ours(segment)
    at = data.rfind(ours, begin, end)
    return _read_fields(data, at + len(ours)) if at >= 0 else None


def _read_fields(data: bytes, at: int) -> _Fields | None:
    """Our own fields whose number of the request is at `at`; None where they are not whole."""
    number, end = _read_varint(data, at)
    if not data.startswith(_COLLECTOR_KEY, end):
        return None
    length, end = _read_varint(data, end + len(_COLLECTOR_KEY))
    end, spans = end + length, 0
    if data.startswith(_SPANS_KEY, end):
        spans, end = _read_varint(data, end + len(_SPANS_KEY))
    whole = data.startswith(_CHECK_KEY, end) and end + _CHECK_SIZE <= len(data)
    return _Fields(number, spans, end + _CHECK_SIZE) if whole else None


def _ours(segment: int) -> bytes:
    """What our own fields begin with in a segment."""
    return _SEGMENT_KEY + _varint(segment) + _NUMBER_KEY


def bare_requests(data: bytes, segment: int) -> Iterator[bytes]:
    """The sound requests of a segment as clients sent them, without length and our own fields."""
    ours = _ours(segment)
    for at, end in sound_requests(data, segment):
        begin = _read_varint(data, at)[1]
        yield data[begin : data.rindex(ours, begin, end)]


def repair(folder: Path, before_close: BeforeClose | None = None) -> Repaired:
    """Close segments that a crash left open, what was torn or damaged taken out."""
    cut = damaged = 0
    for path in sorted(folder.glob(f"*{OPEN}")):
        data = path.read_bytes()
        stem = path.name.partition(".")[0]
        segment = int(stem) if stem.isdigit() else 0
        sound, spans = _sound_part(data, segment)
        lost, torn_at = _damage(data, segment)
        cut += len(data) - torn_at
        damaged += lost
        _rewrite(path, sound, prefix=data.startswith(sound))
        if sound:
            if before_close is not None:
                before_close(path, segment, spans)
            path.rename(folder / f"{stem}.{spans}{CLOSED}")
    sync_folder(folder)
    return Repaired(cut, damaged)


def _damage(data: bytes, segment: int) -> tuple[int, int]:
    """How many spans of an open segment are in damaged requests, and where its torn tail begins.

    What has fields of our own at its end or behind it had been written whole; a torn tail has none.
    """
    lost = at = 0
    before = _Fields(0, 0, 0)
    for begin, end in sound_requests(data, segment):
        fields = _fields_of(data, begin, end, segment) or _Fields(before.number + 1, 0, end)
        if begin > at:
            earlier = fields.spans - _spans_in(data, begin, end)
            lost += max(earlier - before.spans, fields.number - before.number - 1, 1)
        at, before = end, fields
    for fields in _own_fields(data, at, segment):
        more = fields.spans - before.spans
        likely = more if more <= (fields.end - at) // _SPAN_BYTES_MIN else 0
        lost += max(likely, _spans_in(data, at, fields.end), 1)
        at, before = fields.end, fields
    length, begin = _read_varint(data, at)
    if length and begin + length == len(data):  # whole, and our own fields were hit
        lost += max(_spans_in(data, at, len(data)), 1)
        at = len(data)
    return lost, at


def _spans_in(data: bytes, begin: int, end: int) -> int:
    """How many spans a request holds; of a damaged one, those of its resources that can be read."""
    from google.protobuf.message import DecodeError

    from noclobber_collector.requests import count_spans

    at, spans = _read_varint(data, begin)[1], 0
    while at < end:
        stop = _field_end(data, at)
        if not at < stop <= end:
            break
        if data[at] == _RESOURCE_SPANS:
            with suppress(DecodeError):
                spans += count_spans(data[at:stop])
        at = stop
    return spans


def _field_end(data: bytes, at: int) -> int:
    """Where the field of a message that begins at `at` ends; 0 where none begins."""
    tag, begin = _read_varint(data, at)
    match tag & 7:
        case 0 if tag:
            return _read_varint(data, begin)[1]
        case 2:
            length, begin = _read_varint(data, begin)
            return begin + length
        case kind if kind in _FIXED_SIZES:
            return begin + _FIXED_SIZES[kind]
        case _:
            return 0


def salvage(segment: Segment) -> int:
    """Cut what is damaged out of a closed segment; returns how many spans were lost.

    The file is replaced by one without the damaged requests, whose name tells how many spans it holds.
    """
    data = segment.path.read_bytes()
    sound, spans = _sound_part(data, segment.number)
    if len(sound) == len(data) and spans == segment.spans:
        return 0
    _rewrite(segment.path, sound, prefix=data.startswith(sound))
    if sound:
        segment.path.rename(segment.path.with_name(f"{segment.number:020d}.{spans}{CLOSED}"))
    sync_folder(segment.path.parent)
    return max(segment.spans - spans, 0)


def _sound_part(data: bytes, segment: int) -> tuple[bytes, int]:
    """The sound requests of `data` and how many spans they hold."""
    places = list(sound_requests(data, segment))
    sound = b"".join(data[begin:end] for begin, end in places)
    return sound, sum(_spans_in(data, begin, end) for begin, end in places)


def _rewrite(path: Path, data: bytes, *, prefix: bool) -> None:
    """Make a file hold `data`, and go if that is nothing; a crash in between leaves the old bytes or the new ones.

    A torn tail is cut off in place, which works on a full disk too.
    """
    if not data:
        path.unlink()
    elif prefix:
        with path.open("r+b") as file:
            file.truncate(len(data))
            os.fsync(file.fileno())
    else:
        made = path.with_suffix(".made")
        with made.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; (0, at) where there is none."""
    number = shift = 0
    begin = at
    while at < len(data) and shift < 64:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, begin


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it has gone meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
