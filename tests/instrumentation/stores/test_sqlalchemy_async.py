"""SQLAlchemy's async engines (aiosqlite, asyncpg, psycopg): the same accesses as sync ones, and cancellation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sql_stage import ACCOUNTS, JOBS, Document, Note, accesses, postgres_url, prepared, printed, row_of
from sqlalchemy import exc, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from noclobber.testing import capture

__all__ = ["postgres_url"]


@pytest.fixture(params=["aiosqlite", "asyncpg", "psycopg"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """The bank, through each async driver."""
    if request.param == "aiosqlite":
        url = f"sqlite:///{tmp_path}/bank.db"
        prepared(url).dispose()
        made = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    else:
        url = request.getfixturevalue("postgres_url")
        prepared(url).dispose()
        made = create_async_engine(url.replace("+psycopg", f"+{request.param}"))
    yield made
    await made.dispose()


async def test_read_then_write(engine: AsyncEngine) -> None:
    """A read in one session, a write in another: base, prints and the code's place as in sync programs."""
    with capture() as captured:
        async with AsyncSession(engine) as session:
            row = (await session.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1))).one()
        async with AsyncSession(engine) as session:
            await session.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=row.bal + 50))
            await session.commit()
        read, write = accesses(captured)
        assert (read["resource"], read["version.read"]) == ("accounts/id=1", printed(owner="ann", bal=100))
        assert (write["part"], write["version.base"]) == ("bal", printed(bal=100))
        assert (write["version.base.source"], write["version.written"]) == ("observed", printed(bal=150))
        everything = [
            each for each in captured.accesses if each["noclobber.op"] != "join"
        ]  # a session closes in a task
        assert [each["noclobber.op"] for each in everything] == ["begin", "read", "abort", "begin", "write", "commit"]
        code = [each["code.function.name"] for each in everything if each["noclobber.op"] in ("read", "write")]
        assert code == ["test_read_then_write"] * 2


async def test_many_statements(engine: AsyncEngine) -> None:
    """Scans, inserts with the database's key, executemany, streams, savepoints, version columns."""
    with capture() as captured:
        async with engine.begin() as connection:
            await connection.execute(insert(JOBS), [{"id": 1, "status": "x"}, {"id": 2, "status": "x"}])
            await connection.execute(text("UPDATE jobs SET status = 'new' WHERE status = 'x'"))
            async with connection.begin_nested():
                result = await connection.stream(select(JOBS.c.id).where(JOBS.c.status == "new").order_by(JOBS.c.id))
                assert [row.id async for row in result] == [1, 2, 7, 8]
        async with AsyncSession(engine, expire_on_commit=False) as session:
            note = Note(text="one")
            session.add(note)
            document = await session.get_one(Document, 1)
            document.text = "another"
            await session.commit()
            assert note.id == 1
        first, second, unknown, scan, *others = accesses(captured)
        assert [each["resource"] for each in (first, second, unknown)] == ["jobs/id=1", "jobs/id=2", "jobs/"]
        assert [row_of(row) for row in scan["result.resources"]] == [f"jobs/id={number}" for number in (1, 2, 7, 8)]
        assert scan["txn.savepoint"] == "1"
        found = {(each["op"], each["resource"]): each for each in others}
        assert found["write", "notes/id=1"]["write.mode"] == "insert"
        assert found["write", "documents/id=1"]["version.overwritten"] == "1"
        assert found["write", "documents/id=1"]["version.written"] == "2"


async def test_refused_and_failed(engine: AsyncEngine) -> None:
    """Errors reach the caller unchanged, and say what they say."""
    with capture() as captured:
        async with engine.connect() as connection:
            with pytest.raises(exc.IntegrityError):
                await connection.execute(insert(ACCOUNTS).values(id=1, bal=1))
            await connection.rollback()
            with pytest.raises(exc.DBAPIError):
                await connection.execute(text("UPDATE accounts SET nothing_here = 1 WHERE id = 1"))
        assert [(each["outcome"], each.get("guard")) for each in accesses(captured)] == [
            ("rejected", "unique"), ("error", None),
        ]  # fmt: skip


async def test_tasks_are_strands(engine: AsyncEngine) -> None:
    """Two tasks that race are two strands, and neither has the other's read as base."""
    with capture() as captured:
        both_read = asyncio.Barrier(2)

        async def book(amount: int) -> None:
            async with engine.begin() as connection:
                balance = (await connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1))).scalar_one()
            await both_read.wait()
            async with engine.begin() as connection:
                await connection.execute(text("UPDATE accounts SET bal = :b WHERE id = 1"), {"b": balance + amount})

        await asyncio.gather(book(50), book(-20))
        writes = [each for each in captured.accesses if each["noclobber.op"] == "write"]
        assert len({each["noclobber.strand"] for each in writes}) == 2
        assert [each["noclobber.version.base"] for each in writes] == [printed(bal=100)] * 2
        assert all(each["noclobber.version.base.strand"] == each["noclobber.strand"] for each in writes)


async def test_cancelled(postgres_url: str) -> None:
    """A call that was cancelled while it waited may have been applied: unknown, and said to be cancelled."""
    prepared(postgres_url).dispose()
    engine = create_async_engine(postgres_url.replace("+psycopg", "+asyncpg"))
    with capture() as captured:
        async with engine.begin() as holder:
            await holder.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))

            async def wait_for_the_lock() -> None:
                async with engine.begin() as connection:
                    await connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=2))

            task = asyncio.create_task(wait_for_the_lock())
            async with engine.connect() as watcher:
                waiting = text("SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock'")
                async with asyncio.timeout(10):
                    while not (await watcher.execute(waiting)).scalar():
                        await watcher.rollback()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        cancelled = [each for each in accesses(captured, "write") if each.get("cancelled")]
        assert [(each["outcome"], each["cancelled"]) for each in cancelled] == [("unknown", True)]
    await engine.dispose()
