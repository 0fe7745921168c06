"""A history like the demo's bank and the findings on it, written into a store the way collector and analyzer do."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from noclobber.contract import FRONTIER_END, Certainty, Kind, Severity
from noclobber_analyzer.finding import AccessRef, Advice, Affected, AffectedAccess, Edge, Finding

ACCOUNT = "redis://bank:6379/0/acct:42"
SECOND = 1_000_000_000
MS = 1_000_000
PRINTS = {"100": "9c41f0b2a7", "150": "3be07d51c8", "80": "e52a9946f1"}


class Writable(Protocol):
    """The store, as far as samples need it."""

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None: ...


@dataclass(frozen=True)
class Span:
    """One access to store; times are milliseconds after the sample's start."""

    agent: str
    op: str
    start_ms: float
    took_ms: float
    seq: int
    resource: str = ACCOUNT
    role: str = ""
    extra: tuple[tuple[str, object], ...] = ()


def bank(start_ns: int | None = None) -> tuple[Finding, list[dict[str, object]]]:
    """The lost deposit: both read 100, one writes 150, the other 80. The finding and its accesses."""
    start = time.time_ns() - 30 * SECOND if start_ns is None else start_ns
    spans = _bank_spans()
    rows = [_row(span, start, number) for number, span in enumerate(spans)]
    return _bank_finding(spans, rows), rows


def _bank_spans() -> list[Span]:
    def seen(version: str) -> tuple[tuple[str, object], ...]:
        return (("version_kind", "fingerprint"), ("version_read", PRINTS[version]), ("size", len(version)))

    def wrote(version: str, base_seq: int, agent: str) -> tuple[tuple[str, object], ...]:
        return (
            ("version_kind", "fingerprint"), ("version_written", PRINTS[version]), ("version_base", PRINTS["100"]),
            ("version_base_source", "recalled"), ("version_base_strand", f"{agent}-1"), ("version_base_seq", base_seq),
            ("code_function_name", "book"), ("code_file_path", f"bank/{agent.partition('-')[0]}.py"),
            ("code_line_number", 31), ("size", len(version)), ("guard", "none"),
        )  # fmt: skip

    model = (("message_id", ""),)
    return [
        Span("deposit-agent", "read", 0, 0.41, 1, extra=seen("100"), role="reader"),
        Span("withdraw-agent", "read", 212, 0.38, 1, extra=seen("100"), role="stale_read"),
        Span("deposit-agent", "model", 3, 1640, 2, "model://fake/thinker", extra=model),
        Span("withdraw-agent", "model", 214, 2720, 2, "model://fake/thinker", extra=model),
        Span("deposit-agent", "write", 1645, 0.52, 3, extra=wrote("150", 1, "deposit-agent"), role="victim"),
        Span("withdraw-agent", "write", 2937, 0.47, 3, role="overwriter",
             extra=(*wrote("80", 1, "withdraw-agent"), ("version_overwritten", PRINTS["150"]))),
        Span("auditor", "read", 4100, 0.33, 1, extra=seen("80")),
    ]  # fmt: skip


