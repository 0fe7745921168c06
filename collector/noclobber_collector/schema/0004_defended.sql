-- Accesses that raced and did no harm, with what defended them.
--
-- Append-only: of the rows of one (trace_id, span_id) the newest counts, and one with an empty reason takes it back
-- (what arrived later accuses the access). `defences` reads it so.

CREATE TABLE IF NOT EXISTS defended{on_cluster}
(
    trace_id String,
    span_id String,
    reason LowCardinality(String),
    resource String CODEC(ZSTD(1)),
    agent String CODEC(ZSTD(1)),
    start_ns UInt64,
    at_ns UInt64
)
ENGINE = MergeTree
ORDER BY (trace_id, span_id, at_ns)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 30 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS defences{on_cluster} AS
SELECT
    trace_id,
    span_id,
    argMax(defended.reason, defended.at_ns) AS reason,
    any(defended.resource) AS resource,
    any(defended.agent) AS agent,
    any(defended.start_ns) AS start_ns,
    max(defended.at_ns) AS at_ns
FROM defended
GROUP BY trace_id, span_id
HAVING reason != '';
