"""Whose services had part in an issue: those that sent the accesses of its newest finding's witness.

A finding names agents, not services, since a service is where an agent runs and not who it is (contract 2 and 3); a
route that asks for services has them looked up in the stored accesses, by what these are ordered by.
"""

from collections.abc import Mapping
from typing import Any, Final

from noclobber_analyzer.tables import Store

__all__ = ["services_of"]

MINUTE_NS: Final = 60_000_000_000
_SERVICES: Final = (
    "SELECT DISTINCT service FROM accesses WHERE minute IN {minutes:Array(UInt32)}"
    " AND resource_hash IN (SELECT cityHash64(arrayJoin({resources:Array(String)})))"
    " AND lower(hex(trace_id)) || lower(hex(span_id)) IN {spans:Array(String)} AND service != ''"
    " ORDER BY service LIMIT 100 SETTINGS max_execution_time = 10"
)


def services_of(store: Store, data: Mapping[str, object]) -> tuple[str, ...]:
    """The services behind an issue (contract 3); empty where none can be told, since the accesses are gone."""
    newest = data.get("newest")
    told = newest.get("accesses") if isinstance(newest, dict) else None
    accesses: list[Mapping[str, Any]] = [each for each in told if isinstance(each, dict)] if told else []
    if not accesses:
        return ()
    asked = {
        "minutes": sorted({int(each.get("start_ns", 0)) // MINUTE_NS for each in accesses}),
        "resources": sorted({str(each.get("resource", "")) for each in accesses}),
        "spans": sorted({f"{each.get('trace_id', '')}{each.get('span_id', '')}".lower() for each in accesses}),
    }
    return tuple(str(row[0]) for row in store.rows(_SERVICES, asked))
