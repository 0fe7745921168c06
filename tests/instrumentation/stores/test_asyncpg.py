"""asyncpg against a real PostgreSQL: statements, transactions, pools, races."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from driver_stage import SCHEMA, START, TIMEOUT_S, VERSION, findings, judged, story, told
from sql_stage import postgres_url, printed
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from noclobber.guard import GUARD
from noclobber.testing import capture

__all__ = ["postgres_url"]

SELECT = "SELECT bal FROM accounts WHERE id = $1"
UPDATE = "UPDATE accounts SET bal = $1 WHERE id = $2"
WEAK = {"version.weak": True, "size": 8, "content.numeric": True}


@pytest.fixture
def dsn(postgres_url: str) -> str:
    """The bank's database, fresh."""
    found = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS accounts, jobs CASCADE")
        for statement in SCHEMA:
            connection.execute(statement)
    return found


def acted(dsn: str, act: Callable[[Any], Awaitable[None]], **settings: Any) -> Any:
    """What was captured of `act` on one connection."""

    async def whole() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await act(connection)
        finally:
            await connection.close()

    with capture(**settings) as captured:
        asyncio.run(asyncio.wait_for(whole(), TIMEOUT_S))
        _ = captured.exports
    return captured


def test_read_then_write(dsn: str) -> None:
    """A keyed read and a write in a transaction, with all that they carry."""

    async def act(connection: Any) -> None:
        async with connection.transaction(isolation="repeatable_read"):
            balance = await connection.fetchval(SELECT, 1)
            assert await connection.execute(UPDATE, balance + 50, 1) == "UPDATE 1"

    with capture():
        prints = printed(bal=START), printed(bal=START + 50)
    captured = acted(dsn, act)
    begin, read, write, commit = [each for each in told(captured) if each["op"] != "join"]
    txn = {"unit.kind": "txn", "txn.isolation": "repeatable_read"}
    assert begin == {**txn, "op": "begin", "resource": "", "outcome": "ok"}
    assert read == {
        **VERSION, **WEAK, **txn, "op": "read", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
        "version.read": prints[0],
    }  # fmt: skip
    assert write == {
        **VERSION, **WEAK, **txn, "op": "write", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
        "version.base": prints[0], "version.base.source": "observed", "version.written": prints[1],
    }  # fmt: skip
    assert commit == {**txn, "op": "commit", "resource": "", "outcome": "ok"}
    (span,) = [each for each in captured.spans if each.attributes["noclobber.op"] == "read"]
    assert (span.library, span.name) == ("asyncpg", "read postgresql")
    assert span.attributes["code.function.name"] == "test_read_then_write.<locals>.act"


def test_transactions(dsn: str) -> None:
    """`transaction()` begins, and inside another one is a savepoint; texts steer as well."""

    async def act(connection: Any) -> None:
        await connection.execute(UPDATE, 1, 2)
        async with connection.transaction():
            inner = connection.transaction()
            await inner.start()
            await connection.execute(UPDATE, 2, 2)
            await inner.rollback()
            async with connection.transaction():
                await connection.execute(UPDATE, 3, 2)
        await connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        await connection.execute("UPDATE accounts SET bal = 4 WHERE id = 2")
        await connection.execute("ROLLBACK")

    captured = acted(dsn, act)
    assert story(captured) == [
        "write accounts/id=2",
        "begin -", "write accounts/id=2 @1", "abort - @1", "write accounts/id=2 @1/1", "commit -",
        "begin -", "write accounts/id=2", "abort -",
    ]  # fmt: skip
    assert [each.get("txn.isolation") for each in told(captured) if each["op"] == "abort"] == [None, "serializable"]


def test_outcomes(dsn: str) -> None:
    """No row, a guard that refuses, a key that is there, a mistake that dooms the transaction."""

    async def act(connection: Any) -> None:
        await connection.execute(UPDATE, 1, 99)
        for _ in range(2):
            await connection.execute("UPDATE jobs SET status = 'done' WHERE id = 7 AND status = 'new'")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("INSERT INTO jobs (id, status) VALUES ($1, $2)", 7, "new")
        assert await connection.fetchrow(SELECT, 99) is None
        with pytest.raises(asyncpg.UndefinedColumnError):
            async with connection.transaction():
                await connection.execute("UPDATE accounts SET nothing_here = 1 WHERE id = 1")

    assert story(acted(dsn, act)) == [
        "write accounts/id=99 no_effect", "write jobs/id=7", "write jobs/id=7 rejected",
        "write jobs/id=7 rejected", "read accounts/id=99 not_found",
        "begin -", "write accounts/id=1 error", "abort -",
    ]  # fmt: skip


def test_batches_prepared_statements_and_rows(dsn: str) -> None:
    """Executemany is one access a set; prepared statements and fetches with a limit say what they know."""

    async def act(connection: Any) -> None:
        await connection.executemany(UPDATE, ((number * 1000, number) for number in (1, 2)))
        await connection.executemany(UPDATE, [])
        prepared = await connection.prepare(SELECT)
        assert await prepared.fetchval(1) == 1000
        changing = await connection.prepare(UPDATE)
        await changing.fetch(5, 99)
        await changing.executemany([(6, 1)])
        query = "SELECT id, status FROM jobs ORDER BY id"
        assert len(await connection.fetch(query)) == 2
        assert await connection.fetchrow(query) == (7, "new")
        assert await connection.fetchrow(f"{query} LIMIT 1") == (7, "new")
        assert len(await connection.fetch("UPDATE jobs SET status = 'old' WHERE status = 'new' RETURNING *")) == 2

    captured = acted(dsn, act)
    assert story(captured) == [
        "write accounts/id=1", "write accounts/id=2", "read accounts/id=1", "write accounts/id=99 no_effect",
        "write accounts/id=1", "scan jobs/", "scan jobs/", "scan jobs/", "write jobs/id=7", "write jobs/id=8",
    ]  # fmt: skip
    scans = [
        (len(each["result.resources"]), each.get("partial", False)) for each in told(captured) if "predicate" in each
    ]
    assert scans == [(2, False), (1, True), (1, False)]


