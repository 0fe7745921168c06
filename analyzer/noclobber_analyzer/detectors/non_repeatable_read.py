"""Non-repeatable read: one unit read one resource twice and got two versions, neither of them its own doing.

In a transaction whose isolation promises repeatability this is a broken promise; under weaker levels it is allowed,
and may still be a mistake. Reading again and writing from the fresh version is the textbook cure (`SELECT`, then
`SELECT .. FOR UPDATE`), and therefore only a possibility.

Source: Berenson et al. 1995 (P2); Elle's *internal*; contract 3.1.
"""

from collections.abc import Iterator

from noclobber.contract import Certainty, Kind, UnitKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.repeated import REPEATABLE, began_anew, between, looks_twice, unit_grade
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS
from noclobber_analyzer.state import Side, Sighting, State, conflicting_parts, differ, is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, hole_between, partial

__all__ = ["non_repeatable_read"]


def non_repeatable_read(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Non-repeatable reads of one resource; each unit has at most one, the first."""
    if len({read.unit for read in state.reads}) == len(state.reads):
        return
    told: set[str] = set()
    for one, other in looks_twice(state.reads):
        if one.unit in told or not _contradict(state, one, other):
            continue
        done = between(one, other, evidence)
        if began_anew(done) or any(_changes(a, state) for a in done):
            continue
        grade = _grade(state, one, other, evidence)
        if grade is not None:
            told.add(one.unit)
            yield _candidate(state, one, other, grade)


def _contradict(state: State, one: Access, other: Access) -> bool:
    """Whether two reads of the same got two states, and none of them can simply have vanished."""
    if one.part != other.part or not differ(
        Sighting(one.read, one, Side.REPLY), Sighting(other.read, other, Side.REPLY)
    ):
        return False
    if any(read.scan is not None and read.scan.approximate for read in (one, other)):
        return False
    gone = one.version_kind is not None and one.version_kind.absent in (one.read, other.read)
    return not (gone and state.may_expire)


def _changes(access: Access, state: State) -> bool:
    """Whether the unit itself may have changed the state: also by a call that failed, or by one on what holds it."""
    return access.op in WRITE_OPS and (state.name == access.resource or state.name.startswith(access.resource))


def _grade(state: State, one: Access, other: Access, evidence: Evidence) -> Grade | None:
    grade = unit_grade(one, other, evidence)
    if grade is None:
        return None
    writes = [w for w in state.own_after(other) if w.unit == one.unit]
    if one.unit_kind is not UnitKind.TXN and any(w.base in (one.read, other.read) for w in writes):
        return None  # it read again before it wrote: what it wrote from is the write's own story
    if any(w.base == one.read for w in writes):
        pass  # it decided from the older one, whatever its isolation
    elif any(w.base == other.read for w in writes):
        grade = grade.at_most(Certainty.POSSIBLE, "whether it only looked again before it wrote: it used the newer one")
    elif not {one.isolation or "", other.isolation or ""} <= REPEATABLE:  # InnoDB's locking reads are of no snapshot
        grade = grade.at_most(Certainty.LIKELY, "an isolation level that promises repeatable reads")
    if not _changed_by(state, other) and hole_between(evidence.history, one.seq, other):
        grade = grade.at_most(Certainty.POSSIBLE, "the lost spans of its own strand: it may have changed it itself")
    return partial(grade, (one, other))


def _changed_by(state: State, other: Access) -> list[Access]:
    """The one foreign write that made what was read the second time, if it was captured."""
    makers = [w for w in state.makers.get(other.read or "", ()) if is_foreign(w, other) and conflicting_parts(w, other)]
    return makers if len(makers) == 1 else []


def _candidate(state: State, one: Access, other: Access, grade: Grade) -> Candidate:
    changed = _changed_by(state, other)
    links = [Link(one, write, "unordered", "it replaced what had been read") for write in changed]
    links += [Link(write, other, "reads-from", "the second read returned what this had made") for write in changed]
    return Candidate(
        kind=Kind.NON_REPEATABLE_READ,
        resource=state.name,
        anchors=(other,),
        units=(one.unit,),
        roles=((one, "first_read"), *((write, "changed_by") for write in changed), (other, "second_read")),
        links=tuple(links),
        grade=grade,
    )
