"""A history like the demo's bank and the findings on it, written into a store the way collector and analyzer do."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hostile import HOSTILE

from noclobber.contract import FRONTIER_END, Certainty, Kind, Severity
from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.routes import route_from
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.finding import AccessRef, Advice, Affected, AffectedAccess, Edge, Finding, finding_id
from noclobber_analyzer.issue_log import IssueKeeper
from noclobber_analyzer.tables import Delivery, append_deliveries, append_findings, read_transitions

DEFENDED_COLUMNS = ("trace_id", "span_id", "reason", "resource", "agent", "start_ns", "at_ns")
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


def race(
    number: int, resource: str, agents: tuple[str, str], start_ns: int, **changes: Any
) -> tuple[Finding, list[dict[str, object]]]:
    """The same race on another resource between other agents: a finding of its own, with its own accesses."""
    renamed = {"deposit-agent": agents[0], "withdraw-agent": agents[1], "auditor": "auditor"}
    _, rows = bank(start_ns)
    spans = [
        replace(span, agent=renamed[span.agent], resource=resource if span.resource == ACCOUNT else span.resource)
        for span in _bank_spans()
    ]
    for place, (span, row) in enumerate(zip(spans, rows, strict=True)):
        row |= {
            "trace_id": f"{(number + 1) << 32 | place:032x}", "span_id": f"{(number + 1) << 32 | place:016x}",
            "agent": span.agent, "strand": f"{span.agent}-{number}", "process": f"p-{span.agent}",
            "service": span.agent, "resource": span.resource,
        }  # fmt: skip
        if "version_base_strand" in row:
            row["version_base_strand"] = row["strand"]
    named = {
        "id": f"{number + 1:032x}", "resource": resource, "agents": agents,
        "issue": finding_id(Kind.LOST_UPDATE, resource, agents),
        "explanation": f"{agents[1]} wrote {resource} from a state that {agents[0]} had replaced meanwhile.",
    }  # fmt: skip
    return replace_finding(_bank_finding(spans, rows), **named | changes), rows


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
            "its value from a version that it had read 2.72 s earlier. What deposit-agent wrote is lost."
        ),
        advice=Advice(
            "Let Redis do the arithmetic in one step, or make the write conditional on what was read.",
            "r.incrby('acct:42', -20)          # atomic\n\n# or, if the new value needs thought:\n"
            "with r.pipeline() as p:\n    p.watch('acct:42')           # EXEC fails if it changed\n"
            "    balance = int(p.get('acct:42'))\n    p.multi()\n"
            "    p.set('acct:42', decide(balance))\n    p.execute()",
        ),
        affected=Affected(
            accesses=(
                AffectedAccess(str(auditor["trace_id"]), str(auditor["span_id"]), ACCOUNT, "auditor", "auditor-1",
                               "read", "strong", after=overwriter.span_id, how="read"),
                AffectedAccess(str(auditor["trace_id"]), "e" * 16, "effect://mail/report", "auditor", "auditor-1",
                               "effect", "weak", after=str(auditor["span_id"]), how="unit"),
            ),
            agents=("auditor",),
            first_effect="e" * 16,
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
    names = sorted({name for row in rows for name in row} | {"minute", "segment"})
    defaults: dict[str, object] = {"version_base_seq": 0, "code_line_number": 0, "size": 0, "seq": 0, "frontier_ns": 0,
                                   "accesses": 0, "dropped": 0, "version_weak": 0, "partial": 0}  # fmt: skip
    full = []
    for row in rows:
        start_ns = row["start_ns"]
        assert isinstance(start_ns, int)
        # the day of arrival, by which rows expire, stands in the segment's number
        values = {**row, "minute": start_ns // 60_000_000_000, "segment": start_ns // 1_000_000 << 16}
        values["trace_id"] = bytes.fromhex(str(row["trace_id"]))
        values["span_id"] = bytes.fromhex(str(row["span_id"]))
        full.append([values.get(name, defaults.get(name, "")) for name in names])
    store.insert("accesses", names, full)


def more_findings(like: Finding, count: int) -> list[tuple[Finding, list[dict[str, object]]]]:
    """Further findings of several kinds and severities over the last hours, each with its accesses."""
    kinds = (Kind.LOST_UPDATE, Kind.FORK, Kind.DIRTY_READ, Kind.DOUBLE_CLAIM, Kind.BLIND_OVERWRITE)
    resources = (
        "redis://bank:6379/0/acct:7", "langgraph://checkpoints/thread-12", "sqlite://shop.db/articles/id=9",
        "postgresql://db:5432/app/jobs/id=5531", "redis://bank:6379/0/profile:ada",
    )  # fmt: skip
    agents = (("billing", "refunds"), ("planner", "critic"), ("writer", "reader"), ("worker-1", "worker-2"),
              ("crm", "sync"))  # fmt: skip
    made = []
    for number in range(count):
        turn = number % 5
        start_ns = like.first_ns - (number * number + 3) * 400 * SECOND
        certainty = list(Certainty)[(number + turn) % 3]
        made.append(
            race(
                number, resources[turn], agents[turn], start_ns, issue=f"{turn + 1:032x}", kind=kinds[turn],
                severity=list(Severity)[(number // 2 + turn) % 4], certainty=certainty,
                missing=() if certainty is Certainty.CERTAIN else ("which version the store really replaced",),
            )
        )  # fmt: skip
    return made


LATENT = (
    ("redis://bank:6379/0/acct:7", Kind.LOST_UPDATE, 80),
    ("redis://bank:6379/0/profile:ada", Kind.LOST_UPDATE, 9_000),
    ("sqlite://shop.db/articles/id=9", Kind.CHECK_THEN_ACT, 400),
)
"""Resource, kind and margin (ms) of what luck kept apart; each in a window of 3 s."""


def latent_findings(like: Finding, *, hostile: bool = False) -> list[Finding]:
    """What nearly happened, and one such finding that was taken back."""
    named = [
        *LATENT,
        *((f"redis://cache:6379/0/{HOSTILE[n]}", Kind.LOST_UPDATE, 50_000 + n) for n in range(3 * hostile)),
    ]
    made = [
        replace_finding(
            like, id=f"{0xA000 + number:032x}", issue=f"{0xA000 + number:032x}", kind=kind, also=(), resource=resource,
            manifest=False, margin_ns=margin_ms * MS, certainty=Certainty.LIKELY, severity=Severity.MEDIUM,
            affected=Affected(), explanation="`deposit-agent` and `withdraw-agent` both read and rewrite it.",
        )
        for number, (resource, kind, margin_ms) in enumerate(named)
    ]  # fmt: skip
    return [*made, replace_finding(made[0], id=f"{0xAFFF:032x}", margin_ns=1, status="retracted", revision=2)]


def cascade(like: Finding) -> Finding:
    """A later finding on what came of the bank's: the auditor's read is part of it."""
    reached = like.affected.accesses[0]
    stale = AccessRef(
        reached.trace_id, reached.span_id, reached.resource, reached.agent, reached.strand, reached.op, "stale_read",
        PRINTS["80"], None, None, like.last_ns + SECOND, like.last_ns + SECOND, None,
    )  # fmt: skip
    return replace_finding(
        like, id=f"{0xCA5CADE:032x}", issue=f"{0xCA5CADE:032x}", kind=Kind.STALE_WRITE, also=(), accesses=(stale,),
        edges=(), agents=("auditor",), affected=Affected(), severity=Severity.LOW, certainty=Certainty.LIKELY,
        first_ns=like.last_ns + SECOND, last_ns=like.last_ns + 2 * SECOND,
    )  # fmt: skip


def hostile_findings(start_ns: int, names: Sequence[str] = HOSTILE) -> list[tuple[Finding, list[dict[str, object]]]]:
    """One race for each name of the attacker's corpus, as resource and as agents."""
    return [
        race(1_000 + number, f"redis://cache:6379/0/{name}", (name, f"x{name}"), start_ns - number * SECOND)
        for number, name in enumerate(names)
    ]


