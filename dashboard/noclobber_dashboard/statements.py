"""The dashboard's SQL statements, all of them constants with bound parameters.

Findings are append-only rows: the current one is the greatest revision of an id. Accesses may be stored twice (an
exporter's retry): a closed one beats an open one, then the greater end, as the contract says (2.4). Every statement
has a limit of rows and of seconds, and what counts accesses looks back over a window, not over all that is stored.

Source: storage.md section 8 (tables). Holes are counted with a bitmap (Lemire et al., Roaring, 2016): sequence
numbers are dense, so an exact count of distinct ones takes a bit each instead of a hash table's 16 bytes.
"""
# ruff: noqa: S608  put together from this module's own constants only; every value is a bound parameter

from typing import Final

from noclobber_dashboard.issue_states import STATES

__all__ = [
    "ACCESSES",
    "ACTS",
    "ADDRESSES",
    "AGENTS",
    "BODIES",
    "CLOCKS",
    "COUNT",
    "COVERAGE",
    "CURRENT_FILTERED",
    "CURRENT_IN_STATE",
    "CURSORS",
    "DEAD_LETTERS",
    "DEFENDED_BY_REASON",
    "DEFENDED_BY_RESOURCE",
    "DELIVERIES",
    "FINDINGS_BY_HOUR",
    "FINDINGS_BY_RESOURCE",
    "FINDINGS_COUNTED",
    "HAS_DEFENDED",
    "HOLES",
    "ISSUES",
    "ISSUES_BY_STATE",
    "ISSUE_LOGS",
    "ISSUE_STATES",
    "NAMING",
    "NEWEST",
    "OCCURRENCES",
    "OF_KINDS",
    "ONE_FINDING",
    "ORPHANS",
    "OUTCOMES",
    "PROCESSES",
    "RATES",
    "RECENT",
    "RESOURCES",
    "ROUTE_LOG",
    "STORAGE",
    "SURROUNDINGS",
    "TOTALS",
    "TRANSITIONS",
    "WORST",
]

