-- Thirty-two parts at least in a merge: what live analysis has not read yet lies in small parts for longer.
--
-- Rows that were merged cost four times as much to read by segment, so who falls behind by more than the time that rows
-- lie unmerged, falls behind further. With sixteen parts that was twenty seconds at 25,000 accesses a second.

ALTER TABLE accesses{on_cluster} MODIFY SETTING min_parts_to_merge_at_once = 32;
