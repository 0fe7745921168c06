"""Spawns and joins: how one strand comes to know what another did.

A child's first span names its parent and the parent's last number then, so a spawn needs no span of its own; the drain
is told in ring order, because the child starts with what its parent knew at that moment and nothing later. A join is a
span: it says up to which number of the other strand the waiter has waited. It is sent only where it tells something.

Which calls spawn and wait is known by `noclobber.tasks` and `noclobber.threads`.
"""

from collections.abc import Sequence
from typing import Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op
from noclobber.guard import GUARD
from noclobber.strands import Strand

__all__ = ["LIBRARY", "joined", "note_spawn", "spawned"]

LIBRARY: Final = "python"


def spawned(name: str = "") -> Strand:
    """A new strand, started by the running one."""
    parent = strands.current()
    child = Strand(parent, name)
    if child.parent_id is not None and not parent.suppressed:  # else a helper of a call that is recorded as a whole
        note_spawn(child, parent)
    return child


def note_spawn(child: Strand, parent: Strand) -> None:
    """Tell the drain that `child` starts with what `parent` knows now."""
    active = recorder.active()
    if active is not None:
        with GUARD:
            active.note_spawn(parent, child)


def joined(other: Strand | None) -> None:
    """The running strand has waited for `other`, which has ended."""
    active = recorder.active()
    if active is None or other is None or not (other.seq or other.joined):
        return
    with GUARD:
        waiter = strands.current()
        if waiter is other or waiter.knows(other):
            return
        waiter.joined = True
        waiter.note_known(other)
        active.edge(LIBRARY, _join, (other, other.seq))


def _join(call: Call) -> Sequence[Access]:
    other, seq = call.facts
    return [
        Access(
            Op.JOIN,
            f"strand://{other.id}",
            "python",
            attributes={Attr.STRAND_OTHER: other.id, Attr.STRAND_OTHER_SEQ: seq},
            remembered=False,
        )
    ]
