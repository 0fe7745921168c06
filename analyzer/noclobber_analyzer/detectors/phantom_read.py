"""Phantom read: one unit asked the same predicate twice and got other members, neither of it its own doing.

Only the set of members counts here; a member that is there both times at another version is a non-repeatable read. A
scan in several parts is joined first, and one that is incomplete or approximate proves nothing.

Source: Berenson et al. 1995 (P3); contract 3.1, detection.md 3.3.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from noclobber.contract import Certainty, Kind, Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.detectors.repeated import began_anew, between, looks_twice, unit_grade
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.state import is_foreign
from noclobber_analyzer.verdict import Candidate, Grade, Link, partial

__all__ = ["phantom_read"]


@dataclass(frozen=True, slots=True)
class Found:
    """What one scan returned, its parts joined: members, whether their versions are known, and how many there were."""

    members: frozenset[str] | None
    versions: bool
    count: int | None


def phantom_read(evidence: Evidence) -> Iterator[Candidate]:
    """Phantoms; each unit, container and predicate has at most one, the first."""
    asked: dict[tuple[str, str, str], dict[str, list[Access]]] = {}
    for access in evidence.history.of(Op.SCAN):
        if access.outcome is Outcome.OK and access.scan is not None and access.scan.predicate:
            question = (access.unit, access.resource, access.scan.predicate)
            asked.setdefault(question, {}).setdefault(access.scan.id or access.span_id, []).append(access)
    for parts in asked.values():
        if len(parts) < 2:
            continue
        scans = {min(own, key=lambda a: a.seq).name: (min(own, key=lambda a: a.seq), own) for own in parts.values()}
        for one, other in looks_twice(first for first, _ in scans.values()):
            found = _judged(one, other, _joined(scans[one.name][1]), _joined(scans[other.name][1]), evidence)
            if found is not None:
                yield found
                break


def _joined(parts: list[Access]) -> Found | None:
    """The scan as one; None where a part is missing or members may be left out."""
    scans = [part.scan for part in parts if part.scan is not None]
    if any(scan.approximate for scan in scans) or len(scans) < max(scan.parts or 1 for scan in scans):
        return None
    members = frozenset(name for scan in scans for name in scan.resources)
    count = max((scan.count for scan in scans if scan.count is not None), default=None)
    versions = all(len(scan.versions) == len(scan.resources) and all(scan.versions) for scan in scans)
    listed = count is None or count == len(members)
    return Found(members if listed else None, versions and bool(members), count)


def _judged(
    one: Access, other: Access, first: Found | None, second: Found | None, evidence: Evidence
) -> Candidate | None:
    if first is None or second is None:
        return None
    done = between(one, other, evidence)
    if began_anew(done) or any(a.op in WRITE_OPS and a.resource.startswith(one.resource) for a in done):
        return None
    grade = unit_grade(one, other, evidence)
    if grade is None:
        return None
    if first.members is None or second.members is None:
        if first.count is None or second.count is None or first.count == second.count:
            return None
        grade = grade.at_most(Certainty.POSSIBLE, "the members of both results: only their number is known")
        return _candidate(one, other, [], partial(grade, (one, other)))
    changed = first.members ^ second.members
    if not changed:
        return None
    culprits = _culprits(changed, one, other, evidence)
    if not (first.versions and second.versions):
        grade = grade.at_most(Certainty.LIKELY if culprits else Certainty.POSSIBLE, "the members' versions")
    return _candidate(one, other, culprits, partial(grade, (one, other)))


def _culprits(changed: Iterable[str], one: Access, other: Access, evidence: Evidence) -> list[Access]:
    """The foreign writes that may have let members in or out meanwhile, at most one a member."""
    found = []
    for name in sorted(changed):
        for write in evidence.state(name).writes:
            late = evidence.took_effect_before(write, one) is not None
            early = evidence.took_effect_after(write, other) is not None
            if is_foreign(write, other) and not late and not early and evidence.fates.of(write) is Fate.APPLIED:
                found.append(write)
                break
    return found


def _candidate(one: Access, other: Access, culprits: list[Access], grade: Grade) -> Candidate:
    assert one.scan is not None
    links = [Link(one, write, "unordered", "it changed what had been found") for write in culprits]
    links += [Link(write, other, "reads-from", "the second result shows this") for write in culprits]
    return Candidate(
        kind=Kind.PHANTOM_READ,
        resource=one.resource,
        anchors=(other,),
        units=(one.unit, one.scan.predicate or ""),
        roles=((one, "first_scan"), *((write, "changed_by") for write in culprits), (other, "second_scan")),
        links=tuple(links),
        grade=grade,
    )