def test_pool_from_before(dsn: str) -> None:
    """A pool and its connections that exist already are seen; what a pool does to reset them is nothing."""

    async def act(pool: Any) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE accounts SET bal = 4 WHERE id = 2")
            await connection.execute(UPDATE, 5, 1)
        assert await pool.fetchval(SELECT, 1) == 5

    async def whole() -> Any:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
            with capture() as captured:
                await act(pool)
                assert story(captured) == [
                    "begin -", "write accounts/id=2", "write accounts/id=1", "commit -", "read accounts/id=1",
                ]  # fmt: skip
            assert await pool.fetchval(SELECT, 1) == 5

    asyncio.run(asyncio.wait_for(whole(), TIMEOUT_S))


def test_one_name(dsn: str, postgres_url: str) -> None:
    """asyncpg, psycopg and SQLAlchemy name one row the same."""

    async def act(connection: Any) -> None:
        await connection.fetchval(SELECT, 1)
        async with await psycopg.AsyncConnection.connect(dsn) as other:
            await (await other.execute("SELECT bal FROM accounts WHERE id = 1")).fetchone()
        engine = create_async_engine(postgres_url)
        async with engine.connect() as through:
            await through.execute(text("SELECT bal FROM accounts WHERE id = 1"))
        await engine.dispose()

    reads = [each for each in acted(dsn, act).accesses if each["noclobber.op"] == "read"]
    assert (len(reads), len({each["noclobber.resource"] for each in reads})) == (3, 1)


@pytest.mark.parametrize("before", [True, False])
def test_once_under_sqlalchemy(dsn: str, postgres_url: str, before: bool) -> None:
    """What SQLAlchemy records its driver does not, whenever the engine was made."""
    url = postgres_url.replace("psycopg", "asyncpg")
    made = create_async_engine(url) if before else None

    async def act(_: Any) -> None:
        engine = made or create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text("SELECT bal FROM accounts WHERE id = 1"))
            await connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
        await engine.dispose()

    captured = acted(dsn, act)
    assert {span.library for span in captured.spans} == {"sqlalchemy", "python"}
    assert story(captured) == ["begin -", "read accounts/id=1", "write accounts/id=1", "commit -"]


@pytest.mark.parametrize("place", ["sql_session.statement_of", "sql_session.count", "asyncpg._session",
                                   "asyncpg._fetched", "sql_session.new_transaction", "sql_run.kept_row"])  # fmt: skip
def test_a_mistake_of_ours_is_not_the_program_s(dsn: str, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever breaks inside, the program gets its rows."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    async def act(connection: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(GUARD, "reraises", False)
            patch.setattr(f"noclobber.stores.{place}", broken)
            async with connection.transaction():
                assert await connection.fetchval(SELECT, 1) == START
                assert await connection.execute(UPDATE, 5, 1) == "UPDATE 1"
                await connection.executemany(UPDATE, [(6, 1)])

    acted(dsn, act)
    assert any("RuntimeError" in cause for cause in GUARD.failures)
    GUARD.failures.clear()


def race(dsn: str, select: str, update: str, *, together: bool = True) -> Any:
    """Two tasks add to one balance, both from what they read before; unless reading locks."""

    async def book(amount: int, read: asyncio.Barrier) -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            balance = await connection.fetchval(select)
            if together:
                await read.wait()
            values = [balance + amount, balance] if "$2" in update else [balance + amount]
            await connection.execute(update, *values)
        await connection.close()

    async def whole() -> None:
        read = asyncio.Barrier(2)
        await asyncio.gather(book(50, read), book(-20, read))

    with capture(background=True, fixed=False) as captured:
        asyncio.run(asyncio.wait_for(whole(), TIMEOUT_S))
    return captured


PLAIN = "SELECT bal FROM accounts WHERE id = 1"
OVERWRITE = "UPDATE accounts SET bal = $1 WHERE id = 1"


def test_lost_update(dsn: str, tmp_path: Path) -> None:
    """Both wrote what they computed from one balance: one update is lost."""
    assert findings(race(dsn, PLAIN, OVERWRITE), tmp_path) == [("lost_update", "likely")]


@pytest.mark.parametrize(
    ("select", "update", "together"),
    [
        (f"{PLAIN} FOR UPDATE", OVERWRITE, False),
        (PLAIN, "UPDATE accounts SET bal = bal + $1 WHERE id = 1", True),
        (PLAIN, f"{OVERWRITE} AND bal = $2", True),
    ],
)
def test_safe_twins(dsn: str, tmp_path: Path, select: str, update: str, together: bool) -> None:
    """Locked, in place, or compared: nothing is lost, and it counts as defended."""
    judgement = judged(race(dsn, select, update, together=together), tmp_path)
    assert judgement.findings == []
    assert judgement.defended
