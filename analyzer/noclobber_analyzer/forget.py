"""Forgets one resource, run or service: what the store knows of it goes, from disk too.

Accesses are deleted, with the scans that list the resource and the accesses made under it as a lock. A finding that
rests on one of them is taken back by a new revision that names nothing any more, and its earlier revisions are
deleted; what the log of issues kept of it is emptied, so that states and who decided them stay, and no names. Then the
parts are rewritten, so that the bytes go. What is done again after an interruption ends in the same.

It can't reach what is not in the store: the spool keeps what it has loaded for five minutes, a live analyzer its window
of some minutes, and whoever got an alert has it. So let the agents concerned come to rest before.

Source: storage.md 10 of the design; contract 3 (`retracted` is a revision).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

import msgspec

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.issues import Transition
from noclobber_analyzer.tables import append_findings, append_transitions, findings_of, read_transitions
from noclobber_collector.purge import WAIT_MAX_S, purge
from noclobber_collector.store import Store

__all__ = ["Forgotten", "Target", "forget", "known_of"]

_T = TypeVar("_T")
TABLES: Final = ("accesses", "findings", "transitions", "deliveries", "defended", "conflicts", "minute_stats")
"""Tables that may name a resource, an access or an agent."""
AT_ONCE: Final = 500
"""Accesses looked for in one statement."""
SAID: Final = "Forgotten: what it rested on was deleted."
MARK: Final = '"forgotten":true'
"""Stands in the body of a row of the log that was emptied."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be forgotten: one of the three.

    Attributes:
        resource: a URI as accesses have it; with a `*` at its end all that begin so.
        run: a run of an agent.
        service: `service.name` of the processes.
    """

    resource: str = ""
    run: str = ""
    service: str = ""

    @property
    def where(self) -> str:
        """The condition on rows of `accesses`."""
        if self.run:
            return "run = {run:String}"
        if self.service:
            return "service = {service:String}"
        named = self._matches("x")
        return (
            f"({self._matches('resource')} OR arrayExists(x -> {named}, result_resources) "
            f"OR arrayExists(x -> {named} OR startsWith(x, concat({{resource:String}}, '#')), locks))"
        )

    @property
    def of_resource(self) -> str:
        """The condition on tables that know resources only; "": they know nothing of it."""
        return self._matches("resource") if self.resource else ""

    @property
    def parameters(self) -> Mapping[str, object]:
        """Bound in the conditions."""
        if self.resource:
            return {"resource": self.resource.removesuffix("*")}
        return {"run": self.run} if self.run else {"service": self.service}

    def is_in(self, text: str) -> bool:
        """Whether a text names it."""
        return next(str(value) for value in self.parameters.values()) in text

    def _matches(self, name: str) -> str:
        begins = self.resource.endswith("*")
        return f"startsWith({name}, {{resource:String}})" if begins else f"{name} = {{resource:String}}"


class Forgotten(NamedTuple):
    """What the store knew of a target.

    Attributes:
        accesses: rows of `accesses`, marks and repeated ones included.
        findings: that rested on one of them.
        entries: rows of the log of issues that named it.
        gone: whether the bytes had left the disk when this was written.
    """

    accesses: int
    findings: int
    entries: int
    gone: bool = False


class _Known(NamedTuple):
    names: set[tuple[str, str]]
    segments: set[tuple[str, int]]
    rows: int
    findings: dict[str, tuple[Finding, int]]
    entries: list[Transition]


def known_of(store: Store, target: Target) -> Forgotten:
    """What `forget` would take away."""
    known = _known(store, target)
    return Forgotten(known.rows, len(known.findings), len(known.entries))


def forget(store: Store, target: Target, now_ns: int, wait_max_s: float = WAIT_MAX_S) -> Forgotten:
    """Delete what the store knows of a target, and rewrite the parts that held it.

    Args:
        store: holds it.
        target: what to forget.
        now_ns: wall time.
        wait_max_s: longest wait for old parts to leave the disk.
    """
    known = _known(store, target)
    noted = [(collector, segment, now_ns) for collector, segment in sorted(known.segments)]
    store.insert("forgotten", ("collector", "segment", "at_ns"), noted)
    _take_back(store, known.findings)
    _empty(store, known.entries)
    for ids in _portions([row.id for row in known.entries]):
        statement = "ALTER TABLE {table}{on_cluster} UPDATE answer = '' WHERE transition IN {ids:Array(String)} "
        store.alter(statement + "SETTINGS mutations_sync = 2", "deliveries", {"ids": ids})
    for names in _portions(sorted(known.names)):
        store.delete("defended", _BY_NAME, {"names": [trace + span for trace, span in names]})
    if target.of_resource:
        for table in ("defended", "conflicts", "minute_stats"):
            store.delete(table, target.of_resource, target.parameters)
    store.delete("accesses", target.where, target.parameters)
    gone = purge(store, TABLES, wait_max_s)
    return Forgotten(known.rows, len(known.findings), len(known.entries), gone)


_BY_NAME: Final = "concat(trace_id, span_id) IN {names:Array(String)}"


def _known(store: Store, target: Target) -> _Known:
    sql = f"SELECT collector, segment, lower(hex(trace_id)), lower(hex(span_id)) FROM accesses WHERE {target.where}"  # noqa: S608  constants only
    rows = store.rows(sql, target.parameters)
    names = {(str(trace), str(span)) for _, _, trace, span in rows}
    findings = _findings(store, target, names)
    return _Known(
        names,
        {(str(collector), int(segment)) for collector, segment, *_ in rows},
        len(rows),
        findings,
        _entries(store, target, findings),
    )


def _findings(store: Store, target: Target, names: set[tuple[str, str]]) -> dict[str, tuple[Finding, int]]:
    ids: set[str] = set()
    told = (
        "SELECT DISTINCT id FROM findings WHERE arrayExists(x -> has({names:Array(String)}, concat(x.1, x.2)), "
        "JSONExtract(body, 'accesses', 'Array(Tuple(trace_id String, span_id String))'))"
    )
    for portion in _portions(sorted(names)):
        ids |= {str(row[0]) for row in store.rows(told, {"names": [trace + span for trace, span in portion]})}
    if target.resource:
        named = "SELECT DISTINCT id FROM findings WHERE position(body, {resource:String}) > 0"
        ids |= {str(row[0]) for row in store.rows(named, target.parameters)}
    return findings_of(store, sorted(ids))


def _entries(store: Store, target: Target, findings: Mapping[str, tuple[Finding, int]]) -> list[Transition]:
    """Rows of the log of these findings' issues that name one of them, or the target itself."""
    issues = sorted({finding.issue for finding, _ in findings.values()})
    return [
        row
        for portion in _portions(issues)
        for row in read_transitions(store, issues=portion)
        if MARK not in row.body and (row.finding in findings or target.is_in(row.body + row.reason))
    ]


