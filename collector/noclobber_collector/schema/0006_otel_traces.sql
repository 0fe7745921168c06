-- `otel_traces` with the exporter's types to the letter, and ids that are not there as empty text.
--
-- Columns, types and the text of kinds, codes and values are those of the OpenTelemetry Collector's ClickHouse exporter,
-- so that what was built for its table (Grafana, HyperDX, own SQL) reads this view without a change.

CREATE OR REPLACE VIEW otel_traces{on_cluster} AS
SELECT
    fromUnixTimestamp64Nano(toInt64(start_ns)) AS Timestamp,
    if(trace_id = toFixedString('', 16), '', lower(hex(trace_id))) AS TraceId,
    if(span_id = toFixedString('', 8), '', lower(hex(span_id))) AS SpanId,
    if(parent_span_id = toFixedString('', 8), '', lower(hex(parent_span_id))) AS ParentSpanId,
    trace_state AS TraceState,
    span_name AS SpanName,
    CAST(transform(span_kind, [0, 1, 2, 3, 4, 5],
        ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'], ''), 'LowCardinality(String)') AS SpanKind,
    service AS ServiceName,
    CAST(mapConcat(CAST(resource_rest, 'Map(String, String)'),
        mapFilter((k, v) -> v NOT IN ('', '0'), map({process_as_map}))),
        'Map(LowCardinality(String), String)') AS ResourceAttributes,
    CAST(scope, 'String') AS ScopeName,
    CAST(scope_version, 'String') AS ScopeVersion,
    CAST(mapConcat(
        mapFilter((k, v) -> v != '', map({columns_as_map})),
        rest,
        mapApply((k, v) -> (k, toString(v)), rest_ints),
        mapApply((k, v) -> (k, if(v = 1, 'true', 'false')), rest_bools),
        mapApply((k, v) -> (k, toString(v)), rest_doubles),
        rest_others),
        'Map(LowCardinality(String), String)') AS SpanAttributes,
    toUInt64(greatest(toInt64(end_ns) - toInt64(start_ns), 0)) AS Duration,
    CAST(transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], ''), 'LowCardinality(String)') AS StatusCode,
    status_message AS StatusMessage,
    arrayMap(e -> fromUnixTimestamp64Nano(toInt64(e.at_ns)), events) AS `Events.Timestamp`,
    CAST(arrayMap(e -> e.name, events), 'Array(LowCardinality(String))') AS `Events.Name`,
    CAST(arrayMap(e -> e.attributes, events), 'Array(Map(LowCardinality(String), String))') AS `Events.Attributes`,
    arrayMap(t -> if(t = toFixedString('', 16), '', lower(hex(t))), link_trace_ids) AS `Links.TraceId`,
    arrayMap(t -> if(t = toFixedString('', 8), '', lower(hex(t))), link_span_ids) AS `Links.SpanId`,
    link_states AS `Links.TraceState`,
    CAST(link_attributes, 'Array(Map(LowCardinality(String), String))') AS `Links.Attributes`
FROM accesses
WHERE op != 'mark';
