"""Redis Streams: entries sent, received by a consumer of a group, acknowledged, taken over by another consumer.

An entry is named by its id and its stream. How many a call receives is known only from its reply, so a receipt takes
its numbers then; one that gives none touched nothing, and a tombstone (an entry deleted while it was pending) is none.
`XREADGROUP .. >` hands out for the first time; what a consumer reads again from its own pending entries, and what it
claims from another, is handed out again. Who reads without a group (`XREAD`) takes nothing: such a receipt says that
it came after the send, and is compared with no other.

Values are never looked at. Positions are left out, since the consumers of a group share a stream: that one of them
passed an entry says nothing. `XGROUP SETID` and a group made anew hand out again what was handed out before, and are
not known from outside; `XRANGE`, `XLEN` and the like look at the stream as at any key.

Source: Redis command reference (streams); contract 2.1; capture.md section 4.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from noclobber.access import Access
from noclobber.contract import Op, Outcome
from noclobber.queues.messages import UNTOLD, Queue, message_id
from noclobber.resources import quoted
from noclobber.versions import encode

if TYPE_CHECKING:
    from noclobber.stores.redis_commands import Command

__all__ = ["LATE", "SETTLES", "Receipt", "add", "ids_of", "name_of", "receipts", "received", "settle"]

SYSTEM: Final = "redis"
LATE: Final = frozenset({"XREAD", "XREADGROUP", "XCLAIM", "XAUTOCLAIM"})
"""Commands whose reply says how many accesses they are."""
SETTLES: Final = frozenset({"XACK", "XACKDEL", "XNACK"})
_ID: Final = re.compile(rb"\d+-\d+")


class Receipt(NamedTuple):
    """One entry that a call received.

    Attributes:
        stream: its key. id: in that stream. delivery: which it is, as far as the command tells.
        group: None for a plain XREAD. held: whether it is to be acknowledged; None: it was on receipt.
    """

    stream: Any
    id: str
    delivery: int
    group: str | None
    held: bool | None


# -- receipts ------------------------------------------------------------------------------------------------------


def name_of(words: Sequence[Any]) -> str:
    """A command's name in capitals."""
    return _text(words[0]).upper()


def receipts(words: Sequence[Any], reply: Any) -> list[Receipt]:
    """The entries in the reply to a command of `LATE`, without what is in them."""
    name = name_of(words)
    if not reply:
        return []
    if name in ("XCLAIM", "XAUTOCLAIM"):
        entries = reply[1] if name == "XAUTOCLAIM" and _is_paged(reply) else reply
        group = _text(words[2])
        return [Receipt(words[1], each, 2, group, held=True) for each, _ in _entries(entries)]
    options = [encode(word).upper() for word in words]
    at = options.index(b"STREAMS") + 1
    keys = words[at : at + (len(words) - at) // 2]
    starts = {encode(key): encode(since) for key, since in zip(keys, words[at + len(keys) :], strict=False)}
    found = reply.items() if isinstance(reply, dict) else reply
    if name == "XREAD":
        return [Receipt(key, each, 1, None, held=False) for key, of in found for each, _ in _entries(of)]
    group, held = _text(words[options.index(b"GROUP") + 1]), None if b"NOACK" in options[:at] else True
    return [
        Receipt(key, each, before + 1 if starts.get(encode(key)) == b">" else 2, group, held)
        for key, of in found
        for each, before in _entries(of)
    ]


def _is_paged(reply: Any) -> bool:
    """Whether XAUTOCLAIM's reply is whole (cursor, entries, deleted ids), and not the ids alone."""
    return len(reply) > 1 and isinstance(reply[1], list | tuple)


def _entries(found: Any) -> Iterator[tuple[str, int]]:
    """Ids of the entries that are there, and how often each was delivered before where that is told."""
    for entry in found or ():
        if isinstance(entry, str | bytes):
            yield _text(entry), 0  # JUSTID
        elif isinstance(entry, list | tuple) and entry and isinstance(entry[0], str | bytes):
            if len(entry) > 1 and entry[1] and _ID.fullmatch(encode(entry[0])):
                yield _text(entry[0]), entry[3] if len(entry) > 3 and isinstance(entry[3], int) else 0
        elif isinstance(entry, list | tuple):
            yield from _entries(entry)  # RESP3 in older clients: one list more


def received(found: Sequence[Receipt], place: str, reader: str) -> list[Access]:
    """The accesses of one call's receipts; `reader` names the call, where there is no group."""
    return [
        _queue(place, each.stream, each.group or f"reader {reader}").access(
            Op.RECEIVE,
            _name(each.stream, each.id),
            delivery=each.delivery if each.group is not None else None,
            held=each.held,
        )
        for each in found
    ]


def _queue(place: str, key: Any, group: str | None = None) -> Queue:
    return Queue(place + quoted(_text(key)), SYSTEM, group)


def _name(key: Any, number: str) -> str:
    return message_id(number, _text(key))


def _text(word: Any) -> str:
    return encode(word).decode("utf-8", "backslashreplace")


# -- sends, and how entries end ------------------------------------------------------------------------------------


def add(command: "Command") -> list[Access]:
    """XADD: the store tells the id that it gave."""
    key, reply = command.words[1], command.reply
    told = isinstance(reply, str | bytes) and _ID.fullmatch(encode(reply)) is not None
    absent = command.outcome is None and reply is None  # NOMKSTREAM
    untold = not told and not absent and command.outcome in (None, Outcome.OK, Outcome.UNKNOWN)
    name = _name(key, _text(reply) if told else UNTOLD)
    outcome = Outcome.NO_EFFECT if absent else Outcome.OK
    return [_queue(command.place, key).access(Op.SEND, name, outcome, partial=untold)]


def ids_of(words: Sequence[Any]) -> list[Any]:
    """The entries that a command of `SETTLES` names."""
    ids: list[Any] = []
    for word in words[3:]:
        ids.extend(word) if isinstance(word, list | tuple) else ids.append(word)
    return [each for each in ids if _ID.fullmatch(encode(each))]


def settle(command: "Command") -> list[Access]:
    """XACK and what else ends an entry's being pending, and XNACK, which gives it back."""
    name, key, group = command.words[0], command.words[1], _text(command.words[2])
    op = Op.NACK if name == "XNACK" else Op.ACK
    ids = ids_of(command.words)
    done = command.reply if command.outcome is None else None
    if isinstance(done, list):  # XACKDEL: -1 where there was nothing
        done = sum(each != -1 for each in done)
    some = isinstance(done, int) and 0 < done < len(ids)  # it does not say which
    outcome = Outcome.NO_EFFECT if done == 0 else Outcome.OK
    queue = _queue(command.place, key, group)
    return [queue.access(op, _name(key, _text(each)), outcome, partial=some) for each in ids]