def _bank_finding(spans: list[Span], rows: list[dict[str, object]]) -> Finding:
    refs = [_ref(span, row) for span, row in zip(spans, rows, strict=True) if span.role]
    by_role = {ref.role: ref for ref in refs}
    stale, victim, overwriter = by_role["stale_read"], by_role["victim"], by_role["overwriter"]
    auditor = rows[-1]
    return Finding(
        id="5f2c9a41d07be836c1a4f0925d7e3b68",
        issue="0b7d4c61e9a2f583d4c7b1a6905e2f38",
        kind=Kind.LOST_UPDATE,
        also=(Kind.STALE_WRITE,),
        certainty=Certainty.CERTAIN,
        severity=Severity.CRITICAL,
        resource=ACCOUNT,
        agents=("deposit-agent", "withdraw-agent"),
        first_ns=min(ref.start_ns for ref in refs),
        last_ns=max(ref.end_ns for ref in refs),
        accesses=tuple(refs),
        edges=(
            Edge(stale.span_id, overwriter.span_id, "base", "computed from what this read returned"),
            Edge(victim.span_id, overwriter.span_id, "unordered", "no message, lock, spawn or join orders them"),
        ),
        explanation=(
            "withdraw-agent replaced the write of deposit-agent to acct:42 without ever having seen it: it computed "
            "its value from a version that it had read 2.73 s earlier. What deposit-agent wrote is lost."
        ),
        advice=Advice(
            "Let Redis do the arithmetic in one step, or make the write conditional on what was read.",
            "r.incrby('acct:42', -20)          # atomic\n\n# or, if the new value needs thought:\n"
            "with r.pipeline() as p:\n    p.watch('acct:42')           # EXEC fails if it changed\n"
            "    balance = int(p.get('acct:42'))\n    p.multi()\n"
            "    p.set('acct:42', decide(balance))\n    p.execute()",
        ),
        affected=Affected(
            accesses=(AffectedAccess(str(auditor["trace_id"]), str(auditor["span_id"]), ACCOUNT, "auditor", "auditor-1",
                                     "read", "strong"),),
            agents=("auditor",),
        ),
    )  # fmt: skip


def _ref(span: Span, row: dict[str, object]) -> AccessRef:
    def said(name: str) -> str | None:
        return str(row[name]) if row.get(name) else None

    code = f"{row['code_function_name']} ({row['code_file_path']}:31)" if row.get("code_function_name") else None
    start_ns, end_ns = row["start_ns"], row["end_ns"]
    assert isinstance(start_ns, int)
    assert isinstance(end_ns, int)
    return AccessRef(
        trace_id=str(row["trace_id"]), span_id=str(row["span_id"]), resource=span.resource, agent=span.agent,
        strand=str(row["strand"]), op=span.op, role=span.role, version_read=said("version_read"),
        version_base=said("version_base"), version_written=said("version_written"), start_ns=start_ns, end_ns=end_ns,
        code=code,
    )  # fmt: skip


def _row(span: Span, start_ns: int, number: int) -> dict[str, object]:
    began = start_ns + int(span.start_ms * MS)
    return {
        "trace_id": f"{0xABC000 + number:032x}",
        "span_id": f"{0xDEF000 + number:016x}",
        "start_ns": began,
        "end_ns": began + int(span.took_ms * MS),
        "process": f"p-{span.agent}",
        "clock": "clock-1",
        "host": "laptop",
        "service": span.agent,
        "pid": 4000 + len(span.agent),
        "key_id": "k1",
        "contract": "1",
        "op": span.op,
        "resource": span.resource,
        "system": "redis" if span.resource.startswith("redis") else "fake",
        "outcome": "ok",
        "agent": span.agent,
        "strand": f"{span.agent}-1",
        "run": f"run-{span.agent}",
        "seq": span.seq,
        **dict(span.extra),
    }


