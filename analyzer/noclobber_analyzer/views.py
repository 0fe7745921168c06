"""Which of the kept accesses the verdicts on some resources need.

A `view` is the history around these resources: their accesses, the other accesses of the units and transactions that
touch them, the accesses to what those touch, what was checked and done in the same steps, and one step more along
messages, links and started strands.
Happens-before may run through any strand: its edges are kept for all of them (`edges`), so that no access has to be in
the view for their sake. While little is kept the view is everything.

Source: analysis.md 6 and 9. Nothing is judged here.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter
from typing import Final

from noclobber.contract import Op, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.belonging import touched, units_of
from noclobber_analyzer.window import Window

__all__ = ["View", "view_of"]

PASSING: Final = frozenset({Op.SEND, Op.RECEIVE, Op.ACK, Op.NACK, Op.EFFECT})
"""Operations that others are looked at with for their message or effect, not for all else that was done there."""
CHECKS_AND_ACTS: Final = frozenset({Op.READ, Op.SCAN, Op.SEND, Op.EFFECT})
STEP_MAX: Final = 256
"""Accesses of a strand around one of a step that has several units among which its checks and acts are looked for."""
STARTED_MAX: Final = 256
"""Accesses of a strand that somebody started which may be consequences of that."""

_Keyed = tuple[bytes, Access]


@dataclass(frozen=True, slots=True)
class View:
    """A part of the window that is complete for some resources.

    Attributes:
        accesses: each once. resources: those whose verdicts the view carries; None: all.
    """

    accesses: list[Access]
    resources: frozenset[str] | None


def view_of(window: Window, resources: Iterable[str], whole_max: int) -> View:
    """The history that the verdicts on some resources need.

    Args:
        window: what is kept.
        resources: what is to be judged.
        whole_max: kept accesses up to which the view is everything.
    """
    if len(window) <= whole_max:
        return View(window.accesses(), None)
    asked = frozenset(resources)
    near = window.of_resources(asked)
    for unit in {unit for access in near.values() for unit in units_of(access)}:
        near.update(window.units[unit])
    near.update(window.waiting_at(asked))
    for access in list(near.values()):
        near.update(_around(access, window))
    near.update(_in_steps_of(near.values(), window))
    locks = {lock.partition("#")[0] for access in near.values() for lock in access.locks}
    states = {name for each in near.values() if each.op not in PASSING for name in touched(each)}
    beside = window.of_resources((locks | states) - asked)
    found = {**near, **beside}
    for access in beside.values():
        if access.txn_id:
            found.update(window.units[access.txn_id])
    return View(list(found.values()), asked)


def _around(access: Access, window: Window) -> Iterator[_Keyed]:
    """What one access leads to elsewhere: of its message or effect, of what it links to or started.

    And what its strand began with, from which it is seen who started it.
    """
    for unit in units_of(access)[1:]:
        yield from window.units[unit].items()
    for trace_id, span_id, _ in access.links:
        yield from _keyed(window.get((trace_id, span_id)))
    if access.model_span:
        yield from _keyed(window.get((access.trace_id, access.model_span)))
    if access.op is Op.SPAWN and access.strand_other:
        yield from ((each.key, each) for each in window.captured(access.strand_other)[:STARTED_MAX])
    first = window.strands[access.strand].accesses[0]
    if first.strand_parent:
        yield first.key, first
        yield from _numbered(first.strand_parent, first.strand_parent_seq, window)


def _in_steps_of(near: Collection[Access], window: Window) -> list[_Keyed]:
    """What was checked, thought and done in the same steps, in whatever units: a step may hold transactions."""
    steps = {(each.strand, each.step): each for each in near if each.step is not None and _checks_or_acts(each)}
    same = (each for one in steps.values() for each in _in_step_of(one, window))
    return [(each.key, each) for each in same if each.op is Op.MODEL or _checks_or_acts(each)]


def _in_step_of(one: Access, window: Window) -> Iterator[Access]:
    own = window.captured(one.strand)
    at = bisect_left(own, one.seq, key=attrgetter("seq"))
    before = (own[place] for place in range(at - 1, max(-1, at - 1 - STEP_MAX), -1))
    after = (own[place] for place in range(at, min(len(own), at + STEP_MAX)))
    yield from takewhile(lambda each: each.step == one.step, before)
    yield from takewhile(lambda each: each.step == one.step, after)


def _checks_or_acts(access: Access) -> bool:
    return access.op in CHECKS_AND_ACTS or access.mode is WriteMode.INSERT


def _keyed(access: Access | None) -> Iterator[_Keyed]:
    if access is not None:
        yield access.key, access


def _numbered(strand: str, seq: int | None, window: Window) -> Iterator[_Keyed]:
    own = window.captured(strand)
    at = bisect_left(own, seq or 0, key=attrgetter("seq"))
    yield from ((each.key, each) for each in own[at : at + 1] if each.seq == seq)
