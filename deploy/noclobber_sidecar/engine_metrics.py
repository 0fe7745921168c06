"""What an engine tells operators beside its dashboard: figures of its loader, of live analysis and of the alerts."""

from collections.abc import Sequence
from typing import Any, Final

from starlette.routing import BaseRoute

from noclobber_analyzer.metrics import ANALYZER, Record, of_analyzer, of_sender
from noclobber_analyzer.probes import probes
from noclobber_collector.metrics import COLLECTOR, Values
from noclobber_collector.store import Store

__all__ = ["ENGINE", "engine_routes"]

LOADER: Final = tuple(
    row for row in COLLECTOR if row.source == "loader" and row.name != "noclobber_loader_seen_seconds"
)
ENGINE: Final = (*LOADER, *ANALYZER)
"""Everything that an engine tells on its /metrics."""


def engine_routes(store: Store, loader: Any, analyzer: Any, sender: Any) -> Sequence[BaseRoute]:
    """`/live`, `/ready` and `/metrics` over an engine's workers."""
    record = Record(store)

    def values() -> Values:
        return {**loader.values(), **of_analyzer(analyzer.stats()), **of_sender(sender.health()), **record.values()}

    return probes(ENGINE, values, {"loader": loader, "analyzer": analyzer})
