-- Rows come as ready columns (`noclobber_collector.flatten`), and are written and merged at less cost.
--
-- What only ClickHouse can compute is a default. A part as small as one insert is one file, not a hundred. Small parts
-- wait for company before they are merged: with segments of a quarter of a second each row was rewritten again and again.
-- One resource's rows lie scattered over every minute: granules and blocks are small, so that less is unpacked for them
-- (a table that was made with granules of 8,192 rows keeps these; it only answers more slowly).
-- Nobody read `minute_stats`, which every insert paid for; its table keeps what it has until that is too old.

ALTER TABLE accesses{on_cluster} MODIFY COLUMN resource_hash UInt64 DEFAULT cityHash64(resource);

ALTER TABLE accesses{on_cluster} MODIFY SETTING
    min_bytes_for_wide_part = 67108864,
    min_parts_to_merge_at_once = 8,
    min_compress_block_size = 16384;

DROP VIEW IF EXISTS accesses_to_minute_stats{on_cluster} SYNC;
