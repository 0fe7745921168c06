"""The store as the analyzer sees it, and how the rows of four tables become values.

Any `noclobber_collector.store.Store` fits the protocol. Findings, defended accesses, transitions and deliveries are
append-only: a row is never changed, the newest of a finding or of a defended access counts, and what was written twice
is read once. Only bound parameters reach SQL.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from noclobber.contract import Certainty, Defence, Severity
from noclobber_analyzer.evaluate import Defended
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.issues import Head, Transition

__all__ = [
    "TRANSITION",
    "Delivery",
    "Store",
    "append_defended",
    "append_deliveries",
    "append_findings",
    "append_transitions",
    "findings_of",
    "head_of",
    "open_findings",
    "open_latent",
    "read_defended",
    "read_deliveries",
    "read_heads",
    "read_standings_before",
    "read_transitions",
    "read_transitions_of",
]


class Store(Protocol):
    """What is asked of the store (`noclobber_collector.store`); thread safe."""

    def rows(self, sql: str, parameters: Mapping[str, object] = ...) -> list[tuple[Any, ...]]:
        """The result's rows."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add rows; one call is one atomic step."""
        ...


FINDING = (
    "id", "revision", "issue", "kind", "certainty", "severity", "manifest", "status", "resource", "agents",
    "first_ns", "last_ns", "found_ns",
)  # fmt: skip
TRANSITION = ("id", "issue", "at_ns", "kind", "state", "finding", "actor", "reason", "body")
DEFENDED = ("trace_id", "span_id", "reason", "resource", "agent", "start_ns", "at_ns")
DELIVERY = (
    "id", "transition", "endpoint", "attempt", "phase", "at_ns", "status", "final", "ok", "elapsed_ms", "answer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of the log of deliveries.

    Attributes:
        id: the message's; transition, endpoint: what and whom it tells.
        attempt: from 1. phase: `begun`, written before the attempt, or `done`, after it.
        at_ns: when. status: HTTP's, 0 without an answer, -1 blocked.
        final: whether nothing more will be tried. ok: whether it arrived.
        elapsed_ms: of the attempt. answer: what came back, up to 1 kB.
    """

    id: str
    transition: str
    endpoint: str
    attempt: int
    phase: str
    at_ns: int
    status: int = 0
    final: bool = False
    ok: bool = False
    elapsed_ms: float = 0.0
    answer: str = ""


def head_of(finding: Finding, found_ns: int) -> Head:
    """The typed head of a finding that was first written at `found_ns`."""
    return Head(
        finding.id, finding.revision, finding.issue, finding.kind, finding.certainty, finding.severity,
        finding.manifest, finding.status, finding.resource, tuple(finding.agents), finding.first_ns, finding.last_ns,
        found_ns,
    )  # fmt: skip


def append_findings(store: Store, findings: Iterable[tuple[Finding, int]]) -> None:
    """Write findings with the time at which each was first found; one insert, so all or none."""
    rows = [(*_cells(head_of(finding, found_ns)), finding.to_json()) for finding, found_ns in findings]
    if rows:
        store.insert("findings", (*FINDING, "body"), rows)


def _cells(head: Head) -> tuple[object, ...]:
    cells = dict(zip(FINDING, astuple(head), strict=True))
    plain = {"certainty": str(head.certainty), "severity": str(head.severity), "agents": list(head.agents)}
    return tuple({**cells, **plain, "manifest": int(head.manifest), "kind": str(head.kind)}.values())


def read_heads(store: Store, ids: Sequence[str] | None = None) -> list[Head]:
    """The newest revision of each finding, or of those named."""
    where = "" if ids is None else "WHERE id IN {ids:Array(String)} "
    sql = f"SELECT {', '.join(FINDING)} FROM findings {where}ORDER BY id, revision DESC LIMIT 1 BY id"  # noqa: S608  constants only
    return [_head(row) for row in store.rows(sql, {} if ids is None else {"ids": list(ids)})]


def _head(row: Sequence[Any]) -> Head:
    words = dict(zip(FINDING, row, strict=True))
    return Head(
        **{
            **words,
            "certainty": Certainty(words["certainty"]),
            "severity": Severity(words["severity"]),
            "manifest": bool(words["manifest"]),
            "agents": tuple(words["agents"]),
        }
    )


def findings_of(store: Store, ids: Sequence[str]) -> dict[str, tuple[Finding, int]]:
    """The newest revision of some findings, by id, each with the time at which it was first found."""
    if not ids:
        return {}
    sql = (
        "SELECT id, body, found_ns FROM findings WHERE id IN {ids:Array(String)} "
        "ORDER BY id, revision DESC LIMIT 1 BY id"
    )
    return {str(row[0]): (Finding.from_json(row[1]), int(row[2])) for row in store.rows(sql, {"ids": list(ids)})}


def open_findings(store: Store, since_ns: int) -> dict[str, str]:
    """Ids of manifest findings that hold and were first found at a time or later, with their resources."""
    return _open(store, since_ns, manifest=1)


def open_latent(store: Store, since_ns: int) -> dict[str, str]:
    """The same of latent ones."""
    return _open(store, since_ns, manifest=0)


def _open(store: Store, since_ns: int, *, manifest: int) -> dict[str, str]:
    sql = (
        "SELECT id, argMax(resource, revision) FROM findings WHERE found_ns >= {since:UInt64} GROUP BY id "
        "HAVING argMax(status, revision) = 'open' AND argMax(manifest, revision) = {manifest:UInt8}"
    )
    named = {"since": max(0, since_ns), "manifest": manifest}
    return {str(name): str(resource) for name, resource in store.rows(sql, named)}


def append_defended(store: Store, defended: Sequence[Defended], taken_back: Sequence[Defended], now_ns: int) -> None:
    """Write accesses that were defended, and those that no longer count as such; one insert."""
    rows = [
        (each.trace_id, each.span_id, reason, each.resource, each.agent, each.start_ns, now_ns)
        for each, reason in (*((d, str(d.reason)) for d in defended), *((d, "") for d in taken_back))
    ]
    if rows:
        store.insert("defended", DEFENDED, rows)


def defended_until(store: Store) -> int:
    """When the last row on defended accesses was written; 0: there is none."""
    return int(store.rows("SELECT max(at_ns) FROM defended")[0][0])


def read_defended(store: Store, since_ns: int) -> list[Defended]:
    """Accesses that count as defended, of those written at a time or later."""
    sql = (
        "SELECT trace_id, span_id, argMax(reason, at_ns) AS newest, any(resource), any(agent), any(start_ns) "
        "FROM defended WHERE at_ns >= {since:UInt64} GROUP BY trace_id, span_id HAVING newest != ''"
    )
    rows = store.rows(sql, {"since": max(0, since_ns)})
    return [Defended(str(t), str(s), Defence(why), str(r), str(a), int(at)) for t, s, why, r, a, at in rows]


def append_transitions(store: Store, transitions: Sequence[Transition]) -> None:
    """Write rows of the log; one insert."""
    if transitions:
        store.insert("transitions", TRANSITION, [astuple(row) for row in transitions])


def read_transitions(
    store: Store, since_ns: int = 0, issues: Sequence[str] | None = None, but: Sequence[str] = ()
) -> list[Transition]:
    """Rows of the log, each id once, in order.

    Args:
        store: holds the log.
        since_ns: only rows from this time on.
        issues: only rows of these issues (or endpoints, for rows about routes); None: all.
        but: ids of rows that are known already.
    """
    of = "" if issues is None else "AND issue IN {issues:Array(String)} "
    of += "AND id NOT IN {but:Array(String)} " if but else ""
    sql = (
        f"SELECT {', '.join(TRANSITION)} FROM transitions WHERE at_ns >= {{since:UInt64}} {of}"  # noqa: S608  constants only
        "ORDER BY at_ns, id LIMIT 1 BY id"
    )
    named = {**({} if issues is None else {"issues": list(issues)}), **({"but": list(but)} if but else {})}
    return [Transition(*row) for row in store.rows(sql, {"since": max(0, since_ns), **named})]


def read_transitions_of(store: Store, kinds: Sequence[str]) -> list[Transition]:
    """All rows of some kinds, each id once, in order."""
    sql = (
        f"SELECT {', '.join(TRANSITION)} FROM transitions WHERE kind IN {{kinds:Array(String)}} "  # noqa: S608  constants only
        "ORDER BY at_ns, id LIMIT 1 BY id"
    )
    return [Transition(*row) for row in store.rows(sql, {"kinds": list(kinds)})]


def read_standings_before(store: Store, before_ns: int) -> list[Transition]:
    """Of each issue the last telling and the last word before a time, in order."""
    sql = (
        f"SELECT {', '.join(TRANSITION)} FROM transitions WHERE at_ns < {{before:UInt64}} "  # noqa: S608  constants only
        "AND (startsWith(toString(kind), 'issue.') OR startsWith(toString(kind), 'state.')) "
        "ORDER BY at_ns DESC, id DESC LIMIT 1 BY issue, startsWith(toString(kind), 'issue.')"
    )
    return [Transition(*row) for row in reversed(store.rows(sql, {"before": max(0, before_ns)}))]


def append_deliveries(store: Store, deliveries: Sequence[Delivery]) -> None:
    """Write rows of the log of deliveries; one insert."""
    rows = [tuple(int(cell) if isinstance(cell, bool) else cell for cell in astuple(row)) for row in deliveries]
    if rows:
        store.insert("deliveries", DELIVERY, rows)


def read_deliveries(store: Store, since_ns: int = 0) -> list[Delivery]:
    """Rows of the log of deliveries from a time on, in order."""
    sql = (
        f"SELECT {', '.join(DELIVERY)} FROM deliveries WHERE at_ns >= {{since:UInt64}} "  # noqa: S608  constants only
        "ORDER BY at_ns, attempt, phase = 'done' LIMIT 1 BY id, attempt, phase"
    )
    return [_delivery(row) for row in store.rows(sql, {"since": max(0, since_ns)})]


def _delivery(row: Sequence[Any]) -> Delivery:
    words = dict(zip(DELIVERY, row, strict=True))
    return Delivery(**{**words, "final": bool(words["final"]), "ok": bool(words["ok"])})
