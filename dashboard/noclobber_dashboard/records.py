"""What the store's rows and a finding's JSON are, once decoded.

Rows become frozen records here and nowhere else, so that pages and routes never touch a dictionary of unknown
shape. The finding's body is read tolerantly: a field that a newer or older analyzer leaves out is empty, a field
it adds stays in `raw`, which is what the API hands on, byte for byte as meaning goes.

Source: the contract, section 3 (finding); storage.md section 8 (columns).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

__all__ = [
    "OUTCOMES",
    "AccessRecord", "AffectedRecord", "AgentHead", "ClockRecord", "CoverageRecord", "DefendedCount", "DeliveryRecord",
    "FindingBody", "FindingHead", "IssueHead", "Occurrences", "ProcessRecord", "ResourceCount", "ResourceHead",
    "WitnessAccess", "WitnessEdge",
]  # fmt: skip


class _Row:
    """A record whose fields are the columns of a row, by name."""

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Decode a row."""
        return cls(**_typed(cls, row))


@dataclass(frozen=True, slots=True)
class WitnessAccess:
    """One access of a finding's witness; empty texts where the finding does not say."""

    trace_id: str = ""
    span_id: str = ""
    resource: str = ""
    agent: str = ""
    strand: str = ""
    op: str = ""
    role: str = ""
    version_read: str = ""
    version_base: str = ""
    version_written: str = ""
    start_ns: int = 0
    end_ns: int = 0
    code: str = ""

    @property
    def key(self) -> str:
        """Trace and span id: the access's name in edges and in the store."""
        return f"{self.trace_id}:{self.span_id}"


@dataclass(frozen=True, slots=True)
class WitnessEdge:
    """One edge of the witness: `source` and `target` are keys of accesses."""

    source: str
    target: str
    type: str
    why: str


@dataclass(frozen=True, slots=True)
class AffectedRecord:
    """An access that later came to know what the finding spoilt; `strength` is strong or weak.

    `after` is the span that it follows from, and `how`; empty where an older analyzer did not say.
    """

    span_id: str = ""
    after: str = ""
    how: str = ""
    agent: str = ""
    op: str = ""
    resource: str = ""
    strength: str = ""