def crowd(start_ns: int, lanes: int = 8, events: int = 120) -> list[dict[str, object]]:
    """Many agents busy on one key around a race: enough for the layout by time."""
    rows = []
    for number in range(events):
        agent = f"agent-{number % lanes:02d}"
        op = ("read", "write", "read", "model")[number % 4]
        version = f"f{number // 3:09x}"
        extra: tuple[tuple[str, object], ...] = (("version_kind", "fingerprint"), ("version_read", version))
        if op == "write":
            extra = (("version_kind", "fingerprint"), ("version_written", version))
        span = Span(agent, op, 37 * number + (900 if number > events // 2 else 0), 22, number // lanes + 1, extra=extra)
        rows.append(_row(span, start_ns, 500 + number))
    return rows


def mark(
    process: str, agent: str, start_ns: int, *, frontier_ns: int = FRONTIER_END, accesses: int = 3
) -> dict[str, object]:
    """What a process sends to say how far it is complete."""
    return {
        "trace_id": f"{hash(process) & 0xFFFFFFFF:032x}", "span_id": f"{hash(process) & 0xFFFF:016x}",
        "start_ns": start_ns, "end_ns": start_ns, "process": process, "clock": "clock-1", "host": "laptop",
        "service": agent, "pid": 4000 + len(agent), "key_id": "k1", "contract": "1", "op": "mark",
        "system": "noclobber",
        "resource": f"process://{process}", "outcome": "ok", "frontier_ns": frontier_ns, "accesses": accesses,
        "dropped": 0,
    }  # fmt: skip


def insert_accesses(store: Writable, rows: Sequence[dict[str, object]]) -> None:
    """Write accesses; ids become bytes, minute and hash of the resource are filled in."""
    names = sorted({name for row in rows for name in row} | {"minute"})
    defaults: dict[str, object] = {"version_base_seq": 0, "code_line_number": 0, "size": 0, "seq": 0, "frontier_ns": 0,
                                   "accesses": 0, "dropped": 0, "version_weak": 0, "partial": 0}  # fmt: skip
    full = []
    for row in rows:
        start_ns = row["start_ns"]
        assert isinstance(start_ns, int)
        values = {**row, "minute": start_ns // 60_000_000_000}
        values["trace_id"] = bytes.fromhex(str(row["trace_id"]))
        values["span_id"] = bytes.fromhex(str(row["span_id"]))
        full.append([values.get(name, defaults.get(name, "")) for name in names])
    store.insert("accesses", names, full)


def insert_finding(store: Writable, finding: Finding, found_ns: int | None = None) -> None:
    """Write one revision of a finding."""
    columns = ("id", "revision", "issue", "kind", "certainty", "severity", "manifest", "status", "resource", "agents",
               "first_ns", "last_ns", "found_ns", "body")  # fmt: skip
    row = (
        finding.id, finding.revision, finding.issue, str(finding.kind), str(finding.certainty), str(finding.severity),
        int(finding.manifest), finding.status, finding.resource, list(finding.agents), finding.first_ns,
        finding.last_ns, finding.last_ns + 640 * MS if found_ns is None else found_ns, finding.to_json(),
    )  # fmt: skip
    store.insert("findings", columns, [row])


def more_findings(like: Finding, count: int) -> list[Finding]:
    """Further findings of several kinds and severities over the last hours, for lists and charts."""
    kinds = (Kind.LOST_UPDATE, Kind.FORK, Kind.DIRTY_READ, Kind.DOUBLE_CLAIM, Kind.BLIND_OVERWRITE)
    resources = (
        "redis://bank:6379/0/acct:7", "langgraph://checkpoints/thread-12", "sqlite://shop.db/articles/id=9",
        "postgresql://db:5432/app/jobs/id=5531", "redis://bank:6379/0/profile:ada",
    )  # fmt: skip
    agents = (("billing", "refunds"), ("planner", "critic"), ("writer", "reader"), ("worker-1", "worker-2"), ("sync",))
    made = []
    for number in range(count):
        turn = number % 5
        earlier = (number * number + 3) * 400 * SECOND
        made.append(
            replace_finding(
                like, id=f"{number + 1:032x}", issue=f"{turn + 1:032x}", kind=kinds[turn], resource=resources[turn],
                agents=agents[turn], severity=list(Severity)[(number // 2 + turn) % 4],
                certainty=list(Certainty)[number % 3], first_ns=like.first_ns - earlier,
                last_ns=like.last_ns - earlier,
            )
        )  # fmt: skip
    return made


def replace_finding(finding: Finding, **changes: Any) -> Finding:
    """A copy with other fields."""
    import msgspec

    return msgspec.structs.replace(finding, **changes)


def fill(store: Writable, *, start_ns: int | None = None) -> Finding:
    """The bank's race with its surroundings, and a dozen findings more; returns the bank's."""
    finding, rows = bank(start_ns)
    agents = ("deposit-agent", "withdraw-agent", "auditor")
    marks = [
        mark(f"p-{agent}", agent, finding.last_ns + SECOND, accesses=3 if agent != "auditor" else 1) for agent in agents
    ]
    insert_accesses(store, [*rows, *marks])
    insert_finding(store, finding)
    for other in more_findings(finding, 14):
        insert_finding(store, other)
    return finding


__all__ = [
    "ACCOUNT",
    "bank",
    "crowd",
    "fill",
    "insert_accesses",
    "insert_finding",
    "json",
    "mark",
    "more_findings",
    "replace",
]
