-- Other people's names for the same rows, and small sums for charts.

CREATE VIEW IF NOT EXISTS otel_traces{on_cluster} AS
SELECT
    fromUnixTimestamp64Nano(toInt64(start_ns)) AS Timestamp,
    lower(hex(trace_id)) AS TraceId,
    lower(hex(span_id)) AS SpanId,
    if(parent_span_id = toFixedString('', 8), '', lower(hex(parent_span_id))) AS ParentSpanId,
    trace_state AS TraceState,
    span_name AS SpanName,
    transform(span_kind, [0, 1, 2, 3, 4, 5],
        ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'], '') AS SpanKind,
    service AS ServiceName,
    mapConcat(CAST(resource_rest, 'Map(String, String)'),
        mapFilter((k, v) -> v NOT IN ('', '0'), map({process_as_map}))) AS ResourceAttributes,
    scope AS ScopeName,
    scope_version AS ScopeVersion,
    mapConcat(
        mapFilter((k, v) -> v != '', map({columns_as_map})),
        rest,
        mapApply((k, v) -> (k, toString(v)), rest_ints),
        mapApply((k, v) -> (k, if(v = 1, 'true', 'false')), rest_bools),
        mapApply((k, v) -> (k, toString(v)), rest_doubles),
        rest_others) AS SpanAttributes,
    toUInt64(greatest(toInt64(end_ns) - toInt64(start_ns), 0)) AS Duration,
    transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], '') AS StatusCode,
    status_message AS StatusMessage,
    arrayMap(e -> fromUnixTimestamp64Nano(toInt64(e.at_ns)), events) AS `Events.Timestamp`,
    arrayMap(e -> e.name, events) AS `Events.Name`,
    arrayMap(e -> e.attributes, events) AS `Events.Attributes`,
    arrayMap(t -> lower(hex(t)), link_trace_ids) AS `Links.TraceId`,
    arrayMap(t -> lower(hex(t)), link_span_ids) AS `Links.SpanId`,
    link_states AS `Links.TraceState`,
    link_attributes AS `Links.Attributes`
FROM accesses
WHERE op != 'mark';

CREATE TABLE IF NOT EXISTS minute_stats{on_cluster}
(
    arrived Date,
    minute UInt32,
    resource String,
    operations SimpleAggregateFunction(sum, UInt64),
    writes SimpleAggregateFunction(sum, UInt64),
    agents AggregateFunction(uniq, String)
)
ENGINE = AggregatingMergeTree
PARTITION BY arrived
ORDER BY (minute, resource)
TTL arrived + INTERVAL 90 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS accesses_to_minute_stats{on_cluster} TO minute_stats AS
SELECT
    toDate(fromUnixTimestamp64Milli(toInt64(bitShiftRight(segment, 16)))) AS arrived,
    minute,
    resource,
    count() AS operations,
    countIf(op IN ('write', 'delete', 'update')) AS writes,
    uniqState(agent) AS agents
FROM accesses
WHERE op NOT IN ('', 'mark')
GROUP BY arrived, minute, resource;

CREATE VIEW IF NOT EXISTS processes{on_cluster} AS
SELECT
    process,
    any(service) AS service,
    any(host) AS host,
    any(pid) AS pid,
    any(clock) AS clock,
    any(clock_offset_ns) AS clock_offset_ns,
    groupUniqArray(key_id) AS key_ids,
    max(ifNull(frontier_ns, 0)) AS frontier_ns,
    max(ifNull(accesses, 0)) AS accesses,
    max(ifNull(dropped, 0)) AS dropped,
    max(end_ns) AS last_ns
FROM accesses
WHERE op = 'mark'
GROUP BY process;