@dataclass(frozen=True, slots=True)
class FindingBody:
    """The finding's JSON, decoded as far as the pages need it; `raw` is all of it."""

    also: tuple[str, ...]
    margin_ns: int | None
    accesses: tuple[WitnessAccess, ...]
    edges: tuple[WitnessEdge, ...]
    explanation: str
    advice: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    affected: tuple[AffectedRecord, ...]
    affected_agents: tuple[str, ...]
    affected_stopped: str
    first_effect: str
    raw: Mapping[str, Any] = field(hash=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Decode a body; one that is no JSON object gives an empty one rather than an error page."""
        try:
            raw = json.loads(text)
        except ValueError:
            raw = {}
        raw = raw if isinstance(raw, dict) else {}
        accesses = tuple(_witness(item) for item in _list(raw.get("accesses")) if isinstance(item, dict))
        margin = raw.get("margin_ns")
        affected = raw.get("affected")
        affected = affected if isinstance(affected, dict) else {"accesses": affected}
        return cls(
            also=tuple(map(str, _list(raw.get("also")))),
            margin_ns=margin if isinstance(margin, int) else None,
            accesses=accesses,
            edges=tuple(_edge(item, accesses) for item in _list(raw.get("edges")) if isinstance(item, dict)),
            explanation=str(raw.get("explanation") or ""),
            advice=tuple(_advice(item) for item in _list(raw.get("advice"))),
            missing=tuple(map(str, _list(raw.get("missing")))),
            affected=tuple(_affected(item) for item in _list(affected.get("accesses")) if isinstance(item, dict)),
            affected_agents=tuple(map(str, _list(affected.get("agents")))),
            affected_stopped=str(affected.get("stopped") or ""),
            first_effect=str(affected.get("first_effect") or ""),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class FindingHead(_Row):
    """One current finding: its typed columns, and its body as text."""

    id: str
    revision: int
    issue: str
    kind: str
    certainty: str
    severity: str
    manifest: bool
    status: str
    resource: str
    agents: tuple[str, ...]
    first_ns: int
    last_ns: int
    found_ns: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """How often an issue came: its findings that hold; `slots` are even spans of time."""

    count: int
    first_ns: int
    last_ns: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class IssueHead:
    """What a person calls one bug: its findings together, and the state that people and time gave it.

    Attributes:
        actor, reason: of the last thing that a person did to it; empty: nobody did.
        until_ns: end of its silence, 0 where there is none.
        newest: id of the finding that stands for it.
    """

    issue: str
    kind: str
    state: str
    severity: str
    certainty: str
    count: int
    first_ns: int
    last_ns: int
    resources: tuple[str, ...]
    agents: tuple[str, ...]
    newest: str
    actor: str = ""
    reason: str = ""
    until_ns: int = 0

    @classmethod
    def from_row(cls, row: Mapping[str, Any], state: str, actor: str, reason: str, until_ns: int) -> Self:
        """Decode a row; what became of the issue is said by its log."""
        said = {"state": state, "actor": actor, "reason": reason, "until_ns": until_ns}
        values = _typed(cls, {**row, **said})
        return cls(
            **values | {"resources": tuple(sorted(values["resources"])), "agents": tuple(sorted(values["agents"]))}
        )


@dataclass(frozen=True, slots=True)
class DefendedCount(_Row):
    """How many accesses one reason defended; of one resource where it names one."""

    reason: str
    count: int
    resource: str = ""
    resources: int = 0
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class AccessRecord(_Row):
    """One stored access: the attributes that diagram, panel and API show."""

    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    op: str
    resource: str
    agent: str
    strand: str
    process: str = ""
    clock: str = ""
    host: str = ""
    system: str = ""
    outcome: str = ""
    part: tuple[str, ...] = ()
    run: str = ""
    step: str = ""
    seq: int = 0
    unit: str = ""
    unit_kind: str = ""
    strand_parent: str = ""
    strand_parent_seq: int = 0
    strand_other: str = ""
    strand_other_seq: int = 0
    version_kind: str = ""
    version_read: str = ""
    version_base: str = ""
    version_base_source: str = ""
    version_candidates: tuple[str, ...] = ()
    version_base_strand: str = ""
    version_base_seq: int = 0
    version_overwritten: str = ""
    version_written: str = ""
    version_weak: bool = False
    version_expected: str = ""
    write_mode: str = ""
    guard: str = ""
    locks: tuple[str, ...] = ()
    txn_id: str = ""
    message_id: str = ""
    size: int = 0
    partial: bool = False
    open: bool = False
    code_function_name: str = ""
    code_file_path: str = ""
    code_line_number: int = 0

    @property
    def key(self) -> str:
        """Trace and span id."""
        return f"{self.trace_id}:{self.span_id}"


@dataclass(frozen=True, slots=True)
class ResourceHead(_Row):
    """How one resource was used lately."""

    resource: str
    system: str
    accesses: int
    writes: int
    strands: int
    agents: tuple[str, ...]
    guards: tuple[str, ...]
    last_ns: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResourceCount(_Row):
    """How many findings hold on one resource, and the gravest severity among them."""

    resource: str
    count: int
    severity: str


@dataclass(frozen=True, slots=True)
class AgentHead(_Row):
    """What one agent did lately."""

    agent: str
    services: tuple[str, ...]
    accesses: int
    reads: int
    writes: int
    resources: int
    strands: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process that sends spans.

    Attributes:
        frontier_ns: complete up to here; 2^63-1 where the process ended in order, 0 where it sent no mark.
        announced: accesses that its marks say it made. received: spans that arrived, retries counted again.
        holes: sequence numbers that never arrived, over its strands.
    """

    process: str
    service: str
    host: str
    pid: int
    clock: str
    keys: tuple[str, ...]
    frontier_ns: int
    dropped: int
    announced: int
    received: int
    holes: int
    last_ns: int
    agents: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], holes: int) -> Self:
        """Decode a row; holes are counted by another statement."""
        return cls(**_typed(cls, {**row, "holes": holes}))


