"""How pages, API and the caller's workers become one ASGI application.

Streamlit's `st.App` carries the pages; the API's routes stand beside them, the gate (`security.py`) in front of
everything. The caller (the engine, or `noclobber dashboard`) gives callables for its own start and stop; they run
in a thread, since opening a store or joining a loader may block. Streamlit keeps one application in a process, and so
does `serving`, through which pages find the store.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from noclobber_dashboard.acts import act_routes
from noclobber_dashboard.api import api_routes
from noclobber_dashboard.journal import Journal
from noclobber_dashboard.parts import Parts, part_routes
from noclobber_dashboard.pooled import PooledStore, Store
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.security import Gate
from noclobber_dashboard.serving import serve
from noclobber_dashboard.settings import DashboardSettings, streamlit_options
from noclobber_dashboard.shell import shell_routes
from noclobber_dashboard.tokens import Tokens

if TYPE_CHECKING:
    import streamlit as st

__all__ = ["build_app"]

SCRIPT = Path(__file__).parent / "entry" / "main.py"
"""Apart from `pages/`, which Streamlit would otherwise take for a menu of its own."""


def build_app(
    store: Store,
    settings: DashboardSettings,
    *,
    on_startup: Sequence[Callable[[], None]] = (),
    on_shutdown: Sequence[Callable[[], None]] = (),
    routes: Sequence[BaseRoute] = (),
) -> "st.App":
    """The dashboard and API over a store, as an ASGI application.

    Args:
        store: where findings and accesses are read, and changes to issues written; it stays the caller's to close.
        settings: address, token, host names, login.
        on_startup: called in order before the first request, each in a thread.
        on_shutdown: called in order after the last request, all of them, even where one raises.
        routes: further routes of the caller (`/live`, `/ready`), behind the same gate.
    """
    from streamlit.web import bootstrap

    bootstrap.load_config_options(streamlit_options(settings))
    import streamlit as st

    from noclobber_dashboard.pages import PARTS

    oidc = settings.login.oidc if settings.login else None
    pooled = PooledStore(store)
    queries = Queries(pooled)
    parts = Parts(queries, PARTS)
    serve(queries, settings, pooled, parts)

    @asynccontextmanager
    async def lifespan(_app: "st.App") -> AsyncIterator[None]:
        for start in on_startup:
            await anyio.to_thread.run_sync(start)
        try:
            yield
        finally:
            await _run_all([*on_shutdown, pooled.close])

    return st.App(
        SCRIPT,
        lifespan=lifespan,
        routes=[*routes, *_store_routes(store), *act_routes(queries, pooled, settings.url), *api_routes(queries),
                *part_routes(parts), *shell_routes()],
        middleware=[Middleware(Gate, settings=settings, tokens=Tokens(pooled), journal=Journal(pooled))],
        secrets={"auth": {**oidc.for_streamlit()}} if oidc else None,
    )  # fmt: skip


async def _run_all(steps: Sequence[Callable[[], None]]) -> None:
    failures: list[Exception] = []
    for step in steps:
        try:
            await anyio.to_thread.run_sync(step)
        except Exception as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup("the dashboard's workers did not stop cleanly", failures)


def _store_routes(store: Store) -> list[BaseRoute]:
    """The store itself under `/api/v1/store`, for commands beside a running engine, where the collector offers it."""
    try:
        from noclobber_collector.store_route import store_route
    except ImportError:
        return []
    return [store_route(store)]  # type: ignore[arg-type]  # whoever installed the collector opened its Store
