"""Advisory locks of PostgreSQL, named locks of MariaDB: who holds which, from when to when, whoever takes them."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiomysql
import asyncpg
import psycopg
import pymysql
import pytest
from sqlalchemy import NullPool, create_engine, text

from noclobber.testing import capture

sys.path.insert(0, str(Path(__file__).parents[1] / "stores"))
from driver_stage import TIMEOUT_S, judged, together
from mariadb_stage import DATABASE, USER, mariadb
from sql_stage import postgres_url

__all__ = ["postgres_url"]


@pytest.fixture
def dsn(postgres_url: str) -> str:
    """A database with one account."""
    found = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS accounts CASCADE")
        connection.execute("CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)")
        connection.execute("INSERT INTO accounts VALUES (1, 10000100)")
    return found


@pytest.fixture(scope="module")
def mysql() -> Iterator[dict[str, Any]]:
    """How to connect to a MariaDB."""
    with mariadb() as port:
        yield {"host": "127.0.0.1", "port": port, "user": USER, "database": DATABASE, "autocommit": True}


def story(captured: Any) -> list[str]:
    """Locks by their last name, whether they are shared, how it ended; accesses with what they hold."""
    lines = []
    for each in captured.accesses:
        if each["noclobber.op"] in ("join", "spawn"):
            continue
        name = each["noclobber.resource"].rpartition("/")[2]
        held = [lock.rpartition("/")[2] for lock in each.get("noclobber.locks", ())]
        words = [each["noclobber.op"], name or "-", each.get("noclobber.lock.mode", ""), each["noclobber.outcome"]]
        lines.append(
            " ".join([word for word in words if word not in ("", "ok")] + [f"[{','.join(held)}]"] * bool(held))
        )
    return lines


def test_session_locks(dsn: str) -> None:
    """A session's lock is held until it is given back, as often as it was taken; the connection is the owner."""
    with capture() as captured, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (42,))
        connection.execute("SELECT pg_advisory_lock(42)").fetchone()
        connection.execute("UPDATE accounts SET bal = 5 WHERE id = 1")
        connection.execute("SELECT pg_advisory_unlock(42)").fetchone()
        connection.execute("UPDATE accounts SET bal = 6 WHERE id = 1")
        assert connection.execute("SELECT pg_advisory_unlock(%s)", (42,)).fetchone() == (True,)
        assert connection.execute("SELECT pg_advisory_unlock(42)").fetchone() == (False,)
        connection.execute("SELECT pg_advisory_lock_shared(1, 2)")
        connection.execute("UPDATE accounts SET bal = 7 WHERE id = 1")
        told = story(captured)
        assert told == [
            "lock 42", "write id=1 [42]", "write id=1 [42]", "unlock 42", "unlock 42 rejected", "lock 1,2 shared",
            "write id=1",
        ]  # fmt: skip
        locks = [each for each in captured.accesses if each["noclobber.op"] in ("lock", "unlock")]
        assert len({each["noclobber.lock.owner"] for each in locks}) == 1
        assert locks[0]["noclobber.resource"].endswith("/pg_advisory/42")
        connection.close()
        assert story(captured)[-1] == "unlock 1,2 shared"
        (span,) = [each for each in captured.spans if each.attributes["noclobber.op"] == "lock"][:1]
        assert (span.library, span.name) == ("psycopg", "lock postgresql")


def test_transaction_locks(dsn: str) -> None:
    """A transaction's lock ends with it, or with the savepoint that it was taken in; a refused one is not held."""
    with capture() as captured, psycopg.connect(dsn) as connection, psycopg.connect(dsn) as other:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", ("a name",))
        assert other.execute("SELECT pg_try_advisory_xact_lock(hashtext('a name'))").fetchone() == (False,)
        other.rollback()
        connection.execute("SAVEPOINT one")
        assert connection.execute("SELECT pg_try_advisory_xact_lock(7)").fetchone() == (True,)
        connection.execute("ROLLBACK TO one")
        connection.execute("UPDATE accounts SET bal = 5 WHERE id = 1")
        connection.commit()
        told = [line for line in story(captured) if "begin" not in line]
        name = told[0].split()[1]
        assert name.isalnum()
        assert told == [
            f"lock {name}", f"lock {name} rejected [{name}]", f"abort {DB} [{name}]", f"lock 7 [{name}]",
            f"abort {DB} [{name},7]", f"unlock 7 [{name}]", f"write id=1 [{name}]", f"commit {DB} [{name}]",
            f"unlock {name}",
        ]  # fmt: skip


DB = "postgres"


