-- What else OTLP says of a span: flags, how much was dropped before it was sent, attributes of its scope, schemas.
--
-- Few spans say any of it, and what nobody says costs next to nothing: a list that belongs to events or links is empty
-- where it would hold nothing but zeros. The exporter's table has no columns for these; in `otel_traces` they stand behind
-- its own, by the names that it gives them in its tables of metrics and logs.

ALTER TABLE accesses{on_cluster}
    ADD COLUMN IF NOT EXISTS flags UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS dropped_attributes UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS dropped_events UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS dropped_links UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS event_dropped Array(UInt32) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS link_flags Array(UInt32) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS link_dropped Array(UInt32) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS scope_rest Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS scope_dropped UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS scope_schema LowCardinality(String),
    ADD COLUMN IF NOT EXISTS resource_dropped UInt32 CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS resource_schema LowCardinality(String),
    ADD COLUMN IF NOT EXISTS resource_entities Array(Tuple(schema_url String, type String, id_keys Array(String),
        description_keys Array(String)));

DROP VIEW IF EXISTS incoming_to_accesses{on_cluster} SYNC;

DROP TABLE IF EXISTS incoming{on_cluster} SYNC;

CREATE TABLE IF NOT EXISTS incoming{on_cluster}
(
    resource_spans Array(Tuple(
        resource Tuple(
            attributes {attributes},
            dropped_attributes_count UInt32,
            entity_refs Array(Tuple(schema_url String, type String, id_keys Array(String),
                description_keys Array(String)))
        ),
        scope_spans Array(Tuple(
            scope Tuple(name String, version String, attributes {attributes}, dropped_attributes_count UInt32),
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
                dropped_attributes_count UInt32,
                events Array(Tuple(time_unix_nano UInt64, name String, attributes {attributes},
                    dropped_attributes_count UInt32)),
                dropped_events_count UInt32,
                links Array(Tuple(trace_id String, span_id String, trace_state String, attributes {attributes},
                    dropped_attributes_count UInt32, flags UInt32)),
                dropped_links_count UInt32,
                status Tuple(message String, code Int32),
                flags UInt32
            )),
            schema_url String
        )),
        schema_url String
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
    flags,
    dropped_attributes,
    dropped_events,
    dropped_links,
    event_dropped,
    link_flags,
    link_dropped,
    scope_rest,
    scope_dropped,
    scope_schema,
    resource_dropped,
    resource_schema,
    resource_entities,
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
        scope_rest,
        scope_dropped,
        scope_schema,
        resource_dropped,
        resource_schema,
        resource_entities,
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
        span.flags AS flags,
        span.dropped_attributes_count AS dropped_attributes,
        span.dropped_events_count AS dropped_events,
        span.dropped_links_count AS dropped_links,
        arrayMap(e -> e.dropped_attributes_count, span.events) AS of_events,
        if(arraySum(of_events) = 0, [], of_events) AS event_dropped,
        arrayMap(k -> k.flags, span.links) AS of_links,
        if(arraySum(of_links) = 0, [], of_links) AS link_flags,
        arrayMap(k -> k.dropped_attributes_count, span.links) AS dropped_of_links,
        if(arraySum(dropped_of_links) = 0, [], dropped_of_links) AS link_dropped,
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
            each_scope.scope.attributes AS attributes,
            {resource_texts} AS scope_rest,
            each_scope.scope.dropped_attributes_count AS scope_dropped,
            each_scope.schema_url AS scope_schema,
            resource_dropped,
            resource_schema,
            resource_entities,
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
                one.resource.dropped_attributes_count AS resource_dropped,
                one.resource.entity_refs AS resource_entities,
                one.schema_url AS resource_schema,
                arrayJoin(one.scope_spans) AS each_scope
            FROM incoming
        )
    )
);

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
    CAST(link_attributes, 'Array(Map(LowCardinality(String), String))') AS `Links.Attributes`,
    resource_schema AS ResourceSchemaUrl,
    resource_dropped AS ResourceDroppedAttrCount,
    resource_entities AS ResourceEntities,
    scope_rest AS ScopeAttributes,
    scope_dropped AS ScopeDroppedAttrCount,
    scope_schema AS ScopeSchemaUrl,
    flags AS TraceFlags,
    dropped_attributes AS DroppedAttributesCount,
    dropped_events AS DroppedEventsCount,
    dropped_links AS DroppedLinksCount,
    if(empty(event_dropped), arrayMap(e -> toUInt32(0), events), event_dropped) AS `Events.DroppedAttributesCount`,
    if(empty(link_flags), arrayMap(t -> toUInt32(0), link_trace_ids), link_flags) AS `Links.TraceFlags`,
    if(empty(link_dropped), arrayMap(t -> toUInt32(0), link_trace_ids), link_dropped) AS `Links.DroppedAttributesCount`
FROM accesses
WHERE op != 'mark';
