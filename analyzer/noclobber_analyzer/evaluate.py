"""One evaluator: a history in, verdicts out; the same for files, for live analysis and for replays.

Detectors propose candidates, precedence leaves one kind for each set of accesses, grades say how sure it is, and a
verdict that rests on an absence is only given where the record is complete there. What has to wait is named with the
processes that it waits for, so that live analysis knows when to ask again; in files nothing waits.

Source: house.md (one evaluator), analysis.md 1, 4 and 6. What each kind means stands in `detectors`.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import chain

from noclobber.contract import Certainty, Defence
from noclobber.declarations import Declarations
from noclobber_analyzer.access import Access
from noclobber_analyzer.belonging import touched
from noclobber_analyzer.composing import broken_by, compose, id_of
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.defences import defences
from noclobber_analyzer.dependency import Dependency, dependencies, rings
from noclobber_analyzer.detectors import OF_HISTORY, OF_STATE
from noclobber_analyzer.detectors.cycles import cycles
from noclobber_analyzer.elsewhere import Hint, form_of, hints_of
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History
from noclobber_analyzer.invariants import invariant_violation
from noclobber_analyzer.latent import accused_by, latent_candidates
from noclobber_analyzer.policies import permitted
from noclobber_analyzer.precedence import settle
from noclobber_analyzer.quiet import is_quiet
from noclobber_analyzer.unseen import addresses_of
from noclobber_analyzer.verdict import Candidate, Name
from noclobber_analyzer.witness import NODES_MAX

__all__ = ["Defended", "Evaluation", "defended_as", "evaluate", "lucky_findings"]

_LAST = (1 << 63, "")


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
        edges: dependencies between units that cycles may consist of.
        measured: resources on whose verdicts a measured bound between clocks may bear.
        elsewhere: what would be said of other resources because of accesses to those that were judged; it is for a
            judgement of that resource to say so.
    """

    findings: list[Finding] = field(default_factory=list)
    defended: list[Defended] = field(default_factory=list)
    waiting: dict[str, frozenset[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    edges: list[Dependency] = field(default_factory=list)
    measured: frozenset[str] = frozenset()
    elsewhere: frozenset[Hint] = frozenset()


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
    edges = dependencies(evidence)
    near = _with_rings(resources, edges)
    candidates = _of_kinds(evidence, near, filtered=filtered)
    candidates += cycles(evidence, candidates, edges)
    candidates += invariant_violation(evidence, declarations)
    meant: list[Candidate] = []
    raced: list[Candidate] = []
    for candidate in candidates:
        may = permitted(declarations, candidate.kind, candidate.resource)
        (meant if may else raced).append(_on_one_server(candidate))
    all_settled = settle(raced)
    settled = [c for c in all_settled if resources is None or c.resource in resources]
    meant = [c for c in meant if resources is None or c.resource in resources]
    broken = broken_by(raced)
    lucky, more = _lucky(evidence, settled, resources, declarations) if latent else ([], 0)
    for candidate in (*settled, *lucky):
        if candidate.grade.waiting:
            name = candidate.resource
            waiting[name] = waiting.get(name, frozenset()) | candidate.grade.waiting
        else:
            found.append(compose(candidate, evidence, broken))
    accused = {access.key for c in all_settled if c.manifest and not c.grade.waiting for access, _ in c.roles}
    defended = [
        defended_as(access, reason)
        for access, reason in defences(evidence, resources, accused, _anchors(meant))
        if resources is None or access.resource in resources
    ]
    return Evaluation(
        findings=sorted(found, key=lambda f: (f.first_ns, f.id) if f.manifest else _LAST),
        defended=sorted(defended, key=lambda d: (d.start_ns, d.span_id, d.trace_id)),
        waiting=waiting,
        unknown=[
            *history.coverage.unknown,
            *dict.fromkeys(evidence.told_open()),
            *_of_clocks(evidence),
            *_told_in_part(found),
            *_told_more(more),
        ],
        measured=frozenset(name for name in evidence.measured if name in history.resources),
        edges=edges,
        elsewhere=frozenset(
            hint
            for c in all_settled
            if resources is not None and c.resource not in resources and _speaks_of(c, resources)
            for hint in hints_of(id_of(c), c.resource, (access.resource for access, _ in c.roles), form_of(c))
        ),
    )


def defended_as(access: Access, reason: Defence) -> Defended:
    """The record of a defended access."""
    return Defended(access.trace_id, access.span_id, reason, access.resource, access.agent, access.start_ns)


def lucky_findings(
    history: History,
    accused: AbstractSet[Name],
    *,
    resources: frozenset[str] | None,
    declarations: Declarations = NOTHING_DECLARED,
) -> tuple[list[Finding], frozenset[str]]:
    """Only what luck kept apart, without judging what is manifest: for live analysis, which knows that already.

    Args:
        history: the accesses with their coverage.
        accused: accesses of manifest findings.
        resources: only of these; None: of all.
        declarations: what owners know of their resources.

    Returns:
        The findings, the narrowest escape first; resources whose verdicts wait for a process.
    """
    evidence = Evidence(history)
    lucky, _ = latent_candidates(evidence, accused, resources, declarations)
    found = [compose(candidate, evidence, {}) for candidate in lucky if not candidate.grade.waiting]
    return found, frozenset(candidate.resource for candidate in lucky if candidate.grade.waiting)


def _lucky(
    evidence: Evidence, settled: list[Candidate], resources: frozenset[str] | None, declarations: Declarations
) -> tuple[list[Candidate], int]:
    """The latent candidates that nobody permits, and how many more there are of the same issues."""
    return latent_candidates(evidence, accused_by(settled), resources, declarations)


def _on_one_server(candidate: Candidate) -> Candidate:
    """Possible at most where two addresses answered: perhaps they are two servers, and nobody raced."""
    addresses = addresses_of(candidate)
    if len(addresses) < 2:
        return candidate
    missing = f"that {' and '.join(sorted(addresses))} are one server: both answered to the resource's name"
    return replace(candidate, grade=candidate.grade.at_most(Certainty.POSSIBLE, missing))


def _of_clocks(evidence: Evidence) -> list[str]:
    """How far clocks are apart, for the summary: of all that was recorded, not of a view of it."""
    return evidence.clocks.sentences() if evidence.history.coverage.ended else []


def _told_in_part(found: Iterable[Finding]) -> list[str]:
    wide = sum(len(finding.accesses) > NODES_MAX for finding in found)
    return [f"the edges of {wide} findings: each has more than {NODES_MAX} accesses"] if wide else []


def _told_more(more: int) -> list[str]:
    return [f"{more} more conflicts of the latent issues that are shown were kept apart by luck, too"] if more else []


def _anchors(candidates: Iterable[Candidate]) -> list[Access]:
    """The accesses that name these candidates; what is named by a version is told by who saw it."""
    told = (candidate for candidate in candidates if not candidate.grade.waiting)
    return [access for candidate in told for access in candidate.anchors or (candidate.roles[-1][0],)]


def _with_rings(resources: frozenset[str] | None, edges: Sequence[Dependency]) -> frozenset[str] | None:
    """Some resources, and those that lie on cycles with them: what is said there may explain a cycle, or be one."""
    if resources is None:
        return None
    return resources.union(*(ring for ring in rings(edges) if not ring.isdisjoint(resources)))


def _of_kinds(evidence: Evidence, resources: frozenset[str] | None, *, filtered: bool) -> list[Candidate]:
    """What detectors propose of some resources, and of those where what covers that may stand, or what it covers.

    In the order in which they would propose it of all: of two that are alike precedence keeps the first.
    """
    every = evidence.history.resources.keys()
    states = {name: _of_state(name, evidence, filtered=filtered) for name in sorted(every) if _is_in(name, resources)}
    told = [candidate for of_history in OF_HISTORY for candidate in of_history(evidence)]
    if resources is not None:
        proposed = chain(*states.values(), (c for c in told if _speaks_of(c, resources)))
        beside = _connected(proposed, evidence) - resources
        states |= {name: _of_state(name, evidence, filtered=filtered) for name in beside & every}
        told = [candidate for candidate in told if _speaks_of(candidate, resources | beside)]
    return [*chain.from_iterable(states[name] for name in sorted(states)), *told]


def _is_in(name: str, resources: frozenset[str] | None) -> bool:
    return resources is None or name in resources


def _of_state(name: str, evidence: Evidence, *, filtered: bool) -> list[Candidate]:
    if filtered and is_quiet(name, evidence.history.resources[name]):
        return []
    state = evidence.state(name)
    return [candidate for of_state in OF_STATE for candidate in of_state(state, evidence)]


def _connected(candidates: Iterable[Candidate], evidence: Evidence) -> set[str]:
    """Resources that the anchors and consequences of candidates touch: precedence settles these together."""
    found: set[str] = set()
    for candidate in candidates:
        for name in (*(anchor.name for anchor in candidate.anchors), *candidate.consequences):
            access = evidence.history.by_name.get(name)
            found.update(touched(access) if access is not None else ())
    return found


def _speaks_of(candidate: Candidate, resources: frozenset[str]) -> bool:
    """Whether it is about some resources, or accuses an access to them."""
    return candidate.resource in resources or any(access.resource in resources for access, _ in candidate.roles)