def test_a_refused_statement_gives_back_locks(dsn: str, tmp_path: Path) -> None:
    """PostgreSQL gives up a transaction, or a savepoint, at the refusal, not at the rollback that is said later."""
    with capture(fixed=False) as captured, psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(7)")
        with pytest.raises(psycopg.ProgrammingError):
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (object(),))  # nothing is sent
        connection.execute("SAVEPOINT half")
        connection.execute("SELECT pg_advisory_xact_lock(8)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("UPDATE accounts SET bal = 1 / 0 WHERE id = 1")
        told = [line for line in story(captured) if "lock" in line]
        assert told == ["lock 7", "lock 8 [7]", "unlock 8 [7]"]
        connection.execute("ROLLBACK TO half")
        connection.execute("RELEASE half")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("UPDATE accounts SET bal = 1 / 0 WHERE id = 1")
        told = [line for line in story(captured) if "lock" in line]
        assert told[3:] == ["unlock 7"]
        *_, update, unlock = captured.spans
        assert unlock.start_ns == update.start_ns
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute("SET lock_timeout = '10s'")
            other.execute("SELECT pg_advisory_lock(7)")
        connection.rollback()
    assert judged(captured, tmp_path).findings == []


def test_asyncpg(dsn: str) -> None:
    """The same asynchronously; a pool that resets a connection gives back what it held."""

    async def act() -> None:
        async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
            async with pool.acquire() as connection:
                assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", 5)
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(6)")
            async with pool.acquire() as connection:
                await connection.execute("UPDATE accounts SET bal = 5 WHERE id = 1")

    with capture() as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        assert story(captured) == [
            "lock 5", f"begin {DB} [5]", "lock 6 [5]", f"commit {DB} [5,6]", "unlock 6 [5]", "unlock 5", "write id=1",
        ]  # fmt: skip


def test_sqlalchemy(dsn: str, postgres_url: str) -> None:
    """A lock outlives a `Connection` that goes back to its pool, and ends with the driver's."""
    engine, plain = create_engine(postgres_url, pool_size=1), create_engine(postgres_url, poolclass=NullPool)
    with capture() as captured:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": 8})
            connection.commit()
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT pg_advisory_unlock(8)"))
            assert connection.scalar(text("SELECT pg_try_advisory_xact_lock(9)"))
            connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
            connection.commit()
        with plain.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(10)"))
        told = [line for line in story(captured) if DB not in line]
        assert told == ["lock 8", "unlock 8", "lock 9", "write id=1 [9]", "unlock 9", "lock 10", "unlock 10"]
        owners = {
            each["noclobber.lock.owner"] for each in captured.accesses if "/pg_advisory/8" in each["noclobber.resource"]
        }
        assert len(owners) == 1
    engine.dispose()


def test_mysql(mysql: dict[str, Any]) -> None:
    """`GET_LOCK` names locks of the whole server; who waits in vain does not get it."""
    with capture() as captured, contextlib.closing(pymysql.connect(**mysql)) as other:
        connection = pymysql.connect(**mysql)
        mine, theirs = connection.cursor(), other.cursor()
        mine.execute("SELECT GET_LOCK(%s, 5)", ("till",))
        theirs.execute("SELECT GET_LOCK('till', 0)")
        assert theirs.fetchone() == (0,)
        mine.execute("DO RELEASE_LOCK('till')")
        theirs.execute("SELECT GET_LOCK('till', 0)")
        theirs.execute("SELECT RELEASE_ALL_LOCKS()")
        mine.execute("SELECT GET_LOCK('other', 5)")
        connection.close()
        assert story(captured) == [
            "lock till", "lock till rejected [till]", "unlock till", "lock till", "unlock till", "lock other",
            "unlock other",
        ]  # fmt: skip
        assert captured.accesses[0]["noclobber.resource"].endswith(f":{mysql['port']}/named_locks/till")


def test_aiomysql(mysql: dict[str, Any]) -> None:
    """The same asynchronously."""

    async def act() -> None:
        at = {**mysql, "db": mysql["database"]}
        del at["database"]
        connection = await aiomysql.connect(**at)
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT GET_LOCK('a', 1)")
            await cursor.execute("SELECT RELEASE_LOCK('a')")
        await connection.ensure_closed()

    with capture() as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        assert story(captured) == ["lock a", "unlock a"]


def _book(dsn: str, amount: int, before: str, after: str) -> Callable[[], None]:
    def book() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            if before:
                connection.execute(before)
            (balance,) = connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchone() or (0,)
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (balance + amount,))
            if after:
                connection.execute(after)

    return book


def _book_in_transaction(dsn: str, amount: int) -> Callable[[], None]:
    def book() -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(1)")
            (balance,) = connection.execute("SELECT bal FROM accounts WHERE id = 1").fetchone() or (0,)
            connection.execute("UPDATE accounts SET bal = %s WHERE id = 1", (balance + amount,))

    return book


@pytest.mark.parametrize("how", ["session", "transaction"])
def test_locked_agents_are_defended(dsn: str, how: str, tmp_path: Path) -> None:
    """Four agents that take the lock first, again and again: nothing is found, also none about the locks themselves."""
    locked = ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)")
    for round_ in range(3):
        with capture(background=True, fixed=False) as captured:
            amounts = range(100 * round_ + 1, 100 * round_ + 5)
            if how == "session":
                together(*(_book(dsn, amount, *locked) for amount in amounts))
            else:
                together(*(_book_in_transaction(dsn, amount) for amount in amounts))
        judgement = judged(captured, tmp_path)
        assert judgement.findings == []
    assert judgement.defended or how
