"""Streams for tests: steps until nothing is left, over a store that can fail."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from noclobber_analyzer.clock import SYSTEM, Clock
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.stream import Judge, Limits, Stream
from noclobber_collector.errors import StoreUnreachableError

QUEUE = "redis://h:6379/0/tasks"
ACCOUNT = "redis://h:6379/0/acct:42"


def a_stream(store: Any, clock: Clock = SYSTEM, judge: Judge = evaluate, **limits: int) -> Stream:
    """A stream that went on where the last one was."""
    stream = Stream(store, judge, clock, "live", Limits(**limits))
    stream.open()
    return stream


def run_dry(stream: Stream) -> None:
    """Step until nothing is left to do, and write the checkpoint."""
    for _ in range(100_000):
        if not stream.step()[0]:
            break
    stream.checkpoint(now=True)


class FailingStore:
    """The real store; before or after some inserts it raises.

    Args:
        store: the real one.
        fails: told table and number of each insert; whether it raises. after: once the rows are in.
    """

    def __init__(self, store: Any, fails: Callable[[str, int], bool], *, after: bool = False) -> None:
        self.name = "a store that fails"
        self.inserts = 0
        self._store, self._fails, self._after = store, fails, after

    def rows(self, sql: str, parameters: Mapping[str, object] = {}) -> list[tuple[Any, ...]]:
        return list(self._store.rows(sql, parameters))

    def columns(self, sql: str, parameters: Mapping[str, object] = {}) -> dict[str, Sequence[Any]]:
        return dict(self._store.columns(sql, parameters))

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.inserts += 1
        fails = self._fails(table, self.inserts)
        if fails and not self._after:
            raise StoreUnreachableError(f"{self.name}: insert into {table}")
        self._store.insert(table, columns, rows)
        if fails:
            raise StoreUnreachableError(f"{self.name}: after an insert into {table}")
