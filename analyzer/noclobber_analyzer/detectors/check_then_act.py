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
from typing import Final

from noclobber.contract import Certainty, Guard, Kind, Op, Outcome, UnitKind, WriteMode
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.stale_write import superseded
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["check_then_act", "covered", "is_act"]

CHECKS_MAX: Final = 8
"""The last checks before an act that are looked at."""
INSERTS_MAX: Final = 64
"""The last inserts into a container before an act that are looked at."""
BACK_MAX: Final = 256
"""Accesses of a strand before an act among which its checks are looked for."""
_ACTS: Final = frozenset({Op.EFFECT, Op.SEND})
_CHECKS: Final = frozenset({Op.READ, Op.SCAN})
_HARD: Final = frozenset({UnitKind.TXN, UnitKind.LOCK})
_GUARDS: Final = frozenset({Guard.UNIQUE, Guard.VERSION, Guard.LOCK, Guard.SERIALIZABLE})


def check_then_act(evidence: Evidence) -> Iterator[Candidate]:
    """Acts whose check was overtaken; each act is at most one."""
    inserts = _Inserts(evidence)
    for act in evidence.history.accesses:
        if (act.op in _ACTS or act.mode is WriteMode.INSERT) and is_act(act, evidence):
            checks = _checks(act, evidence)
            found = _overtaken(act, checks, inserts, evidence) if checks else None
            if found is not None:
                yield found


def _checks(act: Access, evidence: Evidence) -> list[Access]:
    """What the strand read in the same unit or step before an act, the last first, each thing once.

    What it wrote itself after reading is judged by that write; a refusal begins the unit anew. A bare strand holds
    nothing together.
    """
    if act.step is None and act.unit_kind is None:
        return []
    settled: set[tuple[str, str]] = set()
    found: list[Access] = []
    for access in evidence.history.back(act, BACK_MAX):
        if (access.step or access.unit) != (act.step or act.unit) or access.outcome is Outcome.REJECTED:
            break
        predicate = access.scan.predicate or "" if access.op is Op.SCAN and access.scan is not None else ""
        thing = (access.resource, predicate)
        if access.op in _CHECKS and access.outcome in (Outcome.OK, Outcome.NOT_FOUND) and thing not in settled:
            found.append(access)
        if access.op in _CHECKS or access.op in WRITE_OPS:
            settled.add(thing)
    return found


def is_act(access: Access, evidence: Evidence) -> bool:
    """Whether it is an effect, send or insert that may have taken place and that nothing checked again."""
    insert = access.op is Op.WRITE and access.mode is WriteMode.INSERT
    if access.guard in _GUARDS or evidence.fates.of(access) is Fate.UNAPPLIED:
        return False
    if evidence.fates.serializable_rejected(access):
        return False
    return insert or access.op in _ACTS


def _overtaken(act: Access, checks: list[Access], inserts: "_Inserts", evidence: Evidence) -> Candidate | None:
    for check in checks[:CHECKS_MAX]:
        if check.op is Op.SCAN:
            found = inserts.between(check, act) if check.scan is not None else None
        elif check.read is not None and check.resource != act.resource:
            found = superseded(check, act, evidence)
        else:
            found = None
        if found is not None:
            return _candidate(act, check, found[0], _graded(found[1], act, check, checks, evidence))
    return None


def _graded(grade: Grade, act: Access, check: Access, checks: list[Access], evidence: Evidence) -> Grade:
    if act.unit_kind not in _HARD or act.unit != check.unit:
        grade = grade.at_most(Certainty.LIKELY, "a transaction around the check and the act")
    if len(checks) > 1:
        grade = grade.at_most(Certainty.POSSIBLE, "which of the things that it had read the act rested on")
    if evidence.fates.of(act) is Fate.UNDECIDED:
        grade = grade.at_most(Certainty.POSSIBLE, "whether the act took place: its outcome is unknown")
    return partial(grade, (act, check))


class _Inserts:
    """Inserts by the container that they went into, by time of their calls."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._into: dict[str, list[Access]] = {}
        scanned = {a.resource for a in evidence.history.of(Op.SCAN) if a.resource.endswith("/")}
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
            grade = covered(scan, other, act)
            if best is None or grade.certainty.rank > best[1].certainty.rank:
                best = other, grade
        return best

    def _near(self, scan: Access, act: Access) -> list[Access]:
        """The few inserts into the container whose calls were recorded last before the act."""
        own = self._into.get(scan.resource, [])
        upto = bisect_left(own, act.end_ns, key=lambda a: a.start_ns)
        return own[max(0, upto - INSERTS_MAX) : upto]


def covered(scan: Access, other: Access, act: Access) -> Grade:
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
