"""Latent races: conflicting units that ran one after the other though nothing made the later one wait.

The accesses show no damage; luck kept the two apart, and `margin_ns` says by how much: from the end of the earlier
unit's write to the start of the later one's read. Both have a shape that does harm when it overlaps: read, then
overwrite what was read (a lost update in waiting); check, then act; select a task, then take it; or take two locks in
opposite orders (a deadlock in waiting). A guard, a common lock, or any path of sync order between them means that it
was no luck; that one read what the other wrote proves nothing of the kind. Versions cannot prove it, so it is `likely`
at most, and rests on a complete record.

One finding for an issue and a day, with the smallest margin; the rest are counted. One module a shape; `escape` holds
what all shapes have in common, `ranking` says which is the narrowest.

Source: detection.md 5; ACIDRain (Warszawski and Bailis 2017) for predicting from serial traces.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from noclobber.contract import Certainty
from noclobber.declarations import Declarations
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.finding import issue_fingerprint
from noclobber_analyzer.latent.acts import latent_check_then_act
from noclobber_analyzer.latent.claims import latent_double_claim
from noclobber_analyzer.latent.escape import Escape, graded
from noclobber_analyzer.latent.locks import inverted_locks
from noclobber_analyzer.latent.ranking import luck
from noclobber_analyzer.latent.updates import latent_lost_update
from noclobber_analyzer.policies import permitted
from noclobber_analyzer.verdict import Candidate, Name

__all__ = ["DAY_NS", "accused_by", "latent_candidates"]

DAY_NS: Final = 86_400_000_000_000


def accused_by(found: Iterable[Candidate]) -> set[Name]:
    """The accesses of what is manifest: they are not told again; of what is but possible those that name it."""
    accused: set[Name] = set()
    for candidate in found:
        sure = candidate.grade.certainty is not Certainty.POSSIBLE
        accused |= candidate.core if sure else {anchor.name for anchor in candidate.anchors}
    return accused


def latent_candidates(
    evidence: Evidence, accused: AbstractSet[Name], resources: frozenset[str] | None, declarations: Declarations
) -> tuple[list[Candidate], int]:
    """The latent candidates that are told, the narrowest escape first; and how many more there are.

    Args:
        evidence: of the history.
        accused: accesses of what is manifest.
        resources: only of these; None: of all.
        declarations: what owners permit is no finding, latent or not.
    """
    narrowest: dict[tuple[str, int], Escape] = {}
    count = 0
    for escape in _all(evidence, resources):
        candidate = escape.candidate
        if accused & {anchor.name for anchor in candidate.anchors}:
            continue
        if permitted(declarations, candidate.kind, candidate.resource):
            continue
        count += 1
        day = (
            issue_fingerprint(candidate.kind, candidate.resource, candidate.racing),
            candidate.anchors[0].start_ns // DAY_NS,
        )
        other = narrowest.get(day)
        if other is None or _margin(candidate) < _margin(other.candidate):
            narrowest[day] = escape
    told = [graded(escape, evidence) for escape in narrowest.values()]
    return sorted(told, key=_rank), count - len(told)


def _margin(candidate: Candidate) -> tuple[int, tuple[str, ...]]:
    return candidate.margin_ns or 0, candidate.anchor_names


def _rank(candidate: Candidate) -> tuple[float, tuple[str, ...]]:
    return luck(candidate.margin_ns, (access for access, _ in candidate.roles)), candidate.anchor_names


def _all(evidence: Evidence, resources: frozenset[str] | None) -> Iterator[Escape]:
    for name in sorted(evidence.history.resources):
        if resources is None or name in resources:
            yield from latent_lost_update(evidence.state(name), evidence)
    for of_history in (latent_check_then_act, latent_double_claim, inverted_locks):
        for escape in of_history(evidence):
            if resources is None or escape.candidate.resource in resources:
                yield escape
