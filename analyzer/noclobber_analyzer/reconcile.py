"""What a judgement changes: which findings to write, which to take back, and why.

A history is judged anew whenever something arrives, and the store already holds findings about it. One that is judged
again keeps its id; one that accesses of another kind come to cover keeps its kind; one that no longer holds is taken
back, with a reason that names what arrived since. Nothing is taken back while its verdict waits for a process, nor
once some of its accesses fell out of the kept history: that is forgetting, not learning. A `certain` finding rests on
no absence, so that one which vanishes shows a bug: it stays, and is told loudly. Only where a clock turns out to have
been set (`clock_steps`) is what its times had told taken back.

Source: analysis.md 4 (late data), contract 3 (`status`, `revision`). Nothing is judged here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import Evaluation
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.ledger import access_names, kept_kinds

__all__ = ["Changes", "reconcile"]


class Changes(NamedTuple):
    """What to write.

    Attributes:
        found: findings that hold. gone: ids of those that no longer do, with the reason.
        contradicted: ids of certain findings that were not found again; they stay.
    """

    found: list[Finding]
    gone: dict[str, str]
    contradicted: list[str]


def reconcile(
    evaluation: Evaluation,
    standing: Mapping[str, Finding],
    *,
    holds: Callable[[Iterable[tuple[str, str]]], bool],
    because: Callable[[Finding], str],
    discredited: Callable[[Finding], bool] = lambda _: False,
) -> Changes:
    """Compare a judgement with the open findings on the same resources.

    Args:
        evaluation: as judged now.
        standing: open findings on the resources that were judged, by id.
        holds: whether all these accesses are still in the history that was judged.
        because: what has arrived since a finding was written.
        discredited: whether times told it of a clock that is no longer believed.
    """
    whole = {name: finding for name, finding in standing.items() if holds(_all_names(finding))}
    found_ids = {finding.id for finding in evaluation.findings}
    vanished = {name: finding for name, finding in whole.items() if name not in found_ids}
    fresh = [finding for finding in evaluation.findings if finding.id in whole or finding.id not in standing]
    found = kept_kinds(fresh, vanished)
    kept = {finding.id for finding in found}
    gone: dict[str, str] = {}
    contradicted = []
    for name, finding in vanished.items():
        if name in kept or finding.resource in evaluation.waiting:
            continue
        if finding.certainty is Certainty.CERTAIN and not discredited(finding):
            contradicted.append(name)
            continue
        gone[name] = because(finding)
    return Changes(found, gone, contradicted)


def _all_names(finding: Finding) -> frozenset[tuple[str, str]]:
    """The accesses of a finding, and those that it affected."""
    return access_names(finding) | {(access.trace_id, access.span_id) for access in finding.affected.accesses}
