"""Check then act: what was done rested on something that another had changed meanwhile.

An *act* is an effect, a send or an insert; a *check* is a read or scan by the same strand in the same unit or step
before it. If a foreign applied write overtook what was checked before the act, and the act did not check again, the
decision was out of date when it was carried out. The commonest case is one check that lets two units in: both find
nothing, both insert. A unit that read several things may have acted for another reason: a possibility, no more. A
write of one's own to what was checked is a decision in itself and has kinds of its own (`lost_update`,
`double_claim`); overwrites and deletes decided from other resources are `stale_write`.

Source: Bishop and Dilger 1996 (TOCTOU); contract 3.1, detection.md 3.5.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Certainty, Guard, Kind, Op, Outcome, UnitKind, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.stale_write import superseded
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["check_then_act"]

CHECKS_MAX: Final = 8
"""The last checks before an act that are looked at."""
INSERTS_MAX: Final = 64
"""The last inserts into a container before an act that are looked at."""
_HARD: Final = frozenset({UnitKind.TXN, UnitKind.LOCK})
_GUARDS: Final = frozenset({Guard.UNIQUE, Guard.VERSION, Guard.LOCK, Guard.SERIALIZABLE})


@dataclass(slots=True)
class _Checks:
    """What a strand read within one unit or step so far, the last of each resource or predicate."""

    within: str = ""
    reads: dict[str, Access] = field(default_factory=dict)
    scans: dict[tuple[str, str], Access] = field(default_factory=dict)

    def enter(self, within: str) -> None:
        """Another unit begins with nothing read."""
        if within != self.within:
            self.within = within
            self.forget()

    def forget(self) -> None:
        """What was read before is not held against what follows."""
        self.reads.clear()
        self.scans.clear()

    def take(self, access: Access) -> None:
        """Take a read or scan: it replaces an earlier one of the same."""
        if access.op is Op.SCAN and access.scan is not None:
            key = (access.resource, access.scan.predicate or "")
            self.scans.pop(key, None)
            self.scans[key] = access
        elif access.op is Op.READ:
            self.reads.pop(access.resource, None)
            self.reads[access.resource] = access

    @property
    def count(self) -> int:
        """How many things it read."""
        return len(self.reads) + len(self.scans)


def check_then_act(evidence: Evidence) -> Iterator[Candidate]:
    """Acts whose check was overtaken; each act is at most one."""
    inserts = _Inserts(evidence)
    for own in evidence.history.strands.values():
        checks = _Checks()
        for access in own:
            if access.step is None and access.unit_kind is None:
                continue  # a bare strand: nobody knows what belongs together
            checks.enter(access.step or access.unit)
            if access.op in (Op.READ, Op.SCAN):
                if access.outcome in (Outcome.OK, Outcome.NOT_FOUND):
                    checks.take(access)
            elif access.outcome is Outcome.REJECTED:
                checks.forget()
            elif checks.count and _is_act(access, evidence):
                found = _overtaken(access, checks, inserts, evidence)
                if found is not None:
                    yield found
            if access.op in WRITE_OPS:
                checks.reads.pop(access.resource, None)


def _is_act(access: Access, evidence: Evidence) -> bool:
    insert = access.op is Op.WRITE and access.mode is WriteMode.INSERT
    if access.guard in _GUARDS or evidence.fates.of(access) is Fate.UNAPPLIED:
        return False
    if evidence.fates.serializable_rejected(access):
        return False
    return insert or access.op in (Op.EFFECT, Op.SEND)


def _overtaken(act: Access, checks: _Checks, inserts: "_Inserts", evidence: Evidence) -> Candidate | None:
    for read in [*checks.reads.values()][::-1][:CHECKS_MAX]:
        if read.read is None or read.resource == act.resource:
            continue
        found = superseded(read, act, evidence)
        if found is not None:
            return _candidate(act, read, found[0], _graded(found[1], act, read, checks, evidence))
    for scan in [*checks.scans.values()][::-1][:CHECKS_MAX]:
        entered = inserts.between(scan, act)
        if entered is not None:
            other, grade = entered
            return _candidate(act, scan, other, _graded(grade, act, scan, checks, evidence))
    return None


def _graded(grade: Grade, act: Access, check: Access, checks: _Checks, evidence: Evidence) -> Grade:
    if act.unit_kind not in _HARD or act.unit != check.unit:
        grade = grade.at_most(Certainty.LIKELY, "a transaction around the check and the act")
    if checks.count > 1:
        grade = grade.at_most(Certainty.POSSIBLE, "which of the things that it had read the act rested on")
    if evidence.fates.of(act) is Fate.UNDECIDED:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the act took place: its outcome is unknown")
    return partial(grade, (act, check))


class _Inserts:
    """Inserts by the container that they went into, by time of their calls."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._into: dict[str, list[Access]] = {}
        scanned = {a.resource for a in evidence.history.accesses if a.op is Op.SCAN and a.resource.endswith("/")}
        for access in evidence.history.accesses if scanned else ():
            if access.op is Op.WRITE and access.mode is WriteMode.INSERT:
                container = access.resource.rpartition("/")[0] + "/"
                if container in scanned and evidence.fates.of(access) is Fate.APPLIED:
                    self._into.setdefault(container, []).append(access)

    def between(self, scan: Access, act: Access) -> tuple[Access, Grade] | None:
        """A foreign insert that entered what a scan had asked for, after it and before the act; how sure it is."""
        assert scan.scan is not None
        best: tuple[Access, Grade] | None = None
        for other in self._near(scan, act):
            if not is_foreign(other, act) or other.resource in scan.scan.resources:
                continue
            if set(scan.locks) & set(other.locks) or not self._evidence.took_effect_before(other, act):
                continue
            if not self._evidence.took_effect_after(other, scan):
                continue
            grade = _covered(scan, other, act)
            if best is None or grade.certainty.rank > best[1].certainty.rank:
                best = other, grade
        return best

    def _near(self, scan: Access, act: Access) -> list[Access]:
        """The few inserts into the container whose calls were recorded last before the act."""
        own = self._into.get(scan.resource, [])
        upto = bisect_left(own, act.end_ns, key=lambda a: a.start_ns)
        return own[max(0, upto - INSERTS_MAX) : upto]


def _covered(scan: Access, other: Access, act: Access) -> Grade:
    """How sure it is that an insert belongs to what a scan asked for."""
    assert scan.scan is not None
    known = scan.scan.predicate is not None and scan.scan.predicate in ("*", *other.predicates)
    content = other.content_written or other.written
    same = content is not None and not other.weak and content == (act.content_written or act.written)
    if known and not scan.scan.approximate:
        return Grade().at_most(Certainty.LIKELY, "an edge that orders the scan, the other's insert and the act")
    if same and act.op is Op.WRITE:
        return Grade().at_most(Certainty.LIKELY, "the predicates that the other's insert falls under")
    return Grade().at_most(Certainty.POSSIBLE, "whether the other's insert falls under what was asked")


def _candidate(act: Access, check: Access, newer: Access, grade: Grade) -> Candidate:
    return Candidate(
        kind=Kind.CHECK_THEN_ACT,
        resource=act.resource,
        anchors=(act,),
        roles=((check, "check"), (newer, "newer"), (act, "act")),
        links=(
            Link(check, act, "base", "what was done was decided from this"),
            Link(newer, act, "unordered", "it changed what had been checked, before the act, unseen"),
        ),
        grade=grade,
        words={"checked": check.resource},
    )
