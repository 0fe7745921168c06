"""Which store and settings the pages of this process show.

Streamlit runs page code anew for every visitor and click, without arguments; the application that was built in
this process leaves here what all of them share.
"""

from dataclasses import dataclass

from noclobber_dashboard.parts import Parts
from noclobber_dashboard.pooled import Store
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.settings import DashboardSettings

__all__ = ["Served", "serve", "served"]


@dataclass(frozen=True, slots=True)
class Served:
    """What every page reads from, and where it writes what a person did to an issue."""

    queries: Queries
    settings: DashboardSettings
    store: Store
    parts: Parts


_current: list[Served] = []


def serve(queries: Queries, settings: DashboardSettings, store: Store, parts: Parts) -> None:
    """Make this the store that pages show from now on."""
    _current[:] = [Served(queries, settings, store, parts)]


def served() -> Served:
    """What was given to `serve`.

    Raises:
        RuntimeError: nothing was: pages run only inside `build_app`'s application.
    """
    if not _current:
        raise RuntimeError("no store is served in this process: build_app(store, settings) comes first")
    return _current[0]
