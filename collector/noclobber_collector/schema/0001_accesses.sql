-- The accesses: one physical table, filled by ClickHouse itself from OTLP bytes.
--
-- `incoming` takes ExportTraceServiceRequests as they came (FORMAT Protobuf, shape in otlp.proto) and keeps nothing; the
-- view below it flattens them, from the inside out: resources, scopes, spans, attributes by type, columns. Names in
-- braces are filled in from the table of columns in `noclobber_collector.columns`. One segment of the spool becomes one
-- part, and the partition is the day of arrival, so late spans of another day never split it.

CREATE TABLE IF NOT EXISTS accesses{on_cluster}
(
    collector LowCardinality(String),
    segment UInt64 CODEC(Delta, ZSTD(1)),
    row UInt64 CODEC(Delta, ZSTD(1)),
    minute UInt32 CODEC(DoubleDelta, ZSTD(1)),
    start_ns UInt64 CODEC(DoubleDelta, ZSTD(1)),
    end_ns UInt64 CODEC(DoubleDelta, ZSTD(1)),
    trace_id FixedString(16),
    span_id FixedString(8),
    parent_span_id FixedString(8),
    {process_columns},
    scope LowCardinality(String),
    scope_version LowCardinality(String),
    span_name LowCardinality(String),
    {columns},
    span_kind Int8,
    trace_state String,
    status_code Int8,
    status_message String,
    events Array(Tuple(at_ns UInt64, name String, attributes Map(String, String))),
    link_trace_ids Array(FixedString(16)),
    link_span_ids Array(FixedString(8)),
    link_edges Array(String),
    link_states Array(String),
    link_attributes Array(Map(String, String)),
    rest Map(String, String) CODEC(ZSTD(1)),
    rest_ints Map(String, Int64) CODEC(ZSTD(1)),
    rest_bools Map(String, UInt8) CODEC(ZSTD(1)),
    rest_doubles Map(String, Float64) CODEC(ZSTD(1)),
    rest_others Map(String, String) CODEC(ZSTD(1)),
    resource_rest Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    resource_hash UInt64,
    arrived Date DEFAULT toDate(fromUnixTimestamp64Milli(toInt64(bitShiftRight(segment, 16)))),
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_segment segment TYPE minmax GRANULARITY 1,
    INDEX by_strand strand TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY arrived
ORDER BY (minute, resource_hash, start_ns, trace_id, span_id)
TTL arrived + INTERVAL 30 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1,
    non_replicated_deduplication_window = 1000, index_granularity = 4096;

CREATE TABLE IF NOT EXISTS incoming{on_cluster}
(
    resource_spans Array(Tuple(
        resource Tuple(attributes {attributes}),
        scope_spans Array(Tuple(
            scope Tuple(name String, version String),
            spans Array(Tuple(
                trace_id String,
                span_id String,
                trace_state String,
                parent_span_id String,
                name String,
                kind Int32,
                start_time_unix_nano UInt64,
                end_time_unix_nano UInt64,
                attributes {attributes},
                events Array(Tuple(time_unix_nano UInt64, name String, attributes {attributes})),
                links Array(Tuple(trace_id String, span_id String, trace_state String, attributes {attributes})),
                status Tuple(message String, code Int32)
            ))
        ))
    )),
    nc_segment UInt64,
    nc_number UInt64,
    nc_crc UInt32,
    nc_collector String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS incoming_to_accesses{on_cluster} TO accesses AS
SELECT
    collector,
    segment,
    toUInt64(rowNumberInAllBlocks()) AS row,
    toUInt32(intDiv(start_ns, 60000000000)) AS minute,
    start_ns,
    end_ns,
    trace_id,
    span_id,
    parent_span_id,
    {process_names},
    scope,
    scope_version,
    span_name,
    {picked},
    span_kind,
    trace_state,
    status_code,
    status_message,
    events,
    link_trace_ids,
    link_span_ids,
    link_edges,
    link_states,
    link_attributes,
    mapFilter((k, v) -> k NOT IN ({known_texts}), s) AS rest,
    mapFilter((k, v) -> k NOT IN ({known_numbers}), i) AS rest_ints,
    mapFilter((k, v) -> k NOT IN ({known_truths}), b) AS rest_bools,
    rest_doubles,
    mapFilter((k, v) -> k NOT IN ({known_lists}), o) AS rest_others,
    resource_rest,
    cityHash64(resource) AS resource_hash
FROM
(
    SELECT
        collector,
        segment,
        {process_names},
        resource_rest,
        scope,
        scope_version,
        toFixedString(if(length(span.trace_id) = 16, span.trace_id, ''), 16) AS trace_id,
        toFixedString(if(length(span.span_id) = 8, span.span_id, ''), 8) AS span_id,
        toFixedString(if(length(span.parent_span_id) = 8, span.parent_span_id, ''), 8) AS parent_span_id,
        span.name AS span_name,
        span.start_time_unix_nano AS start_ns,
        span.end_time_unix_nano AS end_ns,
        toInt8(span.kind) AS span_kind,
        span.trace_state AS trace_state,
        toInt8(span.status.code) AS status_code,
        span.status.message AS status_message,
        arrayMap(e -> (e.time_unix_nano, e.name, {event_texts}), span.events) AS events,
        arrayMap(k -> toFixedString(if(length(k.trace_id) = 16, k.trace_id, ''), 16), span.links) AS link_trace_ids,
        arrayMap(k -> toFixedString(if(length(k.span_id) = 8, k.span_id, ''), 8), span.links) AS link_span_ids,
        arrayMap(k -> k.trace_state, span.links) AS link_states,
        arrayMap(k -> {link_texts}, span.links) AS link_attributes,
        arrayMap(m -> m['noclobber.edge'], link_attributes) AS link_edges,
        span.attributes AS attributes,
        {texts} AS s,
        {numbers} AS i,
        {truths} AS b,
        {doubles} AS rest_doubles,
        {lists} AS l,
        {others} AS o
    FROM
    (
        SELECT
            collector,
            segment,
            {process_names},
            resource_rest,
            each_scope.scope.name AS scope,
            each_scope.scope.version AS scope_version,
            arrayJoin(each_scope.spans) AS span
        FROM
        (
            SELECT
                nc_collector AS collector,
                nc_segment AS segment,
                arrayJoin(resource_spans) AS one,
                one.resource.attributes AS attributes,
                {texts} AS rs,
                {numbers} AS ri,
                {picked_of_process},
                mapFilter((k, v) -> k NOT IN ({known_of_process}), {resource_texts}) AS resource_rest,
                arrayJoin(one.scope_spans) AS each_scope
            FROM incoming
        )
    )
);
