"""Makes the bytes of deleted rows go from disk, not only out of sight.

A lightweight DELETE masks rows at once and leaves their bytes in the parts; what is rewritten leaves the old parts lie
for minutes, against a power cut; and the statements themselves, with what they named, are kept beside the parts. Here
the masked parts are rewritten, the old ones and the statements removed, and the caller is told when none is left. On a
cluster that runs on every shard; whether it is through can be seen of the replica that one is connected to only.

Source: storage.md 10 of the design; ClickHouse, "Lightweight DELETE", "APPLY DELETED MASK".
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Final

from noclobber_collector.ddl import LOCAL
from noclobber_collector.errors import StoreError
from noclobber_collector.store import Store

__all__ = ["WAIT_MAX_S", "purge"]

REWRITE: Final = "ALTER TABLE {table}{on_cluster} APPLY DELETED MASK SETTINGS mutations_sync = 2"
# Of finished statements the newest is kept, which is the one above and names nothing; 0 would keep all.
AT_ONCE: Final = "ALTER TABLE {table}{on_cluster} MODIFY SETTING old_parts_lifetime = 0, finished_mutations_to_keep = 1"
AS_BEFORE: Final = "ALTER TABLE {table}{on_cluster} RESET SETTING old_parts_lifetime, finished_mutations_to_keep"
LEFT: Final = (
    "SELECT (SELECT count() FROM system.parts WHERE database = currentDatabase() AND table IN {tables:Array(String)} "
    "AND NOT active) + (SELECT count() FROM system.mutations WHERE database = currentDatabase() "
    "AND table IN {tables:Array(String)} AND position(command, 'APPLY DELETED MASK') = 0)"
)
WAIT_MAX_S: Final = 180.0
POLL_S: Final = 0.5


def purge(store: Store, tables: Sequence[str], wait_max_s: float = WAIT_MAX_S) -> bool:
    """Rewrite the parts of some tables without what was deleted; whether the old ones were gone in time.

    Args:
        store: holds them.
        tables: of ours.
        wait_max_s: longest wait for the old parts; they go by themselves later, within minutes.
    """
    for table in tables:
        store.alter(REWRITE, table)
    try:
        for table in tables:
            store.alter(AT_ONCE, table)
        deadline = time.monotonic() + wait_max_s
        names = [*tables, *(table + LOCAL for table in tables)]
        while store.rows(LEFT, {"tables": names}) != [(0,)]:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
        return True
    finally:
        for table in tables:
            with contextlib.suppress(StoreError):  # it only means that old parts go sooner
                store.alter(AS_BEFORE, table)
