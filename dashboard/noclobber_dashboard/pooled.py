"""The store behind a few threads: however many visitors there are, only so many statements run at once.

Streamlit runs each visitor's script in a thread of its own, and the API has forty more. Here the asking is done by
`THREADS` lasting threads, which bounds the statements at work and the clients they need, and with them what a crowd
of visitors can take from the engine.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, ParamSpec, Protocol, TypeVar

__all__ = ["PooledStore", "Store"]

THREADS: Final = 4
NOTHING: Final[Mapping[str, object]] = {}

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class Store(Protocol):
    """What the dashboard asks of a store (`noclobber_collector.store.Store`)."""

    def rows(self, sql: str, parameters: Mapping[str, object] = ...) -> list[tuple[Any, ...]]:
        """The result's rows."""
        ...

    def dicts(self, sql: str, parameters: Mapping[str, object] = ...) -> list[dict[str, Any]]:
        """The result's rows by column name."""
        ...

    def columns(self, sql: str, parameters: Mapping[str, object] = ...) -> dict[str, list[Any]]:
        """The result's columns by name."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add rows; one call is one atomic step."""
        ...


class PooledStore:
    """A store that is asked by `THREADS` threads only; callers wait their turn.

    Args:
        store: where to ask; it stays the caller's to close.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="noclobber-dashboard-store")

    def rows(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[tuple[Any, ...]]:
        """The result's rows."""
        return self._run(self._store.rows, sql, parameters)

    def dicts(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> list[dict[str, Any]]:
        """The result's rows by column name."""
        return self._run(self._store.dicts, sql, parameters)

    def columns(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> dict[str, list[Any]]:
        """The result's columns by name."""
        return self._run(self._store.columns, sql, parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add rows; one call is one atomic step."""
        self._run(self._store.insert, table, columns, rows)

    def close(self) -> None:
        """Let running statements end and take no more; the store itself stays open."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, ask: Callable[Given, Answer], *given: Given.args, **named: Given.kwargs) -> Answer:
        return self._pool.submit(ask, *given, **named).result()
