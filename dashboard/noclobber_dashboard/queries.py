"""Every SQL statement of the dashboard: what is asked of the store, with which bounds.

All values are bound parameters; the statements themselves are constants of this module, put together only from
constants. Every read has a maximum of rows and of seconds, so that a page can slow the engine but not stop it.
Reads for pages go through one cache that all visitors share (`cached.py`): ten open tabs ask the store as often as
one. The API reads through, since its callers page and filter.

Findings are append-only rows: the current one is the greatest revision of an id. Accesses may be stored twice
(an exporter's retry): a closed one beats an open one, then the greater end, as the contract says.

Source: storage.md section 8 (tables), contract 2.4 (which of two equal spans counts).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from noclobber_dashboard.cached import Cached
from noclobber_dashboard.records import AccessRecord, DeliveryRecord, FindingHead, IssueHead, ProcessRecord, ResourceHead

__all__ = ["PAGE_MAX", "FindingFilter", "Queries", "Reader"]

PAGE_MAX: Final = 500
"""Most rows that one API answer holds."""
SNAPSHOT_MAX: Final = 2_000
"""Most findings, resources or issues that a page holds; it says so where there are more."""
SNAPSHOT_TTL_S: Final = 2.0
SLICE_READ_MAX: Final = 4_000
"""Most accesses read to cut one diagram from."""
_LIMITS: Final = " SETTINGS max_execution_time = 10"


class Reader(Protocol):
    """What is asked of a store: rows as dictionaries, parameters bound by the server."""

    def dicts(self, sql: str, parameters: Mapping[str, object] = ..., /) -> list[dict[str, Any]]:
        """Run one statement and return its rows by column name."""
        ...


@dataclass(frozen=True, slots=True)
class FindingFilter:
    """Which findings to list; an empty field asks for all.

    Attributes:
        text: part of a resource, agent, kind or id, upper and lower case alike.
        since_ns, until_ns: bounds of `last_ns`, both inclusive; 0: none.
        after: `(last_ns, id)` of the last row of the page before; None: the first page.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    certainties: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    issue: str = ""
    resource: str = ""
    agent: str = ""
    text: str = ""
    since_ns: int = 0
    until_ns: int = 0
    after: tuple[int, str] | None = None