@dataclass(frozen=True, slots=True)
class CoverageRecord(_Row):
    """What one agent's accesses through one library can prove.

    Attributes:
        library: the instrumentation's name. versioned: reads, writes and deletes; known: those whose version is.
        based: writes whose base is known. replaced: writes of which the store told what they replaced.
        unknown: calls that ended without an answer. partial: those whose capture is known to be incomplete.
    """

    agent: str
    library: str
    systems: tuple[str, ...]
    accesses: int
    versioned: int
    known: int
    writes: int
    based: int
    replaced: int
    guarded: int
    unknown: int
    partial: int


@dataclass(frozen=True, slots=True)
class ClockRecord(_Row):
    """One clock; `least_ms` is the least time from the making of a mark to its arrival here."""

    clock: str
    host: str
    services: tuple[str, ...]
    processes: int
    least_ms: int


OUTCOMES: Final = ("delivered", "failed", "given_up", "under_way")
"""What became of an attempt: it arrived, it will be repeated, it was the last one in vain, its end is not known."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord(_Row):
    """One attempt to deliver a webhook, or its beginning."""

    id: str
    transition: str
    endpoint: str
    attempt: int
    phase: str
    at_ns: int
    status: int
    final: bool
    ok: bool
    elapsed_ms: float
    answer: str


def _typed(cls: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's values for the fields of a record, each made what the field says; None becomes the empty value."""
    return {item.name: _CAST[item.type](row[item.name]) for item in fields(cls) if item.name in row}


_CAST: dict[object, Any] = {
    str: lambda value: "" if value is None else str(value),
    int: lambda value: int(value or 0),
    float: lambda value: float(value or 0),
    bool: bool,
    tuple[str, ...]: lambda value: tuple(str(item) for item in value or ()),
}


def _list(value: object) -> list[Any]:
    """A list as it is, one thing as a list of it, nothing as an empty one."""
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def _witness(item: Mapping[str, Any]) -> WitnessAccess:
    code = item.get("code")
    if isinstance(code, dict):
        code = " ".join(str(part) for part in code.values() if part)
    known = {entry.name: item[entry.name] for entry in fields(WitnessAccess) if item.get(entry.name) is not None}
    return WitnessAccess(**_typed(WitnessAccess, {**known, "code": code or ""}))


def _edge(item: Mapping[str, Any], accesses: tuple[WitnessAccess, ...]) -> WitnessEdge:
    return WitnessEdge(
        source=_end(item.get("from"), accesses),
        target=_end(item.get("to"), accesses),
        type=str(item.get("type") or ""),
        why=str(item.get("why") or ""),
    )


def _end(value: object, accesses: tuple[WitnessAccess, ...]) -> str:
    """The key of the access that an edge's end names: by position, by span id, or by both ids."""
    if isinstance(value, int):
        return accesses[value].key if 0 <= value < len(accesses) else ""
    if isinstance(value, dict):
        return f"{value.get('trace_id', '')}:{value.get('span_id', '')}"
    text = str(value or "")
    span = text.replace("/", ":").rpartition(":")[2]
    return next((access.key for access in accesses if access.span_id == span), text)


def _advice(item: object) -> tuple[str, str]:
    """Text and code of one piece of advice."""
    if isinstance(item, dict):
        return str(item.get("text") or ""), str(item.get("code") or "")
    return str(item), ""


def _affected(item: Mapping[str, Any]) -> AffectedRecord:
    return AffectedRecord(**_typed(AffectedRecord, item))
