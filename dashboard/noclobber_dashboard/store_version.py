"""Has anything been written since? One cheap question instead of all that a page asks.

ClickHouse numbers the blocks that are inserted into a table, and keeps the numbers with the parts in memory: the
highest of each table, with its rows, changes with every insert, and with what is deleted or merged away. Where tables
are spread over a cluster one server knows only its own parts, so that nothing is said there.

Source: ClickHouse, "system.parts".
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from noclobber_collector.errors import StoreError

__all__ = ["store_version"]

_PARTS: Final = (
    "SELECT table, max(max_block_number) AS block, sum(rows) AS kept FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
)
_ELSEWHERE: Final = (
    "SELECT count() AS tables FROM system.tables WHERE database = currentDatabase() AND engine = 'Distributed'"
)


class _Reader(Protocol):
    def dicts(self, sql: str, parameters: Mapping[str, object] = ..., /) -> list[dict[str, Any]]: ...


def store_version(store: _Reader) -> tuple[object, ...] | None:
    """Equal as long as nothing was written; None where that cannot be told."""
    try:
        parts = store.dicts(_PARTS, {})
        if not parts or store.dicts(_ELSEWHERE, {})[0]["tables"]:
            return None
    except (StoreError, LookupError):
        return None
    return tuple((row["table"], row["block"], row["kept"]) for row in parts)
