-- Retention that frees disk.
--
-- Parts of these tables hold rows of many days, so a part whose rows have all run out is never seen: they are rewritten
-- without what ran out. (`accesses` and `minute_stats` have a part for each day of arrival, which is dropped whole.)
-- `transitions` are the states of issues and who decided them, some rows an issue: they stay until somebody sets a limit.
-- What was replaced is looked for every few seconds, not after half a minute and more.

ALTER TABLE findings{on_cluster} MODIFY SETTING ttl_only_drop_parts = 0, cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE ingest{on_cluster} MODIFY SETTING ttl_only_drop_parts = 0, cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE transitions{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE deliveries{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE cursors{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE defended{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE conflicts{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE accesses{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;

ALTER TABLE minute_stats{on_cluster} MODIFY SETTING cleanup_delay_period = 5, max_cleanup_delay_period = 10;
