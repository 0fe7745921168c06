-- What was found, what became of it, what was delivered, how far analyzers are, which segments are here.
--
-- All of it is append-only: the current state is the newest row, or the log replayed. One insert is atomic.

CREATE TABLE IF NOT EXISTS findings{on_cluster}
(
    id String,
    revision UInt32,
    issue String,
    kind LowCardinality(String),
    certainty LowCardinality(String),
    severity LowCardinality(String),
    manifest UInt8,
    status LowCardinality(String),
    resource String,
    agents Array(String),
    first_ns UInt64,
    last_ns UInt64,
    found_ns UInt64,
    body String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (id, revision)
TTL toDateTime(intDiv(found_ns, 1000000000)) + INTERVAL 400 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS transitions{on_cluster}
(
    id String,
    issue String,
    at_ns UInt64,
    kind LowCardinality(String),
    state LowCardinality(String),
    finding String,
    actor String,
    reason String,
    body String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (issue, at_ns, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS deliveries{on_cluster}
(
    id String,
    transition String,
    endpoint String,
    attempt UInt32,
    phase LowCardinality(String),
    at_ns UInt64,
    status Int32,
    final UInt8,
    ok UInt8,
    elapsed_ms Float64,
    answer String
)
ENGINE = MergeTree
ORDER BY (transition, endpoint, attempt, at_ns)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 90 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS cursors{on_cluster}
(
    analyzer String,
    at_ns UInt64,
    body String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (analyzer, at_ns)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 2 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS ingest{on_cluster}
(
    collector LowCardinality(String),
    segment UInt64,
    attempt UInt32,
    spooled UInt64,
    stored UInt64,
    loaded_ns UInt64
)
ENGINE = MergeTree
ORDER BY (collector, segment)
TTL toDateTime(intDiv(loaded_ns, 1000000000)) + INTERVAL 30 DAY DELETE
SETTINGS ttl_only_drop_parts = 1;