_LIMITS: Final = " SETTINGS max_execution_time = 10"
_CURRENT: Final = (
    "SELECT * FROM (SELECT id, revision, issue, toString(kind) AS kind, toString(certainty) AS certainty, "
    "toString(severity) AS severity, manifest, toString(status) AS status, resource, agents, first_ns, last_ns, "
    "found_ns FROM findings ORDER BY id, revision DESC LIMIT 1 BY id)"
)
_RANK: Final = "indexOf(['low', 'medium', 'high', 'critical'], f.severity)"
FINDINGS_COUNTED: Final = (
    "SELECT count() AS findings, countIf(severity = 'critical') AS critical FROM (" + _CURRENT
    + ") WHERE manifest AND status = 'open'" + _LIMITS
)  # fmt: skip
FINDINGS_BY_HOUR: Final = (
    "SELECT intDiv(last_ns, 3600000000000) AS hour, severity, count() AS count FROM (" + _CURRENT + ") WHERE manifest"
    " AND status = 'open' AND last_ns >= {since:UInt64} GROUP BY hour, severity ORDER BY hour, severity LIMIT 200"
    + _LIMITS
)  # fmt: skip
FINDINGS_BY_RESOURCE: Final = (
    "SELECT f.resource AS resource, count() AS count, argMax(f.severity, " + _RANK + ") AS severity"
    " FROM (" + _CURRENT + " WHERE manifest AND status = 'open' AND resource != '') AS f"
    " GROUP BY f.resource ORDER BY count DESC, resource LIMIT {limit:UInt32}" + _LIMITS
)
WORST: Final = (
    "SELECT * FROM (" + _CURRENT + " WHERE manifest AND status = 'open') AS f"
    " ORDER BY " + _RANK + " DESC, last_ns DESC, id LIMIT {limit:UInt32}" + _LIMITS
)
BODIES: Final = (
    "SELECT id, argMax(body, revision) AS body FROM findings WHERE id IN {ids:Array(String)} GROUP BY id" + _LIMITS
)
_FILTER: Final = (
    " WHERE manifest = {manifest:UInt8} AND (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, kind))"
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
)
_NEWEST_FIRST: Final = " ORDER BY last_ns DESC, id LIMIT {limit:UInt32}"
# what nothing happened to is new: where that is asked for, the issues in all other states are those left out
_ISSUE_FITS: Final = (
    "has({states:Array(String)}, 'new') != (issue IN (SELECT issue FROM " + STATES
    + " WHERE has({states:Array(String)}, 'new') != has({states:Array(String)}, state)))"
)  # fmt: skip
ONE_FINDING: Final = (
    "SELECT id, revision, issue, toString(kind) AS kind, toString(certainty) AS certainty, "
    "toString(severity) AS severity, manifest, toString(status) AS status, resource, agents, first_ns, last_ns, "
    "found_ns, body FROM findings WHERE id = {id:String} ORDER BY revision DESC LIMIT 1" + _LIMITS
)
# the newest revision of each that still holds; a span's id is 16 hexadecimal digits, so nothing else is found
NAMING: Final = (
    "SELECT body FROM (SELECT id, toString(status) AS status, last_ns, body FROM findings"
    " WHERE manifest AND id != {id:String} AND last_ns BETWEEN {since:UInt64} AND {until:UInt64}"
    " AND multiSearchAny(body, {spans:Array(String)})"
    " ORDER BY id, revision DESC LIMIT 1 BY id) WHERE status = 'open' ORDER BY last_ns DESC, id LIMIT 50" + _LIMITS
)
# of an issue's manifest findings those that hold count, all of them where none does
_ISSUES: Final = (
    "SELECT f.issue AS issue, argMax(f.kind, (f.last_ns, f.id)) AS kind, count() AS count,"
    " min(f.first_ns) AS first_ns, max(f.last_ns) AS last_ns, argMax(f.id, (f.last_ns, f.id)) AS newest,"
    " argMax(f.severity, " + _RANK + ") AS severity,"
    " argMax(f.certainty, indexOf(['possible', 'likely', 'certain'], f.certainty)) AS certainty,"
    " groupUniqArray(20)(f.resource) AS resources, groupUniqArrayArray(20)(f.agents) AS agents,"
    " max(f.resource = {resource:String}) AS is_on, max(has(f.agents, {agent:String})) AS is_of"
    " FROM (" + _CURRENT + " WHERE manifest"
    " AND (empty({issues:Array(String)}) OR issue IN {issues:Array(String)})) AS f"
    " GROUP BY f.issue, f.status = 'retracted' ORDER BY f.status = 'retracted', issue LIMIT 1 BY issue"
)
ISSUES: Final = (
    "SELECT * FROM (" + _ISSUES + ") WHERE (empty({kinds:Array(String)}) OR has({kinds:Array(String)}, kind))"
    " AND (empty({severities:Array(String)}) OR has({severities:Array(String)}, severity))"
    " AND (empty({certainties:Array(String)}) OR has({certainties:Array(String)}, certainty))"
    " AND ({resource:String} = '' OR is_on) AND ({agent:String} = '' OR is_of)"
    " AND (empty({states:Array(String)}) OR " + _ISSUE_FITS + ")"
    " AND ({after_ns:UInt64} = 0 OR last_ns < {after_ns:UInt64}"
    " OR (last_ns = {after_ns:UInt64} AND issue > {after_id:String}))"
    " ORDER BY last_ns DESC, issue LIMIT {limit:UInt32}" + _LIMITS
)
ISSUES_BY_STATE: Final = (
    "SELECT if(s.state = '', 'new', s.state) AS standing, count() AS count"
    " FROM (SELECT DISTINCT issue FROM (" + _CURRENT + " WHERE manifest)) AS i"
    " LEFT JOIN " + STATES + " AS s ON i.issue = s.issue GROUP BY standing ORDER BY standing LIMIT 100" + _LIMITS
)
ISSUE_STATES: Final = (
    "SELECT issue, state FROM " + STATES + " WHERE issue IN {issues:Array(String)} LIMIT {limit:UInt32}" + _LIMITS
)
OCCURRENCES: Final = (
    "WITH current AS (SELECT first_ns, last_ns FROM (SELECT first_ns, last_ns, toString(status) AS status"
    " FROM findings WHERE issue = {issue:String} AND manifest ORDER BY id, revision DESC LIMIT 1 BY id)"
    " WHERE status = 'open'),"
    " (SELECT (min(last_ns), max(last_ns)) FROM current) AS ends"
    " SELECT intDiv((last_ns - ends.1) * {slots:UInt64}, ends.2 - ends.1 + 1) AS slot, count() AS count,"
    " min(first_ns) AS begun_ns, max(last_ns) AS ended_ns FROM current GROUP BY slot ORDER BY slot" + _LIMITS
)
_LOG_COLUMNS: Final = (
    "id, issue, at_ns, toString(kind) AS kind, toString(state) AS state, finding, actor, reason,"
    " if(kind = 'state.silenced', body, '') AS body"
)
ISSUE_LOGS: Final = (
    "SELECT * FROM (SELECT " + _LOG_COLUMNS + " FROM transitions WHERE issue IN {issues:Array(String)}"
    " ORDER BY issue, at_ns DESC, id DESC LIMIT {each:UInt32} BY issue, kind)" + _LIMITS
)
TRANSITIONS: Final = (
    "SELECT * FROM (SELECT " + _LOG_COLUMNS + " FROM transitions"
    " WHERE ({issue:String} = '' OR issue = {issue:String})"
    " AND ({after_ns:UInt64} = 0 OR (at_ns, id) < ({after_ns:UInt64}, {after_id:String}))"
    " ORDER BY at_ns DESC, id DESC LIMIT 1 BY id) LIMIT {limit:UInt32}" + _LIMITS
)
HAS_DEFENDED: Final = "EXISTS TABLE defended"
# the newest word on an access counts; an empty reason takes it back
_DEFENDED: Final = (
    "(SELECT argMax(toString(d.reason), d.at_ns) AS reason, argMax(d.resource, d.at_ns) AS resource,"
    " argMax(d.agent, d.at_ns) AS agent, max(d.start_ns) AS start_ns"
    " FROM defended AS d WHERE d.start_ns >= {since:UInt64} GROUP BY d.trace_id, d.span_id HAVING reason != '')"
)
DEFENDED_BY_REASON: Final = (
    "SELECT reason, count() AS count, uniqExact(resource) AS resources, max(start_ns) AS last_ns FROM " + _DEFENDED
    + " GROUP BY reason ORDER BY count DESC, reason LIMIT 100" + _LIMITS
)  # fmt: skip
DEFENDED_BY_RESOURCE: Final = (
    "SELECT resource, reason, count() AS count FROM " + _DEFENDED
    + " GROUP BY resource, reason ORDER BY count DESC, resource, reason LIMIT {limit:UInt32}" + _LIMITS
)  # fmt: skip
_EVENT_COLUMNS: Final = (
    "lower(hex(trace_id)) AS trace_id, lower(hex(span_id)) AS span_id, start_ns, end_ns, toString(process) AS process,"
    " toString(clock) AS clock, toString(host) AS server, toString(op) AS op, resource, toString(system) AS system,"
    " toString(outcome) AS outcome, part, agent, strand, run, step, seq, unit, toString(unit_kind) AS unit_kind,"
    " strand_parent, strand_parent_seq, strand_other, strand_other_seq, toString(version_kind) AS version_kind,"
    " version_read, version_base, toString(version_base_source) AS version_base_source, version_candidates,"
    " version_base_strand, version_base_seq, version_overwritten, version_written, version_weak, version_expected,"
    " toString(write_mode) AS write_mode, toString(guard) AS guard, locks, txn_id, message_id, size, partial, open,"
    " code_function_name, code_file_path, code_line_number"
)
_DEDUPED: Final = " ORDER BY open, end_ns DESC LIMIT 1 BY trace_id, span_id) ORDER BY start_ns, trace_id, span_id"
SURROUNDINGS: Final = (
    "SELECT * FROM (SELECT " + _EVENT_COLUMNS + " FROM accesses WHERE op NOT IN ('', 'mark')"
    " AND minute BETWEEN {minute_from:UInt32} AND {minute_to:UInt32}"
    " AND start_ns BETWEEN {start:UInt64} AND {end:UInt64}"
    " AND (resource IN {resources:Array(String)} OR strand IN {strands:Array(String)}"
    " OR message_id IN {messages:Array(String)})"
    + _DEDUPED + " LIMIT {limit:UInt32}" + _LIMITS
)  # fmt: skip
# minute and hash say nothing that start and resource do not: they are what the table is ordered by
_FITTING: Final = (
    " FROM accesses WHERE op NOT IN ('', 'mark')"
    " AND ({resource:String} = '' OR (resource_hash = cityHash64({resource:String}) AND resource = {resource:String}))"
    " AND ({agent:String} = '' OR agent = {agent:String})"
    " AND ({strand:String} = '' OR strand = {strand:String})"
    " AND (empty({ops:Array(String)}) OR has({ops:Array(String)}, toString(op)))"
    " AND ({trace:String} = '' OR trace_id = unhex({trace:String}))"
    " AND ({since:UInt64} = 0 OR (minute >= intDiv({since:UInt64}, 60000000000) AND start_ns >= {since:UInt64}))"
    " AND ({until:UInt64} = 0 OR (minute <= intDiv({until:UInt64}, 60000000000) AND start_ns <= {until:UInt64}))"
    " AND ({after_ns:UInt64} = 0 OR (minute <= intDiv({after_ns:UInt64}, 60000000000)"
    " AND (start_ns, lower(hex(span_id))) < ({after_ns:UInt64}, {after_id:String})))"
)
# a few more rows than a page has, since some may tell of the same access; `read_rows` says how many were there to read
NEWEST: Final = (
    "SELECT * FROM (SELECT *, count() OVER () AS read_rows FROM (SELECT " + _EVENT_COLUMNS + _FITTING
    + " ORDER BY start_ns DESC, accesses.span_id DESC LIMIT {read:UInt32})"
    " ORDER BY open, end_ns DESC LIMIT 1 BY trace_id, span_id)"
    " ORDER BY start_ns DESC, span_id DESC" + _LIMITS
)  # fmt: skip
# first from few columns: when does the last access of this page start? only from there on all columns are read
ACCESSES: Final = (
    "WITH (SELECT min(start_ns) FROM (SELECT start_ns" + _FITTING
    + " ORDER BY minute DESC, start_ns DESC LIMIT 1 BY trace_id, span_id LIMIT {limit:UInt32})) AS bottom"
    " SELECT * FROM (SELECT " + _EVENT_COLUMNS + _FITTING
    + " AND minute >= intDiv(bottom, 60000000000) AND start_ns >= bottom"
    " ORDER BY open, end_ns DESC LIMIT 1 BY trace_id, span_id)"
    " ORDER BY start_ns DESC, span_id DESC LIMIT {limit:UInt32}" + _LIMITS
)  # fmt: skip
RECENT: Final = (
    "SELECT * FROM (SELECT " + _EVENT_COLUMNS + " FROM accesses WHERE op NOT IN ('', 'mark')"
    " AND minute >= {minute_from:UInt32} AND start_ns >= {since:UInt64}"
    " AND (empty({ops:Array(String)}) OR has({ops:Array(String)}, toString(op)))"
    " AND ({text:String} = '' OR positionCaseInsensitiveUTF8(concat(resource, ' ', agent, ' ', strand),"
    " {text:String}) > 0)"
    " ORDER BY start_ns DESC, open, end_ns DESC LIMIT {read:UInt32})"
    " LIMIT 1 BY trace_id, span_id LIMIT {limit:UInt32}" + _LIMITS
)
RESOURCES: Final = (
    "SELECT * FROM (SELECT resource, any(toString(system)) AS system, count() AS accesses,"
    " countIf(op IN ('write', 'delete', 'update')) AS writes, uniqExact(strand) AS strands,"
    " groupUniqArray(12)(agent) AS agents, arrayFilter(g -> g NOT IN ('', 'none'), groupUniqArray(8)(toString(guard)))"
    " AS guards, max(start_ns) AS last_ns, groupUniqArray(4)(toString(key_id)) AS keys"
    " FROM accesses WHERE op NOT IN ('', 'mark', 'model', 'spawn', 'join', 'begin', 'commit', 'abort')"
    " AND resource != '' AND minute >= {minute_from:UInt32} GROUP BY resource)"
    " WHERE ({system:String} = '' OR system = {system:String})"
    " AND ({text:String} = '' OR positionCaseInsensitiveUTF8(resource, {text:String}) > 0)"
    " ORDER BY strands > 1 DESC, writes DESC, resource LIMIT {limit:UInt32} OFFSET {skip:UInt64}" + _LIMITS
)
AGENTS: Final = (
    "SELECT agent, groupUniqArray(4)(service) AS services, count() AS accesses,"
    " countIf(op IN ('read', 'scan', 'update')) AS reads, countIf(op IN ('write', 'delete', 'update')) AS writes,"
    " uniq(resource_hash) AS resources, uniq(strand) AS strands, max(start_ns) AS last_ns"
    " FROM accesses WHERE op NOT IN ('', 'mark') AND agent != '' AND minute >= {minute_from:UInt32}"
    " GROUP BY agent ORDER BY writes DESC, agent LIMIT {limit:UInt32}" + _LIMITS
)
# what the versions of an agent's accesses through one library can prove
COVERAGE: Final = (
    "SELECT agent, replaceOne(toString(scope), 'noclobber.', '') AS library,"
    " groupUniqArray(6)(toString(system)) AS systems, count() AS accesses,"
    " countIf(op IN ('read', 'write', 'delete')) AS versioned,"
    " countIf((op = 'read' AND version_read != '') OR (op IN ('write', 'delete') AND version_written != '')) AS known,"
    " countIf(op IN ('write', 'delete')) AS writes, countIf(op IN ('write', 'delete') AND version_base != '') AS based,"
    " countIf(op IN ('write', 'delete') AND version_overwritten != '') AS replaced,"
    " countIf(toString(guard) NOT IN ('', 'none')) AS guarded, countIf(outcome = 'unknown') AS unknown,"
    " countIf(partial) AS partial FROM accesses WHERE op NOT IN ('', 'mark') AND agent != ''"
    " AND minute >= {minute_from:UInt32} GROUP BY agent, library ORDER BY accesses DESC, agent, library"
    " LIMIT {limit:UInt32}" + _LIMITS
)
# a mark travels forward in time only: the least time until it arrived bounds how far its clock is ahead or behind
CLOCKS: Final = (
    "SELECT toString(any(clock)) AS clock, toString(any(host)) AS host, groupUniqArray(4)(service) AS services,"
    " uniqExact(process) AS processes,"
    " min(toInt64(bitShiftRight(segment, 16)) - toInt64(intDiv(end_ns, 1000000))) AS least_ms"
    " FROM accesses WHERE op = 'mark' AND minute >= {minute_from:UInt32}"
    " GROUP BY accesses.clock, if(accesses.clock = '', accesses.host, '') ORDER BY least_ms LIMIT {limit:UInt32}"
    + _LIMITS
)
PROCESSES: Final = (
    "SELECT toString(process) AS process, any(service) AS service, any(host) AS host, any(pid) AS pid,"
    " any(toString(clock)) AS clock, groupUniqArray(4)(toString(key_id)) AS keys,"
    " maxIf(frontier_ns, op = 'mark') AS frontier_ns, maxIf(dropped, op = 'mark') AS dropped,"
    " maxIf(accesses, op = 'mark') AS announced, countIf(op != 'mark') AS received,"
    " max(end_ns) AS last_ns, groupUniqArrayIf(6)(agent, agent != '') AS agents"
    " FROM accesses WHERE op != '' AND minute >= {minute_from:UInt32}"
    " GROUP BY process ORDER BY last_ns DESC LIMIT {limit:UInt32}" + _LIMITS
)
HOLES: Final = (
    "SELECT process, sum(top - bottom + 1 - seen) AS holes FROM (SELECT toString(process) AS process, strand,"
    " max(seq) AS top, groupBitmap(toUInt64(seq)) AS seen,"
    " if((SELECT min(minute) FROM accesses) >= {minute_from:UInt32}, 1, min(seq)) AS bottom"
    " FROM accesses WHERE op NOT IN ('', 'mark') AND strand != '' AND seq > 0 AND minute >= {minute_from:UInt32}"
    " GROUP BY process, strand) GROUP BY process HAVING holes > 0 LIMIT {limit:UInt32}" + _LIMITS
)
# a strand's parent may lie before the window: only where the window holds everything is one known to be missing
ORPHANS: Final = (
    "SELECT toString(process) AS process, uniqExact(strand) AS strands FROM accesses"
    " WHERE strand_parent != '' AND strand_parent_seq > 0 AND minute >= {minute_from:UInt32}"
    " AND (SELECT min(minute) FROM accesses) >= {minute_from:UInt32}"
    " AND strand_parent NOT IN (SELECT strand FROM accesses WHERE op NOT IN ('', 'mark'))"
    " GROUP BY process ORDER BY process LIMIT {limit:UInt32}" + _LIMITS
)
ADDRESSES: Final = (
    "SELECT DISTINCT concat(splitByString('://', resource)[1], '://', server) AS authority, address FROM (SELECT"
    " resource, splitByChar('/', splitByString('://', resource)[2])[1] AS server,"
    " toString(network_peer_address) AS address FROM accesses WHERE network_peer_address != ''"
    " AND minute >= {minute_from:UInt32})"
    " ORDER BY authority, address LIMIT {limit:UInt32}" + _LIMITS
)
RATES: Final = (
    "SELECT minute, count() AS spans FROM accesses"
    " WHERE op NOT IN ('', 'mark') AND minute >= {minute_from:UInt32} GROUP BY minute ORDER BY minute" + _LIMITS
)
COUNT: Final = "SELECT count() AS rows FROM accesses WHERE minute >= {minute_from:UInt32}" + _LIMITS
TOTALS: Final = (
    "SELECT countIf(op NOT IN ('', 'mark')) AS accesses, countIf(op = '') AS foreign_spans,"
    " countIf(op = 'mark') AS marks, countIf(partial) AS partial, max(start_ns) AS last_ns"
    " FROM accesses WHERE minute >= {minute_from:UInt32}" + _LIMITS
)
DELIVERIES: Final = (
    "SELECT id, transition, endpoint, attempt, toString(phase) AS phase, at_ns, status, final, ok, elapsed_ms, answer"
    " FROM deliveries WHERE ({after_ns:UInt64} = 0 OR (at_ns, id) < ({after_ns:UInt64}, {after_id:String}))"
    " AND ({route:String} = '' OR endpoint = {route:String}) AND ({message:String} = '' OR id = {message:String})"
    " AND (empty({outcomes:Array(String)}) OR has({outcomes:Array(String)}, multiIf(toString(phase) != 'done',"
    " 'under_way', ok, 'delivered', final, 'given_up', 'failed')))"
    " AND ({issue:String} = '' OR transition IN (SELECT id FROM transitions WHERE issue = {issue:String}))"
    " ORDER BY at_ns DESC, id DESC LIMIT {limit:UInt32}" + _LIMITS
)
ROUTE_LOG: Final = (
    "SELECT * FROM (SELECT id, issue, at_ns, toString(kind) AS kind, toString(state) AS state, finding, actor, reason,"
    " body FROM transitions WHERE startsWith(toString(kind), 'route.') ORDER BY at_ns DESC, id DESC LIMIT 1 BY id)"
    " LIMIT {limit:UInt32}" + _LIMITS
)
_LOG_ROW: Final = (
    "SELECT id, issue, at_ns, toString(kind) AS kind, toString(state) AS state, finding, actor, reason, body"
    " FROM transitions"
)
OF_KINDS: Final = (
    _LOG_ROW + " WHERE toString(kind) IN {kinds:Array(String)}"
    " ORDER BY at_ns DESC, id DESC LIMIT 1 BY id LIMIT {limit:UInt32}" + _LIMITS
)
ACTS: Final = (
    _LOG_ROW + " WHERE actor NOT IN {ours:Array(String)}"
    " AND ({after_ns:UInt64} = 0 OR (at_ns, id) < ({after_ns:UInt64}, {after_id:String}))"
    " ORDER BY at_ns DESC, id DESC LIMIT 1 BY id LIMIT {limit:UInt32}" + _LIMITS
)
# a message arrived if any of its attempts did; it was given up if one was final and none arrived
_MESSAGES: Final = (
    "(SELECT d.id AS id, any(d.transition) AS transition, any(d.endpoint) AS endpoint, max(d.attempt) AS attempts,"
    " max(d.at_ns) AS at, argMax(d.status, d.at_ns) AS last_status, argMax(d.answer, d.at_ns) AS last_answer,"
    " max(d.ok) AS arrived, max(d.final) AND NOT max(d.ok) AS given_up, maxIf(d.at_ns, d.status = 410) AS gone_at"
    " FROM deliveries AS d WHERE toString(d.phase) = 'done' GROUP BY d.id)"
)
OUTCOMES: Final = (
    "SELECT endpoint, countIf(arrived) AS delivered, countIf(given_up) AS dead, max(at) AS last,"
    " argMax(m.last_status, m.at) AS last_status, argMax(m.last_answer, m.at) AS last_answer, max(gone_at) AS gone"
    " FROM " + _MESSAGES + " AS m GROUP BY endpoint ORDER BY endpoint LIMIT 1000" + _LIMITS
)
DEAD_LETTERS: Final = (
    "SELECT id, transition, endpoint, attempts, at, last_status, last_answer FROM " + _MESSAGES
    + " WHERE given_up ORDER BY at DESC, id LIMIT {limit:UInt32}" + _LIMITS
)  # fmt: skip
STORAGE: Final = (
    "SELECT name, ifNull(total_rows, 0) AS rows, ifNull(total_bytes, 0) AS bytes,"
    " toUInt32OrZero(extract(engine_full, 'toIntervalDay\\\\((\\\\d+)\\\\)')) AS days FROM system.tables"
    " WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY bytes DESC, name LIMIT 100" + _LIMITS
)
CURSORS: Final = (
    "SELECT * FROM (SELECT analyzer, at_ns, body FROM cursors ORDER BY at_ns DESC LIMIT 1 BY analyzer) LIMIT 100"
)
CURRENT_FILTERED: Final = _CURRENT + _FILTER + _NEWEST_FIRST + _LIMITS
# a finding that was taken back is retracted, whatever became of its issue
CURRENT_IN_STATE: Final = (
    _CURRENT + _FILTER + " AND if(status = 'retracted', has({states:Array(String)}, 'retracted'), " + _ISSUE_FITS + ")"
    + _NEWEST_FIRST + _LIMITS
)  # fmt: skip
