-- Segments of which rows were deleted because a person asked for it.
--
-- A collector that starts counts again what it has loaded lately, and loads anew what is not whole. What stands here is
-- not whole because it must not be.

CREATE TABLE IF NOT EXISTS forgotten{on_cluster}
(
    collector LowCardinality(String),
    segment UInt64,
    at_ns UInt64
)
ENGINE = MergeTree
ORDER BY (collector, segment)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 30 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
