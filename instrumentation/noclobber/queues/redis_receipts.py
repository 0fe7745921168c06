"""Calls of Redis of which only the reply says how many accesses they are: what a stream's consumer received.

Such a call takes its numbers when it returns, one for each entry; one that gave none, or failed, is no access. In a
pipeline the numbers come after those of the other commands.
"""

from collections.abc import Sequence
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Attr
from noclobber.queues import redis_streams
from noclobber.queues.redis_streams import LATE, Receipt
from noclobber.stores.redis_place import Place, place_of

__all__ = ["Late", "note", "received", "taken"]

LIBRARY: Final = "redis"


class Late(Call):
    """A call that has taken no number yet."""

    __slots__ = ()

    def __init__(self) -> None:
        self.start_ns = recorder.now_ns()


def note(active: recorder.Recorder, late: Late, pool: Any, args: Sequence[Any], reply: Any) -> None:
    """What one command received."""
    found = redis_streams.receipts(args, reply)
    if found:
        active.end(_begin(active, late, len(found)), _build, (pool, redis_streams.name_of(args), found))


def taken(active: recorder.Recorder, call: Call, commands: Sequence[Sequence[Any]], replies: list[Any]) -> Call:
    """What a pipeline's commands received, put in place of their replies; the call, with numbers for it.

    Still `Late` where there is nothing to tell.
    """
    number = 0
    for at, words in enumerate(commands[: len(replies)]):
        if redis_streams.name_of(words) in LATE:
            failed = isinstance(replies[at], Exception)
            replies[at] = found = [] if failed else redis_streams.receipts(words, replies[at])
            number += len(found)
    if not number:
        return call
    if isinstance(call, Late):
        return _begin(active, call, number)
    active.more(call, number)
    return call


def _begin(active: recorder.Recorder, late: Late, number: int) -> Call:
    call = active.begin(LIBRARY, number)
    call.start_ns = late.start_ns
    return call


def _build(call: Call) -> Sequence[Access]:
    pool, name, found = call.facts
    return received(call, place_of(pool), name, found)


def received(call: Call, place: Place, name: str, found: Sequence[Receipt]) -> list[Access]:
    """The accesses of one command's receipts; each read without a group is a reader of its own."""
    raw = [each._replace(stream=place.raw(each.stream)) for each in found]
    accesses = redis_streams.received(raw, place.uri, f"{call.strand.id}.{call.seq}")
    for access in accesses:
        access.attributes["db.operation.name"] = name
        if place.peer:
            access.attributes[Attr.PEER_ADDRESS] = place.peer
    return accesses
