"""What an engine tells operators: `/live`, `/ready` and `/metrics` beside the dashboard.

Alive is who answers. Ready is an engine whose loader and analyzer run. Metrics are what the workers counted, and what
the store tells of the last minutes: how far each process is complete, holes, keys, findings. Asking the store is
bounded to what arrived lately, and done anew twice a minute at most, however often somebody scrapes.

Source: alerts-and-safety.md, section 12 of the design.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.operation import ANALYZER, of_analyzer
from noclobber_collector.errors import StoreError
from noclobber_collector.metrics import COLLECTOR, CONTENT_TYPE, Metric, Values, exposition
from noclobber_collector.store import Store

__all__ = ["ENGINE", "engine_routes"]

WINDOW_S: Final = 300
"""What arrived within so long is looked at for holes, frontiers and keys."""
SETTLED_S: Final = 30
"""What may still come: holes of so late are none yet."""
ASK_EVERY_S: Final = 30.0

LOADER: Final = tuple(
    row for row in COLLECTOR if row.source == "loader" and row.name != "noclobber_loader_seen_seconds"
)
ENGINE: Final = (
    *LOADER,
    *ANALYZER,
    Metric("noclobber_frontier_lag_seconds", "gauge", "seconds",
           "Age of what a process has vouched for last; of those that are not ended", "store", "process"),
    Metric("noclobber_seq_holes", "gauge", "accesses",
           "Accesses of the last minutes that were numbered and never arrived", "store"),
    Metric("noclobber_key_ids", "gauge", "keys",
           "Keys of fingerprints in use; prints of more than one do not compare", "store"),
    Metric("noclobber_findings", "gauge", "findings", "Findings that stand", "store", "kind"),
)  # fmt: skip
"""Everything that an engine tells on its /metrics."""

FRONTIERS: Final = (
    "SELECT process, max(ifNull(frontier_ns, 0)) AS frontier FROM accesses WHERE op = 'mark' "
    "AND segment >= {since:UInt64} GROUP BY process HAVING frontier < {ended:UInt64} ORDER BY frontier LIMIT 200"
)
HOLES: Final = (
    "SELECT sum(top - low + 1 - seen) FROM (SELECT max(seq) AS top, min(seq) AS low, uniqExact(seq) AS seen "
    "FROM accesses WHERE op NOT IN ('', 'mark') AND strand != '' AND segment >= {since:UInt64} "
    "AND segment < {until:UInt64} GROUP BY process, strand)"
)
KEYS: Final = "SELECT uniqExact(key_id) FROM accesses WHERE op = 'mark' AND key_id != '' AND segment >= {since:UInt64}"
FINDINGS: Final = (
    "SELECT kind, count() FROM (SELECT argMax(kind, revision) AS kind, argMax(status, revision) AS status "
    "FROM findings GROUP BY id) WHERE status = 'open' GROUP BY kind"
)


class _Record:
    """What the store tells, as of half a minute ago at most; while it does not answer, nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked_at = -ASK_EVERY_S
        self._values: Values = {}

    def values(self) -> Values:
        with self._lock:
            if time.monotonic() - self._asked_at >= ASK_EVERY_S:
                self._asked_at = time.monotonic()
                try:
                    self._values = self._ask()
                except StoreError:
                    self._values = {}
            return self._values

    def _ask(self) -> Values:
        now_s = time.time()
        since, until = (int((now_s - back_s) * 1_000) << 16 for back_s in (WINDOW_S, SETTLED_S))
        frontiers = self._store.rows(FRONTIERS, {"since": since, "ended": FRONTIER_END})
        ((holes,),) = self._store.rows(HOLES, {"since": since, "until": until})
        ((keys,),) = self._store.rows(KEYS, {"since": since})
        return {
            "noclobber_frontier_lag_seconds": {
                process: max(0.0, now_s - int(frontier) / 1e9) for process, frontier in frontiers
            },
            "noclobber_seq_holes": float(holes or 0),
            "noclobber_key_ids": float(keys),
            "noclobber_findings": {kind: float(count) for kind, count in self._store.rows(FINDINGS)},
        }


def engine_routes(store: Store, loader: Any, analyzer: Any, sender: Any) -> Sequence[BaseRoute]:
    """The three routes over an engine's workers."""
    record = _Record(store)

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        reason = _unready({"loader": loader, "analyzer": analyzer})
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    async def metrics(_request: Request) -> Response:
        return Response(await asyncio.to_thread(told), media_type=CONTENT_TYPE)

    def told() -> bytes:
        values = {**loader.values(), **of_analyzer(analyzer, sender), **record.values()}
        return exposition(ENGINE, values)

    pages: Mapping[str, Callable[[Request], Any]] = {"/live": live, "/ready": ready, "/metrics": metrics}
    return [Route(path, page) for path, page in pages.items()]


def _unready(workers: Mapping[str, Any]) -> str:
    ended = [name for name, worker in workers.items() if not worker.alive]
    return f"the {' and the '.join(ended)} does not run" if ended else ""
