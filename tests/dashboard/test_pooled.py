"""A crowd asks the store from few threads."""

import threading
from typing import Any

import pytest

from noclobber_collector.errors import StoreError
from noclobber_dashboard.pooled import THREADS, PooledStore


class Watched:
    """The real store, and who asked it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.askers: set[int] = set()

    def rows(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows, and the thread is noted."""
        self.askers.add(threading.get_ident())
        found: list[tuple[Any, ...]] = self._store.rows(sql, parameters or {})
        return found

    def dicts(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        """Not asked here."""
        raise NotImplementedError

    def insert(self, table: str, columns: Any, rows: Any) -> None:
        """Not asked here."""
        raise NotImplementedError


def test_forty_visitors_are_four_threads(filled: Any) -> None:
    """However many threads ask, and end, the store sees the same few."""
    watched, answers = Watched(filled), []
    pooled = PooledStore(watched)
    crowd = [threading.Thread(target=lambda: answers.append(pooled.rows("SELECT 1"))) for _ in range(40)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(30)
    pooled.close()
    assert answers == [[(1,)]] * 40
    assert len(watched.askers) <= THREADS


def test_an_error_reaches_who_asked(filled: Any) -> None:
    """What the store says of a statement is raised where it was asked."""
    pooled = PooledStore(filled)
    with pytest.raises(StoreError, match="no_such_table"):
        pooled.rows("SELECT * FROM no_such_table")
    pooled.close()
