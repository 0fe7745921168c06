"""One evaluator: a history in, verdicts out; the same for files, for live analysis and for replays.

Detectors propose candidates, precedence leaves one kind for each set of accesses, grades say how sure it is, and a
verdict that rests on an absence is only given where the record is complete there. What has to wait is named with the
processes that it waits for, so that live analysis knows when to ask again; in files nothing waits.

Source: house.md (one evaluator), analysis.md 1, 4 and 6. What each kind means stands in `detectors`.
"""

from dataclasses import dataclass, field

from noclobber.contract import Defence
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History

__all__ = ["Defended", "Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True)
class Defended:
    """An access that raced and did no harm, and why.

    Attributes:
        trace_id, span_id: the access. reason: what defended it.
        resource, agent, start_ns: of that access.
    """

    trace_id: str
    span_id: str
    reason: Defence
    resource: str
    agent: str
    start_ns: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was made of a history.

    Attributes:
        findings: ordered by (first_ns, id); everything about them is final for this history.
        defended: each access once, in canonical order.
        waiting: resource -> ids of the processes whose frontiers its open verdicts wait for; empty in files.
        unknown: sentences about what could not be judged, coverage's included.
    """

    findings: list[Finding] = field(default_factory=list)
    defended: list[Defended] = field(default_factory=list)
    waiting: dict[str, frozenset[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def evaluate(history: History, *, resources: frozenset[str] | None = None, latent: bool = False) -> Evaluation:
    """Judge a history.

    Args:
        history: the accesses with their coverage.
        resources: only verdicts on these (a live view carries no more); None: on all.
        latent: whether to report conflicts that luck alone kept apart, too.
    """
    raise NotImplementedError