_CURRENT: Final = (
    "SELECT * FROM (SELECT id, revision, issue, toString(kind) AS kind, toString(certainty) AS certainty, "
    "toString(severity) AS severity, manifest, toString(status) AS status, resource, agents, first_ns, last_ns, "
    "found_ns, body FROM findings ORDER BY id, revision DESC LIMIT 1 BY id)"
)
_FILTER: Final = (
    " WHERE (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, kind))"
    " AND (empty({severities:Array(String)}) OR has({severities:Array(String)}, severity))"
    " AND (empty({certainties:Array(String)}) OR has({certainties:Array(String)}, certainty))"
    " AND (empty({statuses:Array(String)}) OR has({statuses:Array(String)}, status))"
    " AND ({issue:String} = '' OR issue = {issue:String})"
    " AND ({resource:String} = '' OR resource = {resource:String})"
    " AND ({agent:String} = '' OR has(agents, {agent:String}))"
    " AND ({text:String} = '' OR positionCaseInsensitiveUTF8(concat(id, ' ', kind, ' ', resource, ' ',"
    " arrayStringConcat(agents, ' ')), {text:String}) > 0)"
    " AND ({since:UInt64} = 0 OR last_ns >= {since:UInt64})"
    " AND ({until:UInt64} = 0 OR last_ns <= {until:UInt64})"
    " AND ({after_ns:UInt64} = 0 OR last_ns < {after_ns:UInt64}"
    " OR (last_ns = {after_ns:UInt64} AND id > {after_id:String}))"
    " ORDER BY last_ns DESC, id LIMIT {limit:UInt32}"
)
_ONE_FINDING: Final = (
    "SELECT id, revision, issue, toString(kind) AS kind, toString(certainty) AS certainty, "
    "toString(severity) AS severity, manifest, toString(status) AS status, resource, agents, first_ns, last_ns, "
    "found_ns, body FROM findings WHERE id = {id:String} ORDER BY revision DESC LIMIT 1"
)
_ISSUES: Final = (
    "SELECT f.issue AS issue, any(kind) AS kind, count() AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns,"
    " argMax(id, (last_ns, id)) AS newest, argMax(severity, (last_ns, id)) AS severity,"
    " argMax(certainty, (last_ns, id)) AS certainty, groupUniqArray(20)(resource) AS resources,"
    " groupUniqArrayArray(20)(agents) AS agents, any(t.state) AS state, any(t.actor) AS actor, any(t.reason) AS reason"
    " FROM (" + _CURRENT + " WHERE status != 'retracted') AS f"
    " LEFT JOIN (SELECT issue, argMax(state, (at_ns, id)) AS state, argMax(actor, (at_ns, id)) AS actor,"
    " argMax(reason, (at_ns, id)) AS reason FROM transitions WHERE state != '' AND issue != '' GROUP BY issue) AS t"
    " ON f.issue = t.issue GROUP BY f.issue ORDER BY last_ns DESC, issue LIMIT {limit:UInt32}"
)
_EVENT_COLUMNS: Final = (
    "lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, start_ns, end_ns, toString(process) AS process,"
    " toString(clock) AS clock, toString(host) AS host, toString(op) AS op, resource, toString(system) AS system,"
    " toString(outcome) AS outcome, part, agent, strand, run, step, seq, unit, toString(unit_kind) AS unit_kind,"
    " strand_parent, strand_parent_seq, strand_other, strand_other_seq, toString(version_kind) AS version_kind,"
    " version_read, version_base, toString(version_base_source) AS version_base_source, version_candidates,"
    " version_base_strand, version_base_seq, version_overwritten, version_written, version_weak, version_expected,"
    " toString(write_mode) AS write_mode, toString(guard) AS guard, locks, txn_id, message_id, size, partial, open,"
    " code_function_name, code_file_path, code_line_number"
)
_DEDUPED: Final = " ORDER BY open, end_ns DESC LIMIT 1 BY trace_id, span_id) ORDER BY start_ns, trace_id, span_id"
_SURROUNDINGS: Final = (
    "SELECT * FROM (SELECT " + _EVENT_COLUMNS + " FROM accesses WHERE op NOT IN ('', 'mark')"
    " AND minute BETWEEN {minute_from:UInt32} AND {minute_to:UInt32}"
    " AND start_ns BETWEEN {start:UInt64} AND {end:UInt64}"
    " AND (resource IN {resources:Array(String)} OR strand IN {strands:Array(String)}"
    " OR message_id IN {messages:Array(String)})"
    + _DEDUPED + " LIMIT {limit:UInt32}" + _LIMITS
)  # fmt: skip
_ACCESSES: Final = (
    "SELECT * FROM (SELECT " + _EVENT_COLUMNS + " FROM accesses WHERE op NOT IN ('', 'mark')"
    " AND ({resource:String} = '' OR resource = {resource:String})"
    " AND ({agent:String} = '' OR agent = {agent:String})"
    " AND ({strand:String} = '' OR strand = {strand:String})"
    " AND ({op:String} = '' OR op = {op:String})"
    " AND ({trace:String} = '' OR trace_id = unhex({trace:String}))"
    " AND ({since:UInt64} = 0 OR start_ns >= {since:UInt64})"
    " AND ({until:UInt64} = 0 OR start_ns <= {until:UInt64})"
    " AND ({after_ns:UInt64} = 0 OR (start_ns, lower(hex(span_id))) < ({after_ns:UInt64}, {after_id:String}))"
    " ORDER BY open, end_ns DESC LIMIT 1 BY trace_id, span_id)"
    " ORDER BY start_ns DESC, span_id DESC LIMIT {limit:UInt32}" + _LIMITS
)
_RESOURCES: Final = (
    "SELECT resource, any(toString(system)) AS system, count() AS accesses,"
    " countIf(op IN ('write', 'delete', 'update')) AS writes, uniqExact(strand) AS strands,"
    " groupUniqArray(12)(agent) AS agents, arrayFilter(g -> g NOT IN ('', 'none'), groupUniqArray(8)(toString(guard)))"
    " AS guards, countIf(outcome = 'rejected') AS rejected, max(start_ns) AS last_ns, groupUniqArray(4)(key_id) AS keys"
    " FROM accesses WHERE op NOT IN ('', 'mark', 'model', 'spawn', 'join', 'begin', 'commit', 'abort')"
    " AND resource != '' GROUP BY resource ORDER BY strands > 1 DESC, writes DESC, resource LIMIT {limit:UInt32}"
    + _LIMITS
)
_PROCESSES: Final = (
    "SELECT toString(process) AS process, any(service) AS service, any(host) AS host, any(pid) AS pid,"
    " any(toString(clock)) AS clock, groupUniqArray(toString(key_id)) AS keys,"
    " maxIf(frontier_ns, op = 'mark') AS frontier_ns, maxIf(dropped, op = 'mark') AS dropped,"
    " maxIf(accesses, op = 'mark') AS announced, uniqExactIf((trace_id, span_id), op != 'mark') AS received,"
    " max(end_ns) AS last_ns, groupUniqArrayIf(6)(agent, agent != '') AS agents"
    " FROM accesses WHERE op != '' GROUP BY process ORDER BY last_ns DESC LIMIT {limit:UInt32}" + _LIMITS
)
_HOLES: Final = (
    "SELECT process, sum(top - seen) AS holes FROM (SELECT toString(process) AS process, strand, max(seq) AS top,"
    " uniqExact(seq) AS seen FROM accesses WHERE op NOT IN ('', 'mark') AND strand != '' GROUP BY process, strand)"
    " GROUP BY process HAVING holes > 0 LIMIT {limit:UInt32}" + _LIMITS
)
_RATES: Final = (
    "SELECT minute, count() AS spans, uniqExact(resource) AS resources, uniqExact(agent) AS agents FROM accesses"
    " WHERE op NOT IN ('', 'mark') AND minute >= {minute_from:UInt32} GROUP BY minute ORDER BY minute" + _LIMITS
)
_TOTALS: Final = (
    "SELECT countIf(op NOT IN ('', 'mark')) AS accesses, uniqExactIf(agent, agent != '') AS agents,"
    " countIf(op = '') AS foreign_spans, countIf(op = 'mark') AS marks, countIf(partial) AS partial,"
    " max(start_ns) AS last_ns FROM accesses" + _LIMITS
)
_DELIVERIES: Final = (
    "SELECT id, transition, endpoint, attempt, toString(phase) AS phase, at_ns, status, final, ok, elapsed_ms, answer"
    " FROM deliveries WHERE ({after_ns:UInt64} = 0 OR (at_ns, id) < ({after_ns:UInt64}, {after_id:String}))"
    " ORDER BY at_ns DESC, id DESC LIMIT {limit:UInt32}" + _LIMITS
)
_CURSORS: Final = "SELECT analyzer, max(at_ns) AS at_ns, argMax(body, at_ns) AS body FROM cursors GROUP BY analyzer LIMIT 100"


