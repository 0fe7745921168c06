"""Exact mode: what a write replaces is told, the caller gets what the plain call gives, and doubt stays plain."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sql_stage import ACCOUNTS, JOBS, Document, accesses, engine, postgres_url, prepared, printed
from sqlalchemy import Engine, create_engine, delete, event, exc, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from noclobber.testing import capture

__all__ = ["engine", "postgres_url"]


def book(engine: Engine, amount: int, balance: int) -> None:
    with engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=balance + amount))


def read(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar_one()


def test_lost_update(engine: Engine) -> None:
    """Who writes from an old state replaces another one than its base: the spans alone prove it."""
    with capture(exact=("*",)) as captured:
        balance = read(engine)
        with engine.begin() as connection:  # somebody else
            connection.exec_driver_sql("UPDATE accounts SET bal = 150 WHERE id IN (SELECT 1)")
        book(engine, -20, balance)
        write = accesses(captured, "write")[-1]
        assert write["version.base"] == printed(bal=100)
        assert write["version.overwritten"] == printed(bal=150)
        assert read(engine) == 80


def test_nothing_lost(engine: Engine) -> None:
    """Who writes from the newest state replaces its base."""
    with capture(exact=("*",)) as captured:
        book(engine, -20, read(engine))
        (write,) = accesses(captured, "write")
        assert write["version.base"] == write["version.overwritten"] == printed(bal=100)


def test_only_what_was_asked_for(engine: Engine) -> None:
    """Patterns decide which rows may be asked for; declarations too."""
    with capture(exact=("*/accounts/id=2",)) as captured:
        book(engine, 1, 1)
        assert "version.overwritten" not in accesses(captured)[0]
    with capture(tables=({"pattern": f"{engine.dialect.name}://*/accounts/*", "exact": True},)) as captured:
        book(engine, 1, 1)
        assert "version.overwritten" in accesses(captured)[0]


def test_delete_and_many_keys(engine: Engine) -> None:
    """A delete tells the whole row, `IN` each of them; rows that are not there tell nothing."""
    with capture(exact=("*",)) as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id.in_([1, 2, 9])).values(bal=0))
        connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.id == 2))
        one, two, none, gone = accesses(captured)
        assert [each.get("version.overwritten") for each in (one, two, none)] == [
            printed(bal=100),
            printed(bal=7),
            None,
        ]
        assert gone["version.overwritten"] == printed(owner="bob", bal=0)


def test_upsert(engine: Engine) -> None:
    """An upsert over a row that is there replaces it."""
    with capture(exact=("*",)) as captured, engine.begin() as connection:
        connection.execute(
            text("INSERT INTO accounts (id, bal) VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET bal = excluded.bal")
        )
        assert accesses(captured)[0]["version.overwritten"] == printed(bal=100)


def test_version_column(engine: Engine) -> None:
    """Where a row counts its versions, the number is what is replaced."""
    with capture(exact=("*",)) as captured, engine.begin() as connection:
        connection.execute(update(Document.__table__).where(Document.__table__.c.id == 1).values(text="x", version=2))
        assert accesses(captured)[0].get("version.overwritten") in ("1", None)
    with capture(exact=("*",)) as captured, Session(engine) as session:
        session.get_one(Document, 1).text = "y"
        session.commit()
        assert accesses(captured, "write")[0]["version.overwritten"] == "2"


def test_same_answers(engine: Engine) -> None:
    """Rows, counts and errors are those of the plain call."""

    def play() -> list[Any]:
        answers: list[Any] = []
        with engine.begin() as connection:
            changed = connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
            answers += [changed.rowcount, changed.returns_rows, changed.closed]
            back = update(ACCOUNTS).where(ACCOUNTS.c.id == 2).values(bal=2).returning(ACCOUNTS)
            answers += [tuple(row) for row in connection.execute(back)]
            answers.append(connection.execute(delete(JOBS).where(JOBS.c.id == 99)).rowcount)
        with engine.connect() as connection:
            try:
                connection.execute(text("UPDATE accounts SET id = 2 WHERE id = 1"))
            except exc.IntegrityError as error:
                answers.append(type(error))
        return answers

    with capture(exact=("*",)):
        exact = play()
    assert exact == play() == [1, False, False, (2, "bob", 2), 0, exc.IntegrityError]


def test_not_where_it_can_t_be(engine: Engine) -> None:
    """Without a transaction nothing would hold the row until the write: plain."""
    with capture(exact=("*",)) as captured:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
            connection.execute(text("UPDATE accounts SET bal = 1 WHERE bal = 1"))
        assert all("version.overwritten" not in each for each in accesses(captured))


def test_a_refused_question_changes_nothing(postgres_url: str) -> None:
    """Who may write but not read still writes: the question is taken back to its savepoint."""
    prepared(postgres_url).dispose()
    admin = create_engine(postgres_url)
    with admin.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS writer")
        connection.exec_driver_sql("CREATE ROLE writer LOGIN")
        connection.exec_driver_sql("GRANT UPDATE, SELECT (id) ON accounts TO writer")
    writer = create_engine(admin.url.set(username="writer"))
    with capture(exact=("*",)) as captured, writer.begin() as connection:
        connection.execute(text("UPDATE accounts SET bal = 1 WHERE id = 1"))
        (write,) = accesses(captured)
        assert write["outcome"] == "ok"
        assert "version.overwritten" not in write
    assert read(admin) == 1
    writer.dispose()
    with admin.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY writer")
        connection.exec_driver_sql("DROP ROLE writer")
    admin.dispose()


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_refused_write_is_refused_as_ever(postgres_url: str, level: str) -> None:
    """Under snapshot isolation the write itself gets its serialization failure, with the transaction as it was."""
    prepared(postgres_url).dispose()
    engine = create_engine(postgres_url, isolation_level=level)
    with capture(exact=("*",)) as captured, engine.connect() as one:
        one.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1)).one()
        book(engine, 1, 1)
        with pytest.raises(exc.OperationalError) as raised:
            one.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=9))
        assert raised.value.orig.sqlstate == "40001"
        assert accesses(captured, "write")[-1]["outcome"] == "rejected"
    engine.dispose()


def test_a_transaction_begun_by_hand_is_left_alone(tmp_path: Path) -> None:
    """SQLite: before the first write of a transaction that was begun by hand a read could make that write fail."""
    engine = prepared(f"sqlite:///{tmp_path}/bank.db")

    @event.listens_for(engine, "connect")
    def no_begin(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
    with capture(exact=("*",)) as captured, engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=2))
        first, second = accesses(captured)
        assert "version.overwritten" not in first
        assert second["version.overwritten"] == printed(bal=1)
        assert first["txn.isolation"] == "serializable"
        assert first["guard"] == "serializable"
    engine.dispose()


@pytest.fixture(params=["aiosqlite", "asyncpg", "psycopg"])
async def async_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """The bank, through each async driver."""
    url = f"sqlite:///{tmp_path}/bank.db" if request.param == "aiosqlite" else request.getfixturevalue("postgres_url")
    prepared(url).dispose()
    driver = "sqlite+aiosqlite:" if request.param == "aiosqlite" else f"postgresql+{request.param}:"
    made = create_async_engine(driver + url.partition(":")[2])
    yield made
    await made.dispose()


async def test_async(async_engine: AsyncEngine) -> None:
    """The same through each async driver."""
    with capture(exact=("*",)) as captured:
        async with async_engine.begin() as connection:
            await connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
            await connection.execute(text("DELETE FROM jobs WHERE id = :i"), {"i": 7})
        write, gone = accesses(captured)
        assert write["version.overwritten"] == printed(bal=100)
        assert gone["outcome"] == "ok"
