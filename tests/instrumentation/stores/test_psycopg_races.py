"""psycopg: races and their safe twins, sync and async, against a real PostgreSQL."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from driver_stage import TIMEOUT_S, dsn, findings, judged, one, together
from sql_stage import postgres_url

from noclobber.testing import capture

__all__ = ["dsn", "postgres_url"]

UPDATE = "UPDATE accounts SET bal = %s WHERE id = %s"
SELECT = "SELECT bal FROM accounts WHERE id = %s"


def race(dsn: str, select: str, update: str, *, stale: bool = True, level: Any = None) -> Any:
    """Two agents add to one balance, both from what they read before; unless reading locks."""
    read, wrote = threading.Barrier(2), threading.Event()

    def book(amount: int, *, first: bool) -> None:
        with psycopg.connect(dsn) as connection:
            connection.isolation_level = level
            row = connection.execute(select).fetchone()
            assert row is not None
            if stale:
                read.wait(TIMEOUT_S)
                assert first or wrote.wait(TIMEOUT_S)
            try:
                connection.execute(update, {"new": row[0] + amount, "amount": amount, "old": row[0]})
                connection.commit()
            except psycopg.errors.SerializationFailure:
                connection.rollback()
        wrote.set()

    with capture(background=True, fixed=False) as captured:
        together(lambda: book(50, first=True), lambda: book(-20, first=False))
    return captured


PLAIN = "SELECT bal FROM accounts WHERE id = 1"
OVERWRITE = "UPDATE accounts SET bal = %(new)s WHERE id = 1"


def test_lost_update(dsn: str, tmp_path: Path) -> None:
    """Both wrote what they computed from one balance: one update is lost."""
    assert findings(race(dsn, PLAIN, OVERWRITE), tmp_path) == [("lost_update", "likely")]


@pytest.mark.parametrize(
    ("select", "update", "how"),
    [
        (f"{PLAIN} FOR UPDATE", OVERWRITE, {"stale": False}),
        (PLAIN, "UPDATE accounts SET bal = bal + %(amount)s WHERE id = 1", {}),
        (PLAIN, "UPDATE accounts SET bal = %(new)s WHERE id = 1 AND bal = %(old)s", {}),
        (PLAIN, OVERWRITE, {"level": psycopg.IsolationLevel.SERIALIZABLE}),
    ],
)
def test_safe_twins(dsn: str, tmp_path: Path, select: str, update: str, how: Any) -> None:
    """Locked, in place, compared, or serializable: nothing is lost, and it counts as defended."""
    judgement = judged(race(dsn, select, update, **how), tmp_path)
    assert judgement.findings == []
    assert judgement.defended


def test_lost_update_async(dsn: str, tmp_path: Path) -> None:
    """Two tasks on two connections."""

    async def book(amount: int, read: asyncio.Barrier) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            balance = await one(connection, SELECT, 1)
            await read.wait()
            await connection.execute(UPDATE, (balance + amount, 1))

    async def act() -> None:
        read = asyncio.Barrier(2)
        both: list[Awaitable[None]] = [book(50, read), book(-20, read)]
        await asyncio.wait_for(asyncio.gather(*both), TIMEOUT_S)

    with capture(background=True, fixed=False) as captured:
        asyncio.run(act())
    assert findings(captured, tmp_path) == [("lost_update", "likely")]


def claims(dsn: str, claim: Callable[[Any, Callable[[], object]], None]) -> Any:
    """Two agents claim at once; each may wait until both have looked."""
    seen = threading.Barrier(2)

    def act() -> None:
        with psycopg.connect(dsn) as connection:
            claim(connection, lambda: seen.wait(TIMEOUT_S))

    with capture(background=True, fixed=False) as captured:
        together(act, act)
    return captured


def test_double_claim(dsn: str, tmp_path: Path) -> None:
    """Both saw the job as new and took it; with SKIP LOCKED each takes another one."""
    query = "SELECT id FROM jobs WHERE status = 'new' ORDER BY id LIMIT 1"

    def take(connection: Any, seen: Callable[[], object], query: str = query) -> None:
        (job,) = connection.execute(query).fetchone()
        seen()
        connection.execute("UPDATE jobs SET status = 'running' WHERE id = %s", (job,))

    assert [kind for kind, _ in findings(claims(dsn, take), tmp_path)] == ["double_claim"]
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE jobs SET status = 'new'")
    apart = claims(dsn, lambda connection, seen: take(connection, seen, f"{query} FOR UPDATE SKIP LOCKED"))
    assert findings(apart, tmp_path) == []
