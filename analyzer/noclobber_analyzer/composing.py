"""The finding that a settled candidate is: its id and issue, how bad it is, sentence, advice, witness and blast radius.

Nothing is decided here about what happened; how bad it is follows from the candidate alone, and from two things that
came of it: an effect, which can't be taken back, and a declared invariant that does not hold since then.

Source: contract 3, analysis.md 5, 11 and 12; detection.md 4 (invariants), 6 and 7.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from noclobber.contract import Kind, Severity
from noclobber_analyzer.advice import advise
from noclobber_analyzer.affected import affected, reaches_outside
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.explain import broken_invariants, consequence, explain
from noclobber_analyzer.finding import Affected, Finding, access_ref, finding_id, issue_fingerprint, severity
from noclobber_analyzer.kinds import permits
from noclobber_analyzer.thinking import ROLE, with_models
from noclobber_analyzer.verdict import Candidate, Name
from noclobber_analyzer.witness import witness

__all__ = ["CONTEXT_ROLES", "broken_by", "compose", "id_of"]

CONTEXT_ROLES: Final = frozenset({"model", "guard", "context"})


def broken_by(candidates: Iterable[Candidate]) -> dict[Name, str]:
    """Writes that made a declared invariant false, each with the invariant."""
    return {
        candidate.anchors[0].name: candidate.words["invariant"]
        for candidate in candidates
        if candidate.kind is Kind.INVARIANT_VIOLATION and not candidate.grade.waiting
    }


def compose(candidate: Candidate, evidence: Evidence, broken: Mapping[Name, str]) -> Finding:
    """The finding that a settled candidate is.

    Args:
        candidate: as precedence left it.
        evidence: that it was found in.
        broken: writes that made a declared invariant false.
    """
    candidate = with_models(candidate, evidence)
    reached = affected(candidate, evidence) if candidate.manifest else Affected()
    invariants = _broken(candidate, reached, broken)
    told = [access for access, _ in candidate.roles]
    actors = [access for access, role in candidate.roles if role not in CONTEXT_ROLES]
    anchor = candidate.anchors[0] if candidate.anchors else actors[-1]
    return Finding(
        id=id_of(candidate),
        issue=issue_fingerprint(candidate.kind, candidate.resource, candidate.racing),
        kind=candidate.kind,
        also=candidate.also,
        certainty=candidate.grade.certainty,
        severity=_severity(candidate, reached, worse=bool(invariants)),
        manifest=candidate.manifest,
        margin_ns=candidate.margin_ns,
        resource=candidate.resource,
        agents=tuple(sorted({access.agent for access in actors})),
        first_ns=min(access.start_ns for access in told),
        last_ns=max(access.end_ns for access in told),
        accesses=tuple(access_ref(access, role) for access, role in candidate.roles),
        edges=witness(candidate),
        explanation=explain(candidate) + consequence(reached) + broken_invariants(invariants),
        advice=advise(candidate.kind, anchor.system, candidate.resource, thought=bool(candidate.all(ROLE))),
        missing=tuple(dict.fromkeys(candidate.grade.missing)),
        affected=reached,
    )


def id_of(candidate: Candidate) -> str:
    """The id of the finding that a candidate is."""
    return finding_id(candidate.kind, "" if candidate.crosses else candidate.resource, candidate.anchor_names)


def _severity(candidate: Candidate, reached: Affected, *, worse: bool) -> Severity:
    anchor = candidate.anchors[0] if candidate.anchors else candidate.roles[-1][0]
    allowed = anchor.txn_id is not None and permits(anchor.isolation, candidate.kind)
    level = severity(
        candidate.kind,
        candidate.grade.certainty,
        manifest=candidate.manifest,
        effect_affected=reaches_outside(reached),
        ordered_or_allowed=candidate.ordered or allowed,
    )
    return next((above for above in Severity if above.rank == level.rank + 1), level) if worse else level


def _broken(candidate: Candidate, reached: Affected, broken: Mapping[Name, str]) -> list[str]:
    """Invariants that do not hold since an access of the candidate, or since one that rests on what came of it."""
    if not broken or candidate.kind is Kind.INVARIANT_VIOLATION or not candidate.manifest:
        return []
    names = candidate.core | {(access.trace_id, access.span_id) for access in reached.accesses}
    return sorted({broken[name] for name in names & broken.keys()})
