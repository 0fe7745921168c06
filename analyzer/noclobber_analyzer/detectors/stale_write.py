"""Stale write: nothing of another's is replaced, but what was written was decided from a superseded version.

(a) A unit read one resource and wrote another, and meanwhile somebody changed what it had read. (b) An append or a
merge was decided from a state that was no longer there. Inside a transaction versions can prove (a); a soft unit
may have read for other reasons, so it is `likely` at most, and only where the read is all that the write can rest on.
An insert that was decided so is `check_then_act`.

Source: noclobber; contract 3.1 (border to lost_update), detection.md 3.2.
"""

from collections.abc import Iterator

from noclobber.contract import ABSENT, BaseSource, Certainty, Guard, Kind, Op, UnitKind, VersionKind, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.basis import guarded
from noclobber_analyzer.detectors.replaced import capped_by_own, certified
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import Fate
from noclobber_analyzer.state import NUMBERS, Side, Sighting, State, conflicting_parts, differ, is_foreign, number
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["stale_append", "stale_basis", "superseded"]


def stale_append(state: State, evidence: Evidence) -> Iterator[Candidate]:
    """Appends and merges whose base is not what they were added to."""
    for write in state.writes:
        if write.op is not Op.WRITE or write.mode not in (WriteMode.APPEND, WriteMode.MERGE):
            continue
        over = write.overwritten
        if write.base is None or over is None or over == write.base or guarded(write):
            continue
        if not differ(Sighting(over, write, Side.REPLY), state.base_seen(write)):
            continue
        found = certified(state, write, over, evidence)
        grade = capped_by_own(state, write, found.grade, evidence) if found is not None else None
        if found is None or grade is None:
            continue
        if write.base_source is BaseSource.RECALLED:
            grade = grade.at_most(Certainty.LIKELY, "that the step itself read what it decided from")
        yield _candidate(write, state.base_of(write), found.victim, partial(grade, (write,)))


def stale_basis(evidence: Evidence) -> Iterator[Candidate]:
    """Writes of one resource decided from a superseded version of another one, read in the same unit."""
    for accesses in evidence.history.units.values():
        first = accesses[0].resource
        if all(access.resource == first for access in accesses):
            continue
        yield from _in_unit(accesses, evidence)


def _in_unit(accesses: list[Access], evidence: Evidence) -> Iterator[Candidate]:
    strands: dict[str, list[Access]] = {}
    for access in accesses:
        strands.setdefault(access.strand, []).append(access)
    for own in strands.values():
        reads: dict[str, Access] = {}  # the last look at each resource; not all of them say what they saw
        for access in own:
            if access.op is Op.READ and access.outcome in ("ok", "not_found"):
                reads[access.resource] = access
            elif access.op in (Op.WRITE, Op.DELETE) and evidence.fates.of(access) is Fate.APPLIED:
                yield from _from_reads(access, reads, evidence)
                reads.pop(access.resource, None)
            elif access.outcome == "rejected":
                reads.clear()


def _from_reads(write: Access, reads: dict[str, Access], evidence: Evidence) -> Iterator[Candidate]:
    others = [read for name, read in reads.items() if name != write.resource and read.read is not None]
    if not others or not _decides(write, evidence):
        return
    for read in others:
        found = superseded(read, write, evidence)
        if found is None:
            continue
        newer, grade = found
        if write.unit_kind is not UnitKind.TXN:
            grade = grade.at_most(Certainty.LIKELY, "a transaction around the read and the write")
        if len(reads) > 1 or write.base is not None:
            grade = grade.at_most(Certainty.POSSIBLE, "whether the value was computed from this read")
        yield _candidate(write, read, newer, partial(grade, (read, write)))
        return


def _decides(write: Access, evidence: Evidence) -> bool:
    """Whether a write can have been decided from what its unit read, and nothing compared that."""
    if write.mode in (WriteMode.INCREMENT, WriteMode.INSERT) or write.guard in (Guard.LOCK, Guard.SERIALIZABLE):
        return False
    return not evidence.fates.serializable_rejected(write)


def superseded(read: Access, write: Access, evidence: Evidence) -> tuple[Access, Grade] | None:
    """A foreign write that replaced what was read, certainly before the write; and how sure that is."""
    state = evidence.state(read.resource)
    best: tuple[Access, Grade] | None = None
    for other in state.timeline.around(read, write):
        if not is_foreign(other, write) or not conflicting_parts(other, read) or other.written == read.read:
            continue
        if read.locks and set(read.locks) & set(other.locks):
            return None
        if evidence.fates.of(other) is not Fate.APPLIED:
            continue
        if evidence.took_effect_before(other, read) or not evidence.took_effect_before(other, write):
            continue
        grade = _grade(read, other, evidence)
        if grade is not None and (best is None or other.end_ns > best[0].end_ns):
            best = (other, grade)
    return best


def _grade(read: Access, other: Access, evidence: Evidence) -> Grade | None:
    if read.version_kind in NUMBERS and other.version_kind is read.version_kind:
        newer, got = number(other.written), number(read.read)
        if newer is None or got is None:
            return None
        if newer <= got:
            return None
        if not evidence.state(read.resource).may_expire:
            return Grade()
    if other.mode is WriteMode.INSERT and read.version_kind is VersionKind.CHAIN:
        return None  # a child beside its parent: what was read is still there
    if read.version_kind is VersionKind.CHAIN and read.read in (other.overwritten, other.base) and read.read != ABSENT:
        return Grade()
    if evidence.took_effect_after(other, read):
        return Grade().at_most(Certainty.LIKELY, "versions of what was read that show the order")
    return None


def _candidate(write: Access, read: Access | None, newer: Access | None, grade: Grade) -> Candidate:
    roles = [(read, "stale_read")] if read is not None else []
    links = [Link(read, write, "base", "what was written was decided from this")] if read is not None else []
    if newer is not None:
        roles.append((newer, "newer"))
        links.append(Link(newer, write, "unordered", "it changed what had been read, before the write, unseen"))
    return Candidate(
        kind=Kind.STALE_WRITE,
        resource=write.resource,
        anchors=(write,),
        roles=(*roles, (write, "stale_write")),
        links=tuple(links),
        grade=grade,
        words={"read_resource": read.resource if read is not None else write.resource},
    )
