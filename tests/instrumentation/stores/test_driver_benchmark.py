"""What the capture of plain drivers costs the caller, against the same program without it, in one run."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sql_stage import postgres_url

from noclobber.testing import capture

__all__ = ["postgres_url"]

ROUNDS, STATEMENTS = 7, 1000
ADDED_US_MAX = 60.0
"""As for SQLAlchemy: machines differ, so the bound is wide."""


@pytest.fixture(params=["sqlite3", "psycopg"])
def asking(request: pytest.FixtureRequest) -> Iterator[Callable[[], Callable[[int], Any]]]:
    """Makes a connection, and gives what asks it for a row by key and fetches it."""
    opened: list[Any] = []

    def sqlite_asks() -> Callable[[int], Any]:
        connection = sqlite3.connect(":memory:")
        opened.append(connection)
        connection.execute("CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)")
        connection.executemany("INSERT INTO accounts VALUES (?, 100)", [(number,) for number in range(10)])
        connection.commit()
        return lambda key: connection.execute("SELECT id, bal FROM accounts WHERE id = ?", (key,)).fetchone()

    def psycopg_asks() -> Callable[[int], Any]:
        url = request.getfixturevalue("postgres_url").replace("+psycopg", "")
        connection = psycopg.connect(url, autocommit=True)
        opened.append(connection)
        connection.execute("CREATE TEMPORARY TABLE accounts (id integer PRIMARY KEY, bal integer)")
        connection.execute("INSERT INTO accounts SELECT n, 100 FROM generate_series(0, 9) n")
        return lambda key: connection.execute("SELECT id, bal FROM accounts WHERE id = %s", (key,)).fetchone()

    yield sqlite_asks if request.param == "sqlite3" else psycopg_asks
    for connection in opened:
        connection.close()


def caller_us(ask: Callable[[int], Any]) -> float:
    """CPU time of the caller's thread for one keyed SELECT: the best of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for number in range(STATEMENTS):
            assert ask(number % 10) == (number % 10, 100)
        best = min(best, (time.thread_time() - began) / STATEMENTS)
    return best * 1e6


@pytest.mark.benchmark
def test_a_keyed_select(
    request: pytest.FixtureRequest,
    asking: Callable[[], Callable[[int], Any]],
    record_property: Callable[[str, object], None],
) -> None:
    """The caller pays for two clock reads, a look-up of the plan and its row; the drain does the rest."""
    bare = caller_us(asking())
    with capture(fixed=False, background=True, flush_interval_s=0.2) as captured:
        recorded = caller_us(asking())
        reads = [span for span in captured.spans if span.attributes["noclobber.op"] == "read"]
        assert captured.recorder.dropped == 0
    assert len(reads) == ROUNDS * STATEMENTS
    assert all("noclobber.version.read" in span.attributes for span in reads)
    record_property("ratio", recorded / bare)
    name = request.node.callspec.id
    print(f"{name}: keyed SELECT {bare:.1f} µs bare, {recorded:.1f} µs recorded, ratio {recorded / bare:.2f}")
    assert recorded - bare < ADDED_US_MAX
