-- Several analyzers over one store: who judges which ranges of the resource hash, and what conflicts between them.
--
-- Append-only. Of an owner the row with the greatest beat counts: it holds the ranges named there under their epochs,
-- and all that had arrived up to the checkpoint is judged and written. Of two owners of a range the greater epoch
-- counts. Rows of `conflicts` are dependencies between units; more of them than needed only widens what is looked at.

CREATE TABLE IF NOT EXISTS leases{on_cluster}
(
    analyzer LowCardinality(String),
    owner String,
    beat UInt64,
    at_ns UInt64,
    leaving UInt8,
    ranges Array(UInt8),
    epochs Array(UInt64),
    checkpoint String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (analyzer, at_ns, owner)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 2 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS conflicts{on_cluster}
(
    owner String,
    source String CODEC(ZSTD(1)),
    target String CODEC(ZSTD(1)),
    type LowCardinality(String),
    resource String CODEC(ZSTD(1)),
    at_ns UInt64
)
ENGINE = MergeTree
ORDER BY (at_ns, resource, source, target)
TTL toDateTime(intDiv(at_ns, 1000000000)) + INTERVAL 2 DAY DELETE
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
