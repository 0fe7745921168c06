"""The dashboard's own routes as an application, and a store that is away."""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from noclobber_collector.errors import StoreUnreachableError
from noclobber_dashboard.acts import act_routes
from noclobber_dashboard.api import api_routes
from noclobber_dashboard.journal import Journal
from noclobber_dashboard.parts import Part, Parts, part_routes
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.security import Gate
from noclobber_dashboard.settings import DashboardSettings
from noclobber_dashboard.shell import shell_routes
from noclobber_dashboard.tokens import Tokens

__all__ = ["TOKEN", "Away", "application"]

TOKEN = "a-token-of-some-length"


def application(
    store: Any, settings: DashboardSettings, *, journal: bool = False, parts: Sequence[Part] = ()
) -> Starlette:
    """The dashboard's routes behind its gate, with a bare WebSocket where Streamlit has its own.

    Streamlit allows one application in a process, for ever; the whole of it is tested in `tests/browser`.
    """

    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    queries = Queries(store)
    routes = [
        *act_routes(queries, store, settings.url), *api_routes(queries), *part_routes(Parts(queries, parts)),
        *shell_routes(),
        WebSocketRoute("/_stcore/stream", stream),
    ]  # fmt: skip
    gate = Middleware(Gate, settings=settings, tokens=Tokens(store), journal=Journal(store) if journal else None)
    return Starlette(routes=routes, middleware=[gate])


class Away:
    """A store that does not answer."""

    def rows(self, *_asked: object) -> Any:
        """Fail as the collector's store does."""
        raise StoreUnreachableError("secret-host:8123 does not answer")

    dicts = insert = rows
