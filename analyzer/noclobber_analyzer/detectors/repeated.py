"""What it means to look twice in one unit: which pairs of looks may be held against each other.

Between the two the unit may have changed the state itself, or a guard may have refused it and it began anew; then the
second look owes nothing to the first. A serializable transaction that the store refused is part of no finding; what
one read that was taken back may never have been used.

Source: contract 2.3 and 3.1 (`non_repeatable_read`, `phantom_read`).
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from noclobber.contract import Certainty, Op, Outcome, UnitKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS
from noclobber_analyzer.verdict import Grade, hole_between

__all__ = ["REPEATABLE", "began_anew", "between", "looks_twice", "unit_grade"]

REPEATABLE: Final = frozenset({"repeatable_read", "snapshot", "serializable"})
"""Isolation levels that promise that what was read once is read again."""

_USING: Final = WRITE_OPS | {Op.EFFECT, Op.ACK, Op.SEND}


def looks_twice(looks: Iterable[Access]) -> Iterator[tuple[Access, Access]]:
    """Consecutive looks of one strand in one unit that are more than a bare strand."""
    pieces: dict[tuple[str, str], list[Access]] = {}
    for look in looks:
        if look.unit_kind is not None:
            pieces.setdefault((look.unit, look.strand), []).append(look)
    for own in pieces.values():
        if len(own) > 1:
            own.sort(key=lambda a: a.seq)
            yield from pairwise(own)


def between(one: Access, other: Access, evidence: Evidence) -> list[Access]:
    """What the strand did in the unit between two of its accesses."""
    own = evidence.history.strands.get(one.strand, [])
    low, high = (bisect_right(own, seq, key=lambda a: a.seq) for seq in (one.seq, other.seq - 1))
    return [access for access in own[low:high] if access.unit == one.unit]


def began_anew(done: Iterable[Access]) -> bool:
    """Whether a guard refused the unit meanwhile."""
    return any(access.outcome is Outcome.REJECTED for access in done)


def unit_grade(one: Access, later: Access, evidence: Evidence) -> Grade | None:
    """The most that a unit's two looks carry; None: they prove nothing.

    A transaction's reads are one picture; a step may simply have looked again, and whether it used both nobody knows.
    What the unit itself did in a span that was lost may explain the difference.
    """
    grade = _kind_grade(one, later, evidence)
    if grade is not None and hole_between(evidence.history, one.seq, later):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the unit itself")
    return grade


def _kind_grade(one: Access, later: Access, evidence: Evidence) -> Grade | None:
    if one.unit_kind is not UnitKind.TXN:
        if not _is_used(later, evidence):
            return None
        missing = "that the step used what it read first: a transaction around its reads, or the base of its writes"
        return Grade().at_most(Certainty.POSSIBLE, missing)
    if evidence.fates.serializable_rejected(one):
        return None
    end = evidence.fates.end_of(one)
    if end is None or end.op is Op.ABORT or end.outcome is not Outcome.OK:
        return Grade().at_most(Certainty.POSSIBLE, "whether what was read was used: the transaction did not commit")
    return Grade()


def _is_used(look: Access, evidence: Evidence) -> bool:
    """Whether the unit went on to write, act or acknowledge."""
    for access in evidence.history.onward(look):
        if access.unit != look.unit:
            return False
        if access.op in _USING:
            return True
    return False