def defend(store: Any, finding: Finding) -> None:
    """What guards held: one access is written twice, another has a later word, a third is taken back."""
    reasons = ["rejected"] * 12 + ["lock"] * 3 + ["atomic"] * 40 + ["equal_value"]
    rows = [
        (f"{0xD0000 + n:032x}", f"{0xD0000 + n:016x}", reason,
         finding.resource if n % 2 else "redis://bank:6379/0/acct:7", "billing", finding.first_ns + n, finding.last_ns)
        for n, reason in enumerate(reasons)
    ]  # fmt: skip
    store.insert("defended", DEFENDED_COLUMNS, rows)
    again = (*rows[-1][:2], "no_effect", *rows[-1][3:6], finding.last_ns + SECOND)
    accused = (f"{0xDFFFF:032x}", f"{0xDFFFF:016x}")
    taken_back = [(*accused, reason, *rows[0][3:6], finding.last_ns + n) for n, reason in enumerate(("lock", ""))]
    store.insert("defended", DEFENDED_COLUMNS, [rows[0], again, *taken_back])


def replace_finding(finding: Finding, **changes: Any) -> Finding:
    """A copy with other fields."""
    import msgspec

    return msgspec.structs.replace(finding, **changes)


def fill(store: Any, *, start_ns: int | None = None, hostile: bool = False, names: Sequence[str] = HOSTILE) -> Finding:
    """The bank's race, a dozen findings more, what guards held, issues and their log; returns the bank's."""
    finding, rows = bank(start_ns)
    agents = ("deposit-agent", "withdraw-agent", "auditor")
    marks = [
        mark(f"p-{agent}", agent, finding.last_ns + SECOND, accesses=3 if agent != "auditor" else 15)
        for agent in agents
    ]
    others = more_findings(finding, 14) + (hostile_findings(finding.first_ns, names) if hostile else [])
    insert_accesses(store, [*rows, *marks, *(row for _, more in others for row in more)])
    append_findings(store, [(each, each.last_ns + 640 * MS) for each in (finding, *(other for other, _ in others))])
    append_findings(store, [(each, each.last_ns) for each in latent_findings(finding, hostile=hostile)])
    defend(store, finding)
    IssueKeeper(store, SYSTEM).turn()
    deliver(store, finding)
    route(store, hostile=hostile)
    return finding


