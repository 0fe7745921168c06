"""What operators ask any process of noclobber: is it alive, is it ready, what does it count?

`/live` is answered by whoever answers, `/ready` with 503 and the reason while a worker does not run, `/metrics` in
Prometheus's text format. An engine has these pages beside its dashboard; `noclobber analyzer`, which has no pages,
serves them on a port of their own, on a thread.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from noclobber_collector.metrics import CONTENT_TYPE, Metric, Values, exposition
from noclobber_collector.receiver.process import QuietServer
from noclobber_collector.receiver.token import Token

__all__ = ["Probes", "probes"]

CONNECTIONS_MAX: Final = 64
STOP_S: Final = 5.0


def probes(
    table: Iterable[Metric], values: Callable[[], Values], workers: Mapping[str, Any], token: str | None = None
) -> Sequence[BaseRoute]:
    """The three pages.

    Args:
        table: what is told.
        values: of its rows; called in a thread of its own.
        workers: by name; each says whether it is `alive`.
        token: needed for `/metrics`; None: nobody needs one, or another layer asks for it.
    """
    needed = Token(token)

    async def live(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_request: Request) -> Response:
        reason = _unready(workers)
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    async def metrics(request: Request) -> Response:
        if not needed.admits(request.headers.get("authorization", "").encode()):
            return PlainTextResponse("the token is missing or wrong\n", 401, {"www-authenticate": "Bearer"})
        return Response(await asyncio.to_thread(lambda: exposition(table, values())), media_type=CONTENT_TYPE)

    pages: Mapping[str, Callable[[Request], Any]] = {"/live": live, "/ready": ready, "/metrics": metrics}
    return [Route(path, page) for path, page in pages.items()]


def _unready(workers: Mapping[str, Any]) -> str:
    ended = [name for name, worker in workers.items() if not worker.alive]
    return f"the {' and the '.join(ended)} does not run" if ended else ""


class Probes:
    """A port for the pages, served by a thread.

    Args:
        listening: a bound socket; it is closed at the end.
        pages: as `probes` makes them.
    """

    def __init__(self, listening: socket.socket, pages: Sequence[BaseRoute]) -> None:
        config = uvicorn.Config(
            Starlette(routes=pages), log_level="warning", access_log=False, lifespan="off",
            limit_concurrency=CONNECTIONS_MAX, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = QuietServer(config)
        self._listening = listening
        self._thread = threading.Thread(target=self._serve, name="probes", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._listening.close()

    def _serve(self) -> None:
        asyncio.run(self._server.serve([self._listening]))
