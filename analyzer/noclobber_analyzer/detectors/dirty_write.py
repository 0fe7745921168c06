"""Dirty write: a transaction wrote over what another one had not committed yet.

By versions: the second write replaced a version that the first transaction then took back, or lies between two
versions that the first made. Longer cycles of overwriting over several resources are found in `cycles`.

Source: Berenson et al. 1995 (P0), Adya 1999 (G0); contract 3.1 (both writes in transactions).
"""

from collections.abc import Iterator

from noclobber.contract import Certainty, Kind, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import NUMBERS, State, conflicting_parts, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["dirty_write"]


def dirty_write(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Dirty writes of one resource; each pair of transactions has at most one."""
    made: dict[Version, list[Access]] = {}
    for access in state.accesses:
        if access.op in WRITE_OPS and access.outcome is Outcome.OK and access.written is not None and access.txn_id:
            made.setdefault(access.written, []).append(access)
    told: set[frozenset[str]] = set()
    for writes in made.values():
        for write in writes:
            over = _overwritten(write)
            firsts = made.get(over or "", ())
            if len(firsts) != 1 or not _foreign(firsts[0], write) or write.weak or firsts[0].weak:
                continue
            pair = frozenset((firsts[0].unit, write.unit))
            grade = _grade(state, firsts[0], write, evidence) if pair not in told else None
            if grade is not None:
                told.add(pair)
                yield _candidate(firsts[0], write, grade)


def _overwritten(write: Access) -> Version | None:
    """What the store says that it replaced; under `counter` the number before."""
    if write.overwritten is None and write.version_kind is VersionKind.COUNTER:
        made = number(write.written)
        return None if not made else str(made - 1)
    return write.overwritten


def _foreign(first: Access, write: Access) -> bool:
    return first.txn_id != write.txn_id and conflicting_parts(first, write) and first.version_kind is write.version_kind


def _grade(state: State, first: Access, write: Access, evidence: Evidence) -> Grade | None:
    if state.may_expire or evidence.fates.of(write) is Fate.UNAPPLIED:
        return None
    if evidence.fates.serializable_rejected(first) or evidence.order.before(write, first) is not None:
        return None  # a defended transaction's write is part of no finding; or it came later
    if evidence.fates.of(first) is Fate.UNAPPLIED:
        grade = _over_what_was_taken_back(state, first, write, evidence)
    else:
        grade = _between_two_of_one(state, first, write, evidence)
    return grade and partial(grade, (first, write))


def _over_what_was_taken_back(state: State, first: Access, write: Access, evidence: Evidence) -> Grade | None:
    """The state that it replaced never came to be; a number may have been used again by a write nobody captured."""
    end = evidence.fates.taken_back_by(first)
    if first.version_kind is VersionKind.CHAIN:
        return Grade()
    if state.makers.get(first.written or "") or end is None or evidence.order.before(end, write) is not None:
        return None
    grade = Grade().at_most(Certainty.LIKELY, "an edge that orders the second write and the first one's end")
    if hole_between(evidence.history, evidence.picture_of(write).seq, write):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of the writer's own transaction: what it replaced")
    return grade.resting_on(evidence.absence(state.name, first, write))


def _between_two_of_one(state: State, first: Access, write: Access, evidence: Evidence) -> Grade | None:
    """The first transaction wrote once more after the second: then it was open all the while."""
    later = [w for w in state.own_after(first) if w.txn_id == first.txn_id and evidence.fates.of(w) is Fate.APPLIED]
    if evidence.fates.of(first) is not Fate.APPLIED or evidence.fates.of(write) is not Fate.APPLIED:
        return None
    if first.version_kind in NUMBERS:
        made = number(write.written) or 0
        return Grade() if any((number(w.written) or 0) > made for w in later) else None
    if any(w.overwritten == write.written for w in later):
        exact = first.version_kind is VersionKind.CHAIN
        return Grade() if exact else Grade().at_most(Certainty.LIKELY, "versions of the store's own")
    return None


def _candidate(first: Access, write: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.DIRTY_WRITE,
        resource=write.resource,
        anchors=(first, write),
        units=(first.unit, write.unit),
        roles=((first, "victim"), (write, "overwriter")),
        links=(Link(first, write, "unordered", "it replaced what was not committed yet"),),
        grade=grade,
        crosses=True,
    )
