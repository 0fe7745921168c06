"""What the analyzer tells: one race, its evidence, and what to do about it.

A finding IS its evidence: the accesses with their roles and the smallest set of edges that shows the anomaly; the
sentence is rendered from it elsewhere (`explain`). `to_json` gives the contract's section 3 exactly, so that the
command line, the API and the store speak of one thing. Ids are taken over the anchors of the kind alone, so they
never change with more data, another order of arrival or another version of the analyzer.

Source: contract 3; identity and grouping after analysis.md 5 and 11. Whether something is a finding is decided by the
detectors, how sure it is by `certainty`.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from noclobber.contract import CONTRACT_VERSION, Certainty, Kind, Severity
from noclobber_analyzer.access import Access

__all__ = [
    "AccessRef",
    "Advice",
    "Affected",
    "AffectedAccess",
    "Edge",
    "Finding",
    "access_ref",
    "agent_role",
    "finding_id",
    "issue_fingerprint",
    "resource_pattern",
    "severity",
]

DAMAGE: Final[dict[Kind, int]] = {
    Kind.DIRTY_READ: 4, Kind.INTERMEDIATE_READ: 3, Kind.DIRTY_WRITE: 4, Kind.DOUBLE_CLAIM: 5,
    Kind.DUPLICATE_DELIVERY: 3, Kind.DUPLICATE_EFFECT: 4, Kind.LOCK_VIOLATION: 4, Kind.DEADLOCK: 4,
    Kind.LOST_UPDATE: 5, Kind.FORK: 4, Kind.STALE_WRITE: 3, Kind.INTERLEAVED_WRITES: 3, Kind.READ_YOUR_WRITES: 2,
    Kind.MONOTONIC_READS: 2, Kind.MONOTONIC_WRITES: 2, Kind.WRITES_FOLLOW_READS: 2, Kind.CAUSAL_VIOLATION: 2,
    Kind.STALE_READ: 3, Kind.CIRCULAR_INFORMATION_FLOW: 3, Kind.NON_REPEATABLE_READ: 2, Kind.PHANTOM_READ: 2,
    Kind.READ_SKEW: 3, Kind.LONG_FORK: 3, Kind.WRITE_SKEW: 4, Kind.CHECK_THEN_ACT: 4, Kind.SERIALIZATION_CYCLE: 3,
    Kind.GARBAGE_READ: 3, Kind.LOST_MESSAGE: 4, Kind.OUT_OF_ORDER: 3, Kind.UNKNOWN_WRITER: 2,
    Kind.BLIND_OVERWRITE: 3, Kind.INVARIANT_VIOLATION: 5,
}  # fmt: skip
"""How bad one occurrence of a kind is, 1 to 5 (analysis.md 5, column damage)."""

_SURE: Final = {Certainty.CERTAIN: 1.0, Certainty.LIKELY: 0.7, Certainty.POSSIBLE: 0.3}
_THRESHOLDS: Final = ((6.0, Severity.CRITICAL), (3.5, Severity.HIGH), (1.5, Severity.MEDIUM))
_SEPARATOR: Final = "\x1f"


class AccessRef(msgspec.Struct, frozen=True, gc=False):
    """One access as a finding shows it; `role` is its part in the story (`victim`, `overwriter`, `stale_read`, ...)."""

    trace_id: str
    span_id: str
    resource: str
    agent: str
    strand: str
    op: str
    role: str
    version_read: str | None
    version_base: str | None
    version_written: str | None
    start_ns: int
    end_ns: int
    code: str | None


class Edge(msgspec.Struct, frozen=True, gc=False, rename={"source": "from", "target": "to"}):
    """One step of the witness: from one access's span id to another's, of one type, and why it is known."""

    source: str
    target: str
    type: str
    why: str


class Advice(msgspec.Struct, frozen=True, gc=False):
    """What to change: a sentence, and code for this store."""

    text: str
    code: str


class AffectedAccess(msgspec.Struct, frozen=True, gc=False):
    """An access that came to know what the finding spoilt; `strength` is `strong` or `weak`.

    Attributes:
        after: span id of the access that it follows from: one of the finding's own, or another that is affected.
        how: it `read` what that made, was computed from it (`base`), came later in its `unit`, got its `message`, or
            was done by the strand that it started (`spawn`).
    """

    trace_id: str
    span_id: str
    resource: str
    agent: str
    strand: str
    op: str
    strength: str
    start_ns: int = 0
    after: str = ""
    how: str = ""


class Affected(msgspec.Struct, frozen=True, gc=False):
    """The blast radius: who later read what came of it, and where the search stopped (None: nothing more to find).

    `first_effect` is the span id of the first effect among them: what left the system because of it; "": none did.
    """

    accesses: tuple[AffectedAccess, ...] = ()
    agents: tuple[str, ...] = ()
    stopped: str | None = None
    first_effect: str = ""


class Finding(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One anomaly with its evidence; the fields are the contract's, section 3."""

    id: str
    issue: str
    kind: Kind
    also: tuple[Kind, ...] = ()
    certainty: Certainty
    severity: Severity
    manifest: bool = True
    margin_ns: int | None = None
    resource: str
    agents: tuple[str, ...]
    first_ns: int
    last_ns: int
    accesses: tuple[AccessRef, ...]
    edges: tuple[Edge, ...] = ()
    explanation: str = ""
    advice: Advice = Advice("", "")
    missing: tuple[str, ...] = ()
    affected: Affected = Affected()
    status: str = "open"
    revision: int = 1
    contract: str = CONTRACT_VERSION

    def to_json(self) -> str:
        """One line of JSON, fields as in the contract and in its order; equal findings give equal text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Finding":
        """The finding that `to_json` wrote.

        Raises:
            msgspec.ValidationError: a field is missing or has another type.
            msgspec.DecodeError: no JSON.
        """
        return msgspec.json.decode(text, type=cls)


def access_ref(access: Access, role: str) -> AccessRef:
    """How a finding shows an access."""
    return AccessRef(
        trace_id=access.trace_id,
        span_id=access.span_id,
        resource=access.resource,
        agent=access.agent,
        strand=access.strand,
        op=str(access.op),
        role=role,
        version_read=access.read,
        version_base=access.base,
        version_written=access.written,
        start_ns=access.start_ns,
        end_ns=access.end_ns,
        code=access.code,
    )


def finding_id(kind: Kind, resource: str, anchors: Iterable[str]) -> str:
    """The name of a finding: 128 bits over kind, resource ("" for kinds across resources) and anchors, sorted.

    An access is named `{trace_id}/{span_id}`, a unit or strand by its id (analysis.md 5).
    """
    return _hash(str(kind), resource, *sorted(anchors))


def issue_fingerprint(kind: Kind, resource: str, actors: Sequence[Access]) -> str:
    """What a person would call one bug: kind, resource pattern, and the actors' roles, code sites and ops, sorted.

    Line numbers and instance numbers are left out, so that a new release or a larger pool is no new bug.
    """
    sites = sorted({_SEPARATOR.join((agent_role(a.agent), _site(a), str(a.op))) for a in actors})
    return _hash(str(kind), resource_pattern(resource), *sites)


def resource_pattern(resource: str) -> str:
    """The resource with its ids replaced by `*`, so that `acct:42` and `acct:7` are one pattern.

    So are the names that a start gives by chance, or a restart would make a new issue of every old one: the process
    that a store in memory is named by, a strand, and a port that a system hands out.

    >>> resource_pattern("redis://cache:6379/0/acct:42")
    'redis://cache:6379/0/acct:*'
    >>> resource_pattern("postgresql://db:5432/bank/accounts/id=7")
    'postgresql://db:5432/bank/accounts/id=*'
    >>> resource_pattern("mem://9f86d081884c7d65/plan/today"), resource_pattern("redis://127.0.0.1:40113/0/plan")
    ('mem://*/plan/today', 'redis://127.0.0.1:*/0/plan')
    """
    scheme, separator, rest = resource.partition("://")
    if not separator:
        return _ID.sub("*", resource)
    authority, slash, path = rest.partition("/")
    authority = _authority(scheme, authority)
    return scheme + separator + authority + slash + "/".join(_segment(i, s) for i, s in enumerate(path.split("/")))


def agent_role(agent: str) -> str:
    """The agent's name without the number of its instance.

    >>> agent_role("worker-12"), agent_role("planner")
    ('worker', 'planner')
    """
    return re.sub(r"(?:[-_#. ]+(?:\d+|[0-9a-f]{8,}(?:-[0-9a-f]{4,})*))+$", "", agent) or agent


def severity(
    kind: Kind,
    certainty: Certainty,
    *,
    manifest: bool = True,
    effect_affected: bool = False,
    ordered_or_allowed: bool = False,
    resource_weight: float = 1.0,
) -> Severity:
    """How bad a finding is: a function of the finding alone, never of counts (analysis.md 11).

    Args:
        kind: sets the damage.
        certainty: certain counts 1, likely 0.7, possible 0.3.
        manifest: a latent finding counts 0.4.
        effect_affected: something that can't be taken back came of it: 1.5.
        ordered_or_allowed: the victim is ordered before the overwriter, or the isolation level allows the anomaly: 0.6.
        resource_weight: 1; money or personal data 1.5; a cache 0.5.
    """
    if kind is Kind.BLIND_OVERWRITE and certainty is Certainty.POSSIBLE:
        return Severity.LOW
    score = DAMAGE[kind] * _SURE[certainty] * resource_weight
    score *= (1.0 if manifest else 0.4) * (1.5 if effect_affected else 1.0) * (0.6 if ordered_or_allowed else 1.0)
    return next((level for least, level in _THRESHOLDS if score >= least), Severity.LOW)


_MADE = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUID
    r"|(?<![0-9A-Za-z])[0-9a-f]{12,}(?![0-9A-Za-z])"  # a hash, or a process
)
_MADE_ID = re.compile(_MADE, re.IGNORECASE)
_ID = re.compile(rf"{_MADE}|(?<![A-Za-z])\d+", re.IGNORECASE)
_HANDED_OUT = 32_768
"""From here on ports are handed out by chance (Linux's default); below people choose them to tell servers apart."""


def _authority(scheme: str, authority: str) -> str:
    """Whose it is, without what is another at each start; numbers of hosts are names."""
    if scheme == "strand":
        return "*"
    host, colon, port = authority.rpartition(":")
    if colon and port.isdigit() and int(port) >= _HANDED_OUT:
        authority = f"{host}:*"
    return _MADE_ID.sub("*", authority)


def _segment(index: int, segment: str) -> str:
    """A database number (`redis://host/0/`) is a place; further in, digits are ids."""
    return segment if index == 0 and segment.isdigit() else _ID.sub("*", segment)


def _site(access: Access) -> str:
    file = (access.code_file or "").replace("\\", "/").rpartition("/")[2]
    return f"{file.removesuffix('.py')}.{access.code_function or ''}"


def _hash(*words: str) -> str:
    return blake2b(_SEPARATOR.join(words).encode(), digest_size=16).hexdigest()