def deliver(store: Any, finding: Finding) -> None:
    """Two attempts to tell somebody of the first issue: one in vain, one that arrived."""
    row = next(row for row in read_transitions(store) if row.issue == finding.issue)
    attempts = [(1, "begun", 0, ""), (1, "done", 503, "later"), (2, "begun", 0, ""), (2, "done", 200, "ok")]
    append_deliveries(
        store,
        [
            Delivery(
                "msg_1", row.id, "https://hooks.example/ops", attempt, phase, row.at_ns + attempt * SECOND,
                status=status, final=status == 200, ok=status == 200, elapsed_ms=41.5, answer=answer,
            )
            for attempt, phase, status, answer in attempts
        ],
    )  # fmt: skip


def route(store: Any, *, hostile: bool = False) -> None:
    """A route that was in use, and a message to it that was given up."""
    table = {"name": HOSTILE[0] if hostile else "ops", "format": "slack", "url": "https://hooks.example/t0ken",
             "agents": list(HOSTILE) if hostile else ["deposit*"]}  # fmt: skip
    made = route_from(table)
    Outbox(store, [made], SYSTEM).open()
    row = next(row for row in read_transitions(store) if row.kind == "issue.opened")
    answer = HOSTILE[1] if hostile else "no such hook"
    last = Delivery("msg_dead", row.id, made.name, 10, "done", row.at_ns + SECOND, 404, final=True, ok=False,
                    elapsed_ms=3.0, answer=answer)  # fmt: skip
    append_deliveries(store, [last])


__all__ = [
    "ACCOUNT",
    "bank",
    "crowd",
    "fill",
    "hostile_findings",
    "insert_accesses",
    "json",
    "latent_findings",
    "mark",
    "more_findings",
    "replace",
]
