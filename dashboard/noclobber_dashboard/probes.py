"""What an orchestrator asks of a dashboard that runs alone: `/live` is who answers, `/ready` is who reaches its store.

An engine has routes of its own under the same paths (`noclobber_sidecar.engine_metrics`). The gate lets both through
without a token and under any host name. The store is asked once in a few seconds at most, however often somebody comes.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber_collector.errors import StoreError
from noclobber_collector.store import Store

__all__ = ["probe_routes"]

ASK_EVERY_S: Final = 5.0


def probe_routes(store: Store) -> Sequence[BaseRoute]:
    """The two routes over a store."""
    reach = _Reach(store)

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        reason = await asyncio.to_thread(reach.reason)
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    return [Route("/live", live), Route("/ready", ready)]


class _Reach:
    """Why the store can't be reached, as of a few seconds ago; "" where it can."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked_at = -ASK_EVERY_S
        self._reason = ""

    def reason(self) -> str:
        with self._lock:
            if time.monotonic() - self._asked_at >= ASK_EVERY_S:
                try:
                    self._store.rows("SELECT 1")
                    self._reason = ""
                except StoreError:
                    self._reason = "the store does not answer"  # its words may name hosts, and anybody may ask
                self._asked_at = time.monotonic()
            return self._reason
