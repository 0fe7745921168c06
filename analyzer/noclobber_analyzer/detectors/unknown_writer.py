"""Unknown writer: a state that no captured write made; garbage read: the same where every writer is known.

A version that was there before anybody wrote is prior state, and no finding: nothing that was captured was there for
all when it was first read, or gone on from (what a transaction wrote is there from its commit on). Under `counter`
each applied write takes the next number, so a missing number is somebody's. Where a script, a reset of a whole
container or a store that changes what it is sent may have made a version, nothing is concluded. Who made what was
read may still be waiting for his call to return: a verdict waits until each such call would have been told of.

Source: contract 2.3 (prior state), detection.md 3.3; Elle issue 8 (a read of a value that nobody wrote).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from noclobber.contract import Certainty, Kind, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import State, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["unknown_writer"]

NUMBERS_MAX: Final = 16
"""Missing numbers of one resource that are told."""
LOST: Final = "the lost spans: one of them may have made it"


def unknown_writer(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Versions that nobody is known to have made; each version is one finding, each read of a closed resource one."""
    kind = state.writes[0].version_kind if state.writes else None
    if kind is VersionKind.COUNTER:
        if _has_missing(state) and _is_told(state):
            yield from _missing_numbers(state, evidence)
    elif kind in (VersionKind.FINGERPRINT, VersionKind.CHAIN):
        made = {a.written for a in state.accesses if a.op in WRITE_OPS} | {kind.absent}
        unmade = [version for version in state.readers if version not in made and not state.readers[version][0].weak]
        for version in unmade if unmade and _is_told(state) else ():
            yield from _unmade(state, version, state.readers[version], evidence)


def _has_missing(state: State) -> bool:
    """Whether some number up to the highest is not among those that were made; the lowest may be prior state."""
    numbers = {number(version) for version in (*state.makers, *state.readers)} - {None}
    known = [n for n in numbers if n is not None]
    unmade = sum(version not in state.makers for version in state.readers)
    return bool(known) and (max(known) - min(known) + 1 > len(known) or unmade > 1 or (unmade == 1 and min(known) > 0))


def _is_told(state: State) -> bool:
    """Whether every captured write tells what it made, in a way that compares with what is read."""
    first = state.writes[0]
    for access in (*state.writes, *state.unapplied, *state.reads):
        if access.version_kind is not first.version_kind or access.part != first.part or access.partial:
            return False
        if access.op in WRITE_OPS and (not access.verbatim or access.resource != state.name):
            return False
        if access.op in WRITE_OPS and access.written is None and access.outcome in (Outcome.OK, Outcome.UNKNOWN):
            return False
        if access.process.key_id != first.process.key_id:
            return False
    return True


def _unmade(state: State, version: Version, readers: list[Access], evidence: Evidence) -> Iterator[Candidate]:
    earliest = min(readers, key=lambda r: (r.start_ns, r.span_id))
    found = [_there_before(state, first, evidence) for first in _first_of_each_clock(readers)]
    continued = [w for w in state.writes if version in (w.base, w.overwritten)]
    before = found[0]
    if before is None or None in found or any(_there_before(state, w, evidence) is None for w in continued[:1]):
        return  # prior state: seen, or gone on from, before anything that was captured was there
    grade = _grade(state, before, earliest, evidence)
    if any(access.closed for access in state.accesses):
        for read in readers:
            yield _garbage(state, read, grade)
    else:
        yield _candidate(state, version, before, earliest, grade)


def _first_of_each_clock(readers: list[Access]) -> list[Access]:
    """The earliest reader of each clock: nobody knows which of them was the earliest of all."""
    first: dict[str, Access] = {}
    for read in sorted(readers, key=lambda r: (local_ns(r.process, r.start_ns), r.span_id)):
        first.setdefault(clock_of(read.process), read)
    return list(first.values())


def _there_before(state: State, access: Access, evidence: Evidence) -> Access | None:
    """A captured write that was there for all when an access saw what stood there."""
    seen_at = evidence.picture_of(access)
    applied = (w for w in state.writes if w is not access and evidence.fates.of(w) is Fate.APPLIED)
    return next((w for w in applied if evidence.took_effect_before(w, seen_at) is not None), None)


def _grade(state: State, before: Access, seen: Access, evidence: Evidence) -> Grade:
    grade = Grade().at_most(Certainty.LIKELY, "versions of the store's own that number each write")
    grade = grade.resting_on(evidence.absence(state.name, before, seen, unreturned=True))
    if not evidence.is_whole:
        grade = grade.at_most(Certainty.POSSIBLE, LOST)
    return partial(grade, (seen,))


def _missing_numbers(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Numbers between the lowest and the highest seen that no write made."""
    if state.may_expire:
        return
    made = {number(a.written): a for a in (*state.unapplied, *state.writes)}
    read = {number(r.read): r for r in reversed(state.reads)}
    known = sorted(n for n in {*made, *read} - {None} if n is not None)
    if not known:
        return
    told = 0
    for low, high in pairwise(known):
        missing = [*range(low + 1, min(high, low + 1 + NUMBERS_MAX)), *([high] if high not in made else [])]
        for each in missing[: NUMBERS_MAX - told]:
            told += 1
            seen = read.get(each) or made.get(high) or read[high]
            yield _missing(state, each, made.get(low) or read[low], seen, evidence)


def _missing(state: State, missing: int, before: Access, seen: Access, evidence: Evidence) -> Candidate:
    grade = Grade()
    frontiers = evidence.history.coverage.frontiers
    if not evidence.is_whole:
        grade = grade.at_most(Certainty.POSSIBLE, LOST)
    elif any(name not in frontiers for name in evidence.history.processes):
        grade = grade.at_most(Certainty.LIKELY, "the marks of all processes: spans at their end may be lost")
    grade = grade.resting_on(evidence.absence(state.name, before, seen, unreturned=True))
    grade = partial(grade, (seen,))
    if any(access.closed for access in state.accesses) and seen.op is Op.READ and number(seen.read) == missing:
        return _garbage(state, seen, grade)
    return _candidate(state, str(missing), before, seen, grade)


def _candidate(state: State, version: Version, before: Access, seen: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.UNKNOWN_WRITER,
        resource=state.name,
        anchors=(),
        units=(version,),
        roles=((before, "before"), (seen, "seen")),
        links=(Link(before, seen, "unordered", "in between somebody wrote who was not captured"),),
        grade=grade,
        words={"version": version},
    )


def _garbage(state: State, read: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.GARBAGE_READ,
        resource=state.name,
        anchors=(read,),
        roles=((read, "garbage_read"),),
        grade=grade,
    )