def _take_back(store: Store, findings: Mapping[str, tuple[Finding, int]]) -> None:
    """Tombstones first, so that an interruption leaves a finding twice and never half."""
    append_findings(store, [(_tombstone(finding), found_ns) for finding, found_ns in findings.values()])
    for portion in _portions(sorted(findings)):
        revisions = [findings[name][0].revision for name in portion]
        where = "revision <= transform(id, {ids:Array(String)}, {revisions:Array(UInt32)}, toUInt32(0))"
        store.delete("findings", where, {"ids": portion, "revisions": revisions})


def _tombstone(finding: Finding) -> Finding:
    return Finding(
        id=finding.id, issue=finding.issue, kind=finding.kind, certainty=finding.certainty,
        severity=finding.severity, manifest=finding.manifest, resource="", agents=(), first_ns=finding.first_ns,
        last_ns=finding.last_ns, accesses=(), explanation=SAID, status="retracted", revision=finding.revision + 1,
    )  # fmt: skip


def _empty(store: Store, entries: Sequence[Transition]) -> None:
    """The same rows without names, before the ones with names go."""
    append_transitions(store, [_emptied(row) for row in entries])
    where = "id IN {ids:Array(String)} AND position(body, {mark:String}) = 0"
    for portion in _portions([row.id for row in entries]):
        store.delete("transitions", where, {"ids": portion, "mark": MARK})


def _emptied(row: Transition) -> Transition:
    content = row.content
    data = content.get("data")
    if isinstance(data, dict):
        nameless: dict[str, object] = {
            "title": f"{data.get('kind', '')}: forgotten",
            "resources": [],
            "agents": [],
            "newest": None,
        }
        content = {**content, "data": {**data, **nameless}}
    body = msgspec.json.encode({**content, "forgotten": True}, order="sorted").decode()
    return replace(row, reason="", body=body)


def _portions(items: Sequence[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(items), AT_ONCE):
        yield list(items[at : at + AT_ONCE])
