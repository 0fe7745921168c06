"""One evaluator: a history in, verdicts out; the same for files, for live analysis and for replays.

Detectors propose candidates, precedence leaves one kind for each set of accesses, grades say how sure it is, and a
verdict that rests on an absence is only given where the record is complete there. What has to wait is named with the
processes that it waits for, so that live analysis knows when to ask again; in files nothing waits.

Source: house.md (one evaluator), analysis.md 1, 4 and 6. What each kind means stands in `detectors`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from noclobber.contract import Defence
from noclobber.declarations import Declarations
from noclobber_analyzer.access import Access
from noclobber_analyzer.advice import advise
from noclobber_analyzer.affected import affected, reaches_outside
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.defences import defences
from noclobber_analyzer.detectors import OF_HISTORY, OF_STATE
from noclobber_analyzer.detectors.cycles import cycles
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.explain import explain
from noclobber_analyzer.finding import Affected, Finding, access_ref, finding_id, issue_fingerprint, severity
from noclobber_analyzer.history import History
from noclobber_analyzer.invariants import invariant_violation
from noclobber_analyzer.kinds import permits
from noclobber_analyzer.latent import latent_candidates
from noclobber_analyzer.policies import permitted
from noclobber_analyzer.precedence import settle
from noclobber_analyzer.quiet import is_quiet
from noclobber_analyzer.verdict import Candidate
from noclobber_analyzer.witness import witness

__all__ = ["Defended", "Evaluation", "defended_as", "evaluate"]

_LAST = (1 << 63, "")
CONTEXT_ROLES = frozenset({"model", "guard", "context"})


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
        findings: ordered by (first_ns, id), latent ones last, the narrowest escape first; everything about them is
            final for this history.
        defended: each access once, in canonical order.
        waiting: resource -> ids of the processes whose frontiers its open verdicts wait for; empty in files.
        unknown: sentences about what could not be judged, coverage's included.
    """

    findings: list[Finding] = field(default_factory=list)
    defended: list[Defended] = field(default_factory=list)
    waiting: dict[str, frozenset[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def evaluate(
    history: History,
    *,
    resources: frozenset[str] | None = None,
    latent: bool = False,
    declarations: Declarations = NOTHING_DECLARED,
    filtered: bool = True,
) -> Evaluation:
    """Judge a history.

    Args:
        history: the accesses with their coverage.
        resources: only verdicts on these (a live view carries no more); None: on all.
        latent: whether to report conflicts that luck alone kept apart, too.
        declarations: what owners know of their resources; what they permit is defended.
        filtered: whether detectors are spared the resources that raise no question; what is found is the same.
    """
    evidence = Evidence(history)
    found: list[Finding] = []
    waiting: dict[str, frozenset[str]] = {}
    candidates = _candidates(evidence, resources, filtered=filtered)
    candidates += (
        c for c in invariant_violation(evidence, declarations) if resources is None or c.resource in resources
    )
    meant: list[Candidate] = []
    raced: list[Candidate] = []
    for candidate in candidates:
        (meant if permitted(declarations, candidate.kind, candidate.resource) else raced).append(candidate)
    settled = settle(raced)
    lucky, more = _lucky(evidence, settled, resources, declarations) if latent else ([], 0)
    for candidate in (*settled, *lucky):
        if candidate.grade.waiting:
            name = candidate.resource
            waiting[name] = waiting.get(name, frozenset()) | candidate.grade.waiting
        else:
            found.append(_finding(candidate, evidence))
    accused = {(ref.trace_id, ref.span_id) for finding in found for ref in finding.accesses if finding.manifest}
    defended = [
        defended_as(access, reason) for access, reason in defences(evidence, resources, accused, _anchors(meant))
    ]
    return Evaluation(
        findings=sorted(found, key=lambda f: (f.first_ns, f.id) if f.manifest else _LAST),
        defended=sorted(defended, key=lambda d: (d.start_ns, d.span_id, d.trace_id)),
        waiting=waiting,
        unknown=[*history.coverage.unknown, *evidence.unknown, *_told_more(more)],
    )


def defended_as(access: Access, reason: Defence) -> Defended:
    """The record of a defended access."""
    return Defended(access.trace_id, access.span_id, reason, access.resource, access.agent, access.start_ns)


def _lucky(
    evidence: Evidence, settled: list[Candidate], resources: frozenset[str] | None, declarations: Declarations
) -> tuple[list[Candidate], int]:
    """The latent candidates that nobody permits, and how many more there are of the same issues."""
    lucky, more = latent_candidates(evidence, settled, resources)
    return [c for c in lucky if not permitted(declarations, c.kind, c.resource)], more


def _told_more(more: int) -> list[str]:
    return [f"{more} more conflicts of the latent issues that are shown were kept apart by luck, too"] if more else []


def _anchors(candidates: Iterable[Candidate]) -> list[Access]:
    """The accesses that name these candidates."""
    return [anchor for candidate in candidates if not candidate.grade.waiting for anchor in candidate.anchors]


def _candidates(evidence: Evidence, resources: frozenset[str] | None, *, filtered: bool) -> list[Candidate]:
    found = list(_of_kinds(evidence, resources, filtered=filtered))
    return found + [c for c in cycles(evidence, found) if resources is None or c.resource in resources]


def _of_kinds(evidence: Evidence, resources: frozenset[str] | None, *, filtered: bool) -> Iterable[Candidate]:
    for name, accesses in sorted(evidence.history.resources.items()):
        if (resources is None or name in resources) and not (filtered and is_quiet(name, accesses)):
            state = evidence.state(name)
            for of_state in OF_STATE:
                yield from of_state(state, evidence)
    for of_history in OF_HISTORY:
        for candidate in of_history(evidence):
            if resources is None or candidate.resource in resources:
                yield candidate


def _finding(candidate: Candidate, evidence: Evidence) -> Finding:
    """The finding that a settled candidate is."""
    reached = affected(candidate, evidence) if candidate.manifest else Affected()
    actors = [access for access, role in candidate.roles if role not in CONTEXT_ROLES]
    told = [access for access, _ in candidate.roles]
    anchor = candidate.anchors[0] if candidate.anchors else actors[-1]
    allowed = anchor.txn_id is not None and permits(anchor.isolation, candidate.kind)
    return Finding(
        id=finding_id(candidate.kind, "" if candidate.crosses else candidate.resource, candidate.anchor_names),
        issue=issue_fingerprint(candidate.kind, candidate.resource, _racing(candidate)),
        kind=candidate.kind,
        also=candidate.also,
        certainty=candidate.grade.certainty,
        severity=severity(
            candidate.kind,
            candidate.grade.certainty,
            manifest=candidate.manifest,
            effect_affected=reaches_outside(reached),
            ordered_or_allowed=candidate.ordered or allowed,
        ),
        manifest=candidate.manifest,
        margin_ns=candidate.margin_ns,
        resource=candidate.resource,
        agents=tuple(sorted({access.agent for access in actors})),
        first_ns=min(access.start_ns for access in told),
        last_ns=max(access.end_ns for access in told),
        accesses=tuple(access_ref(access, role) for access, role in candidate.roles),
        edges=witness(candidate),
        explanation=explain(candidate),
        advice=advise(candidate.kind, anchor.system, candidate.resource),
        missing=tuple(dict.fromkeys(candidate.grade.missing)),
        affected=reached,
    )


def _racing(candidate: Candidate) -> list:  # type: ignore[type-arg]  # of accesses
    """The pair that a person would call the bug: the anchors and whom they race with."""
    pair = {access.name: access for access in candidate.anchors}
    for link in candidate.links:
        if link.type == "unordered" and pair.keys() & {link.source.name, link.target.name}:
            pair |= {link.source.name: link.source, link.target.name: link.target}
    return list(pair.values())
