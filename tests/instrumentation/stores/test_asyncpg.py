"""asyncpg against a real PostgreSQL: statements, transactions, pools, races."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from driver_stage import START, TIMEOUT_S, VERSION, dsn, findings, judged, story, told
from sql_stage import postgres_url, printed
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from noclobber.guard import GUARD
from noclobber.testing import capture

__all__ = ["dsn", "postgres_url"]

SELECT = "SELECT bal FROM accounts WHERE id = $1"
UPDATE = "UPDATE accounts SET bal = $1 WHERE id = $2"
WEAK = {"version.weak": True, "size": 8, "content.numeric": True}


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


@pytest.mark.parametrize(("lock", "expected"), [("", ["double_claim"]), ("FOR UPDATE SKIP LOCKED", [])])
def test_double_claim(dsn: str, tmp_path: Path, lock: str, expected: list[str]) -> None:
    """Both saw the job as new and took it; with SKIP LOCKED each takes another one, and no row is in doubt."""

    async def claim(seen: asyncio.Barrier) -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            query = f"SELECT id FROM jobs WHERE status = 'new' ORDER BY id LIMIT 1 {lock}"
            job = await connection.fetchval(query)
            await seen.wait()
            await connection.execute("UPDATE jobs SET status = 'running' WHERE id = $1", job)
        await connection.close()

    async def whole() -> None:
        seen = asyncio.Barrier(2)
        await asyncio.gather(claim(seen), claim(seen))

    with capture(background=True, fixed=False) as captured:
        asyncio.run(asyncio.wait_for(whole(), TIMEOUT_S))
    assert [kind for kind, _ in findings(captured, tmp_path)] == expected
    assert not any(each.get("noclobber.partial") for each in captured.accesses)


async def _iterates(connection: Any) -> None:
    async with connection.transaction():
        assert {row["id"] async for row in connection.cursor("SELECT id, bal FROM accounts", prefetch=1)} == {1, 2}


async def _opens(connection: Any) -> None:
    async with connection.transaction():
        cursor = await connection.cursor(SELECT, 1)
        assert len(await cursor.fetch(5)) == 1


async def _prepares(connection: Any) -> None:
    prepared = await connection.prepare("SELECT id, bal FROM accounts WHERE id > $1")
    async with connection.transaction():
        assert {row["id"] async for row in prepared.cursor(0, prefetch=1)} == {1, 2}


async def _copies_a_query(connection: Any) -> None:
    out = io.BytesIO()
    await connection.copy_from_query(SELECT, 1, output=out)
    assert out.getvalue().strip().isdigit()


async def _copies_a_table(connection: Any) -> None:
    await connection.copy_from_table("accounts", columns=["id", "bal"], output=io.BytesIO())


async def _fetches_many(connection: Any) -> None:
    assert len(await connection.fetchmany(SELECT, [(1,), (2,)])) == 2


async def _fetches_many_prepared(connection: Any) -> None:
    assert len(await (await connection.prepare(SELECT)).fetchmany([(1,)])) == 1


async def _computes(connection: Any) -> None:
    await connection.fetchval("SELECT coalesce(bal, 0) FROM accounts WHERE id = 1")


async def _reads_what_it_wrote_beside(connection: Any) -> None:
    await connection.fetchval("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING bal")


async def _sees_all(connection: Any) -> None:
    async with connection.transaction():
        assert len([row async for row in connection.cursor("SELECT id, bal FROM accounts")]) == 2


async def _only_remembers(_: Any) -> None:
    pass


LOOKS = [_iterates, _opens, _prepares, _copies_a_query, _copies_a_table, _fetches_many, _fetches_many_prepared,
         _computes, _reads_what_it_wrote_beside]  # fmt: skip


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (_only_remembers, [("lost_update", "likely")]),
        *((look, [("lost_update", "possible")]) for look in LOOKS),
        (_sees_all, []),
    ],
)
def test_a_look_that_nobody_saw(
    dsn: str, look: Callable[[Any], Awaitable[None]], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Who looked again where no hook sees the rows may know what an older read here does not: no accusation."""

    async def careful(connection: Any, read: asyncio.Event, changed: asyncio.Event) -> None:
        await connection.fetchval(SELECT, 1)
        read.set()
        await changed.wait()
        await look(connection)
        await connection.execute(UPDATE, START + 50, 1)

    async def quick(connection: Any, read: asyncio.Event, changed: asyncio.Event) -> None:
        await read.wait()
        await connection.execute(UPDATE, START - 20, 1)
        changed.set()

    async def whole() -> None:
        read, changed = asyncio.Event(), asyncio.Event()
        async with asyncpg.create_pool(dsn, min_size=2) as pool, pool.acquire() as one, pool.acquire() as other:
            await asyncio.gather(careful(one, read, changed), quick(other, read, changed))

    with capture(fixed=False) as captured:
        asyncio.run(asyncio.wait_for(whole(), TIMEOUT_S))
    found = judged(captured, tmp_path).findings
    assert [(str(each.kind), str(each.certainty)) for each in found if str(each.kind) == "lost_update"] == expected
    assert [each for each in found if str(each.certainty) != "possible" and str(each.kind) != "lost_update"] == []
