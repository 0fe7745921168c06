"""How long each table keeps its rows, as its owner sets it.

Every table has a TTL from the start; what is set here changes it, when a store is prepared. What is not set stays as it
is in the store: a command on another machine, without these variables, must not bring back the default. `accesses` has
a part for each day of arrival, dropped whole when its day has run out, which frees the disk at once and costs nothing.

Source: storage.md 8 of the design; ClickHouse, "Manage Data with TTL".
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from noclobber_collector.errors import StoreUnusableError

if TYPE_CHECKING:
    from noclobber_collector.store import Store

__all__ = ["KEPT", "keep", "kept_days", "wanted_days"]

_BY_ARRIVAL: Final = "arrived"
_BY_NS: Final = "toDateTime(intDiv({}, 1000000000))"
KEPT: Final[Mapping[str, Mapping[str, str]]] = {
    "keep_accesses_days": {
        "accesses": _BY_ARRIVAL,
        "ingest": _BY_NS.format("loaded_ns"),
        "defended": _BY_NS.format("at_ns"),
    },
    "keep_findings_days": {"findings": _BY_NS.format("found_ns")},
    "keep_issues_days": {"transitions": _BY_NS.format("at_ns")},
    "keep_deliveries_days": {"deliveries": _BY_NS.format("at_ns")},
}
"""Setting -> its tables, each with the time that its rows have."""
VARIABLES: Final[Mapping[str, str]] = {
    "keep_accesses_days": "NOCLOBBER_KEEP_ACCESSES_DAYS",
    "keep_findings_days": "NOCLOBBER_KEEP_FINDINGS_DAYS",
    "keep_issues_days": "NOCLOBBER_KEEP_ISSUES_DAYS",
    "keep_deliveries_days": "NOCLOBBER_KEEP_DELIVERIES_DAYS",
}
"""Setting -> the variable that comes before the file."""
DAYS_MAX: Final = 36_500
CHANGE: Final = "ALTER TABLE {table}{on_cluster} MODIFY TTL {time} + INTERVAL {days} DAY DELETE"
NOW: Final = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"
_DAYS: Final = re.compile(r"\bTTL .*?toIntervalDay\((\d+)\)")


def wanted_days(environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """Days by setting, of those that are set: by variable, else in the table `[noclobber]` of the file.

    Raises:
        StoreUnusableError: one that is no number of days.
    """
    env = os.environ if environment is None else environment
    table = _table(env.get("NOCLOBBER_CONFIG"))
    found = {}
    for name, variable in VARIABLES.items():
        value = env.get(variable) or table.get(name)
        if value is None:
            continue
        if not str(value).isdecimal() or not 1 <= int(value) <= DAYS_MAX:
            raise StoreUnusableError(f"{name} is {value!r}: it must be a number of days, from 1 to {DAYS_MAX}")
        found[name] = int(value)
    return found


def keep(store: "Store", days: Mapping[str, int]) -> list[str]:
    """Change the TTL of the tables whose setting differs from what they have; returns the tables changed."""
    if not days:
        return []
    now = _days_now(store)
    changed = []
    for setting, count in days.items():
        for table, time in KEPT[setting].items():
            if now.get(store.local(table)) != count:
                store.alter(CHANGE, table, time=time, days=str(count))
                changed.append(table)
    return changed


def kept_days(store: "Store", table: str) -> int | None:
    """For how many days the store keeps the rows of a table; None: for ever, or it can't be told."""
    return _days_now(store).get(store.local(table))


def _days_now(store: "Store") -> dict[str, int]:
    found = ((str(name), _DAYS.search(str(engine))) for name, engine in store.rows(NOW))
    return {name: int(days[1]) for name, days in found if days}


def _table(path: str | None) -> Mapping[str, Any]:
    """The table `[noclobber]` of the configuration file; what is wrong with it is said by who declares resources."""
    if not path:
        return {}
    try:
        found = tomllib.loads(Path(path).read_text()).get("noclobber", {})
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