class Queries:
    """Typed answers to the dashboard's questions, each bounded.

    Thread safe as far as the store is.

    Args:
        store: where to ask.
    """

    def __init__(self, store: Reader) -> None:
        self._store = store
        self._cached = Cached(ttl_s=SNAPSHOT_TTL_S)

    # -- what pages show: shared between visitors ---------------------------------------------------------------

    def recent_findings(self) -> Sequence[FindingHead]:
        """The newest current findings, newest first, `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("findings",), lambda: self.findings(FindingFilter(), SNAPSHOT_MAX)
        )

    def resources(self) -> Sequence[ResourceHead]:
        """Resources that were touched, those that several strands write first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("resources",),
            lambda: [ResourceHead.from_row(row) for row in self._ask(_RESOURCES, limit=SNAPSHOT_MAX)],
        )

    def issues(self) -> Sequence[IssueHead]:
        """Open issues with their state, newest first; `SNAPSHOT_MAX` at most."""
        return self._cached.get(
            ("issues",), lambda: [IssueHead.from_row(row) for row in self._ask(_ISSUES + _LIMITS, limit=SNAPSHOT_MAX)]
        )

    def processes(self) -> Sequence[ProcessRecord]:
        """Every process that sent spans: frontier, drops, holes in its sequence numbers; latest first."""
        return self._cached.get(("processes",), self._processes)

    def totals(self) -> Mapping[str, int]:
        """`accesses`, `agents`, `foreign_spans`, `marks`, `partial`, `last_ns` over all that is stored."""
        return self._cached.get(("totals",), lambda: _numbers(self._ask(_TOTALS)))

    def rates(self, minute_from: int) -> Sequence[Mapping[str, int]]:
        """`minute`, `spans`, `resources`, `agents` for each minute since one, ascending; empty minutes are absent."""
        return self._cached.get(
            ("rates", minute_from),
            lambda: [{key: int(row[key]) for key in row} for row in self._ask(_RATES, minute_from=minute_from)],
        )

    def cursors(self) -> Sequence[Mapping[str, Any]]:
        """`analyzer`, `at_ns`, `body` of each analyzer's newest checkpoint."""
        return self._cached.get(("cursors",), lambda: self._ask(_CURSORS))

    # -- what the API and single pages ask -----------------------------------------------------------------------

    def finding(self, finding_id: str) -> FindingHead | None:
        """The newest revision of one finding, None where there is none."""
        rows = self._ask(_ONE_FINDING + _LIMITS, id=finding_id)
        return FindingHead.from_row(rows[0]) if rows else None

    def findings(self, wanted: FindingFilter, limit: int) -> list[FindingHead]:
        """Current findings that fit, by `last_ns` descending, then id."""
        after_ns, after_id = wanted.after or (0, "")
        rows = self._ask(
            _CURRENT + _FILTER + _LIMITS,
            kinds=list(wanted.kinds), severities=list(wanted.severities), certainties=list(wanted.certainties),
            statuses=list(wanted.statuses), issue=wanted.issue, resource=wanted.resource, agent=wanted.agent,
            text=wanted.text, since=wanted.since_ns, until=wanted.until_ns,
            after_ns=after_ns, after_id=after_id, limit=limit,
        )  # fmt: skip
        return [FindingHead.from_row(row) for row in rows]

    def surroundings(
        self, resources: Sequence[str], strands: Sequence[str], messages: Sequence[str], start_ns: int, end_ns: int
    ) -> list[AccessRecord]:
        """Accesses of these resources, strands or messages that start in a time range, by start.

        At most `SLICE_READ_MAX`; the caller cuts the diagram out of them.
        """
        rows = self._ask(
            _SURROUNDINGS, resources=list(resources), strands=list(strands), messages=list(messages),
            start=start_ns, end=end_ns, minute_from=start_ns // 60_000_000_000, minute_to=end_ns // 60_000_000_000,
            limit=SLICE_READ_MAX,
        )  # fmt: skip
        return [AccessRecord.from_row(row) for row in rows]

    def accesses(
        self, limit: int, *, resource: str = "", agent: str = "", strand: str = "", op: str = "", trace: str = "",
        since_ns: int = 0, until_ns: int = 0, after: tuple[int, str] | None = None,
    ) -> list[AccessRecord]:  # fmt: skip
        """Accesses that fit, newest first."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(
            _ACCESSES, resource=resource, agent=agent, strand=strand, op=op, trace=trace, since=since_ns,
            until=until_ns, after_ns=after_ns, after_id=after_id, limit=limit,
        )  # fmt: skip
        return [AccessRecord.from_row(row) for row in rows]

    def deliveries(self, limit: int, after: tuple[int, str] | None = None) -> list[DeliveryRecord]:
        """Webhook attempts, newest first."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(_DELIVERIES, limit=limit, after_ns=after_ns, after_id=after_id)
        return [DeliveryRecord.from_row(row) for row in rows]

    def _processes(self) -> list[ProcessRecord]:
        holes = {str(row["process"]): int(row["holes"]) for row in self._ask(_HOLES, limit=SNAPSHOT_MAX)}
        rows = self._ask(_PROCESSES, limit=SNAPSHOT_MAX)
        return [ProcessRecord.from_row(row, holes.get(str(row["process"]), 0)) for row in rows]

    def _ask(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        return self._store.dicts(sql, parameters)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {key: int(value or 0) for key, value in rows[0].items()} if rows else {}
