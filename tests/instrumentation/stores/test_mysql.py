"""PyMySQL, aiomysql and SQLAlchemy against a real MariaDB: statements, transactions, snapshots, what it normalises."""

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiomysql
import asyncmy
import pymysql
import pytest
from asyncmy import cursors as asyncmy_cursors
from driver_stage import SCHEMA, START, TIMEOUT_S, findings, overtaken, together
from mariadb_stage import DATABASE, USER, mariadb
from sqlalchemy import create_engine, text

from noclobber.testing import capture

SELECT = "SELECT bal FROM accounts WHERE id = %s"
UPDATE = "UPDATE accounts SET bal = %s WHERE id = %s"
SHAPES = (
    "CREATE TABLE shapes (id int PRIMARY KEY, price DECIMAL(10,2), at DATETIME, stamp TIMESTAMP NULL, doc JSON,"
    " code CHAR(6), total int DEFAULT 0)"
)
TRIGGER = "CREATE TRIGGER counted BEFORE UPDATE ON shapes FOR EACH ROW SET NEW.total = OLD.total + 1"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server's port."""
    with mariadb() as found:
        yield found


@pytest.fixture
def where(server: int) -> dict[str, Any]:
    """How to connect to a fresh bank."""
    found: dict[str, Any] = {"host": "127.0.0.1", "port": server, "user": USER, "database": DATABASE}
    with contextlib.closing(pymysql.connect(**found, autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS accounts, jobs, shapes")
        for statement in (*SCHEMA, SHAPES, TRIGGER, "INSERT INTO shapes (id) VALUES (1)"):
            cursor.execute(statement)
    return found


def story(captured: Any) -> list[str]:
    """Each access in a few words: op, row, how it ended where not ok, savepoints as `@path`."""
    lines = []
    for each in captured.accesses:
        if each["noclobber.op"] == "join":
            continue
        row = each["noclobber.resource"].partition(f"/{DATABASE}")[2].removeprefix("/") or "-"
        outcome, savepoint = each["noclobber.outcome"], each.get("noclobber.txn.savepoint")
        lines.append(" ".join([each["noclobber.op"], row, *([outcome] if outcome != "ok" else []),
                               *([f"@{savepoint}"] if savepoint else [])]))  # fmt: skip
    return lines


def levels(captured: Any) -> list[tuple[str, str | None]]:
    """Each access's op and isolation."""
    return [(each["noclobber.op"], each.get("noclobber.txn.isolation")) for each in captured.accesses]


def test_read_then_write(where: dict[str, Any]) -> None:
    """The first statement begins a transaction; the write's base is what was read in it; the numbers follow."""
    with capture() as captured:
        with contextlib.closing(pymysql.connect(**where)) as connection, connection.cursor() as cursor:
            cursor.execute(SELECT, (1,))
            assert cursor.fetchone() == (START,)
            assert cursor.execute(UPDATE, (START + 50, 1)) == 1
            connection.commit()
        assert story(captured) == ["begin -", "read accounts/id=1", "write accounts/id=1", "commit -"]
        _, read, write, _ = captured.accesses
        assert write["noclobber.version.base"] == read["noclobber.version.read"]
        assert write["noclobber.version.base.source"] == "observed"
        assert len({each["noclobber.txn.id"] for each in captured.accesses}) == 1
        assert {span.library for span in captured.spans if span.attributes["noclobber.op"] != "mark"} == {"pymysql"}
        assert read["noclobber.system"] == "mysql"


def test_one_name_through_all(where: dict[str, Any]) -> None:
    """Both drivers, both dialects, a qualified name, other cases: one row."""
    rows = set()
    with capture() as captured:
        with contextlib.closing(pymysql.connect(**where)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT BAL FROM `{DATABASE}`.`accounts` WHERE `ID` = 1")
        for dialect in ("mysql", "mariadb"):
            engine = create_engine(f"{dialect}+pymysql://{USER}@127.0.0.1:{where['port']}/{DATABASE}")
            with engine.connect() as through:
                assert through.execute(text("SELECT bal FROM accounts WHERE id = 1")).scalar() == START
            engine.dispose()
        reads = [each for each in captured.accesses if each["noclobber.op"] == "read"]
        rows = {each["noclobber.resource"] for each in reads}
        assert (len(reads), len(rows)) == (3, 1)


def test_transactions(where: dict[str, Any]) -> None:
    """Autocommit, savepoints, a BEGIN and a table's definition that commit, what is left at the end."""
    with capture() as captured:
        connection = pymysql.connect(**where, autocommit=True)
        cursor = connection.cursor()
        cursor.execute(UPDATE, (1, 2))
        connection.begin()
        cursor.execute("SAVEPOINT one")
        cursor.execute(UPDATE, (2, 2))
        cursor.execute("ROLLBACK TO one")
        connection.begin()
        cursor.execute(UPDATE, (3, 2))
        cursor.execute("CREATE TABLE IF NOT EXISTS jobs (id int PRIMARY KEY)")
        cursor.execute(UPDATE, (4, 2))
        connection.autocommit(False)
        cursor.execute(UPDATE, (5, 2))
        connection.autocommit(True)
        connection.begin()
        cursor.execute(UPDATE, (6, 2))
        connection.close()
        write = "write accounts/id=2"
        assert story(captured) == [
            write, "begin -", f"{write} @1", "abort - @1", "commit -", "begin -", write, "commit -", write,
            "begin -", write, "commit -", "begin -", write, "abort -",
        ]  # fmt: skip


def test_outcomes(where: dict[str, Any]) -> None:
    """No row, a guard that refuses, a key that is there, many rows, an upsert, a mistake."""
    with capture() as captured:
        with contextlib.closing(pymysql.connect(**where, autocommit=True)) as connection:
            cursor = connection.cursor()
            cursor.execute(UPDATE, (1, 99))
            for _ in range(2):
                cursor.execute("UPDATE jobs SET status = 'it\\'s %s' WHERE id = 7 AND status = 'new'")
            with pytest.raises(pymysql.err.IntegrityError):
                cursor.execute("INSERT INTO jobs (id, status) VALUES (%s, %s)", (7, "new"))
            cursor.execute(SELECT, (99,))
            assert cursor.executemany("INSERT INTO jobs (id, status) VALUES (%s, %s)", [(1, "a"), (2, "b")]) == 2
            cursor.executemany(UPDATE, [(1, 1), (2, 2)])
            cursor.executemany(UPDATE, [])
            cursor.execute("INSERT INTO accounts (id, bal) VALUES (1, 5) ON DUPLICATE KEY UPDATE bal = VALUES(bal)")
            cursor.execute("INSERT INTO accounts (id, bal) VALUES (1, 5) ON DUPLICATE KEY UPDATE bal = bal + 1")
            cursor.execute("REPLACE INTO jobs (id, status) VALUES (1, 'c')")
            with pytest.raises(pymysql.err.OperationalError):
                cursor.execute("UPDATE accounts SET nothing_here = 1 WHERE id = 1")
        assert story(captured) == [
            "write accounts/id=99 no_effect", "write jobs/id=7", "write jobs/id=7 rejected",
            "write jobs/id=7 rejected", "read accounts/id=99 not_found", "write jobs/id=1", "write jobs/id=2",
            "write accounts/id=1", "write accounts/id=2", "write accounts/id=1", "update accounts/id=1",
            "write jobs/id=1", "write accounts/id=1 error",
        ]  # fmt: skip
        assert not any("noclobber.partial" in each for each in captured.accesses)


def test_isolation(where: dict[str, Any]) -> None:
    """Plain reads are of the snapshot; locking reads and writes see what is committed; levels that were set."""
    with capture() as captured:
        with contextlib.closing(pymysql.connect(**where)) as connection:
            cursor = connection.cursor()
            cursor.execute(SELECT, (1,))
            connection.rollback()
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(SELECT, (1,))
            cursor.execute(f"{SELECT} FOR UPDATE", (1,))
            cursor.execute(f"{SELECT} LOCK IN SHARE MODE", (1,))
            cursor.execute(UPDATE, (1, 1))
            connection.commit()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            for level in ("", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"):
                cursor.execute(SELECT, (1,))
                connection.rollback()
                if level:
                    cursor.execute(level)
                    cursor.execute(SELECT, (1,))
                    connection.rollback()
        snapshot, newest = "repeatable_read", "read_committed"
        assert levels(captured) == [
            *[(op, None) for op in ("begin", "read", "abort")],
            ("begin", snapshot), ("read", snapshot), ("read", newest), ("read", newest), ("write", newest),
            ("commit", snapshot),
            *[(op, "serializable") for op in ("begin", "read", "abort")],
            *[(op, snapshot) for op in ("begin", "read", "abort")],
            *[(op, newest) for op in ("begin", "read", "abort")],
        ]  # fmt: skip


@pytest.mark.parametrize("writes", [True, False])
def test_snapshot_is_no_stale_read(where: dict[str, Any], tmp_path: Path, *, writes: bool) -> None:
    """Its reads repeat while another commits; a locking read sees the newer state: InnoDB promised nothing else."""
    with capture() as captured:
        first, wrote = threading.Event(), threading.Event()

        def reader() -> None:
            with contextlib.closing(pymysql.connect(**where)) as connection:
                cursor = connection.cursor()
                cursor.execute(SELECT, (1,))
                first.set()
                assert wrote.wait(TIMEOUT_S)
                cursor.execute(SELECT, (1,))
                assert cursor.fetchone() == (START,)
                cursor.execute(f"{SELECT} FOR UPDATE", (1,))
                assert cursor.fetchone() == (START + 7,)
                if writes:
                    cursor.execute(UPDATE, (START + 57, 1))
                connection.commit()

        def writer() -> None:
            assert first.wait(TIMEOUT_S)
            with contextlib.closing(pymysql.connect(**where, autocommit=True)) as connection:
                connection.cursor().execute(UPDATE, (START + 7, 1))
            wrote.set()

        together(reader, writer)
    strong = [each for each in findings(captured, tmp_path) if each[1] != "possible"]
    assert strong == ([] if writes else [("non_repeatable_read", "likely")])


def test_deadlock(where: dict[str, Any]) -> None:
    """The one that is chosen is taken back whole, by the server: an abort, and then a new transaction."""
    with capture() as captured:
        ready, errors = threading.Barrier(2), []

        def cross(one: int, other: int) -> None:
            with contextlib.closing(pymysql.connect(**where)) as connection:
                cursor = connection.cursor()
                cursor.execute(UPDATE, (one, one))
                ready.wait(TIMEOUT_S)
                try:
                    cursor.execute(UPDATE, (other, other))
                    connection.commit()
                except pymysql.err.OperationalError as error:
                    errors.append(error.args[0])
                    cursor.execute(SELECT, (1,))
                    connection.commit()

        together(lambda: cross(1, 2), lambda: cross(2, 1))
        assert errors == [1213]
        by_txn: dict[str, list[str]] = {}
        for each in captured.accesses:
            if "noclobber.txn.id" in each:
                by_txn.setdefault(each["noclobber.txn.id"], []).append(
                    f"{each['noclobber.op']} {each['noclobber.outcome']}"
                )
        assert sorted(by_txn.values()) == [
            ["begin ok", "read ok", "commit ok"], ["begin ok", "write ok", "write error", "abort ok"],
            ["begin ok", "write ok", "write ok", "commit ok"],
        ]  # fmt: skip


def test_lost_connection(where: dict[str, Any]) -> None:
    """A commit that nobody answered may have been applied: unknown, and no abort is told."""
    with capture() as captured:
        connection = pymysql.connect(**where)
        cursor = connection.cursor()
        cursor.execute(UPDATE, (1, 2))
        with contextlib.closing(pymysql.connect(**where)) as other:
            other.cursor().execute(f"KILL {connection.thread_id()}")
        with pytest.raises(pymysql.err.OperationalError):
            connection.commit()
        assert story(captured) == ["begin -", "write accounts/id=2", "commit - unknown"]


def test_what_mariadb_normalises(where: dict[str, Any], tmp_path: Path) -> None:
    """Turns that only look like races: decimals, times, JSON, padded text, a trigger; one agent after the other."""
    columns = "price, at, stamp, doc, code"
    change = "UPDATE shapes SET price = %s, at = %s, stamp = %s, doc = %s, code = %s WHERE id = 1"
    with capture() as captured:
        turn = threading.Lock()

        def agent(number: int) -> None:
            with contextlib.closing(pymysql.connect(**where)) as connection:
                cursor = connection.cursor()
                for at in range(4):
                    with turn:
                        cursor.execute(f"SELECT {columns}, total FROM shapes WHERE id = 1 FOR UPDATE")
                        assert cursor.fetchone() is not None
                        moment = dt.datetime(2026, 11, 26, 1, 2, 3 + at, 999_000)  # noqa: DTZ001  MySQL's have none
                        price = Decimal(f"{number}.{at}")
                        cursor.execute(change, (price, moment, moment, f'{{"b":1,  "a":{at}}}', f"c{number}  "))
                        connection.commit()

        together(lambda: agent(1), lambda: agent(2))
    assert findings(captured, tmp_path) == []


@pytest.mark.parametrize("driver", [aiomysql, asyncmy])
def test_asynchronous(driver: Any, where: dict[str, Any]) -> None:
    """The same asynchronously, through a pool; a cancelled statement may have been applied."""

    async def act() -> None:
        at = {**where, "db": where["database"]}
        del at["database"]
        async with (
            driver.create_pool(**at, maxsize=1) as pool,
            pool.acquire() as connection,
            connection.cursor(driver.cursors.DictCursor) as cursor,
        ):
            await cursor.execute(SELECT, (1,))
            assert await cursor.fetchone() == {"bal": START}
            await cursor.execute(UPDATE, (1, 1))
            await connection.commit()
            await cursor.executemany("INSERT INTO jobs (id, status) VALUES (%s, %s)", [(1, "a"), (2, "b")])
            await connection.rollback()
        lost = await driver.connect(**at)
        made = lost.cursor()
        cursor = await made if hasattr(made, "__await__") else made  # asyncmy: since 0.2.18
        await cursor.execute(UPDATE, (5, 2))
        waiting = asyncio.create_task(cursor.execute("UPDATE accounts SET bal = SLEEP(2) WHERE id = 2"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        lost.close()

    with capture() as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        told = story(captured)
        assert told[:8] == [
            "begin -", "read accounts/id=1", "write accounts/id=1", "commit -",
            "begin -", "write jobs/id=1", "write jobs/id=2", "abort -",
        ]  # fmt: skip
        assert told[-1] == "abort -"
        spans = [span for span in captured.spans if span.attributes["noclobber.op"] == "read"]
        assert [span.library for span in spans] == [driver.__name__]
        assert "code.function.name" in spans[0].attributes


def _streams(connection: Any) -> None:
    with connection.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute(SELECT, (1,))
        assert len(cursor.fetchall()) == 1


def _calls(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.callproc("look", (1,))
        assert len(cursor.fetchall()) == 1


def _asks(text: str) -> Callable[[Any], None]:
    def ask(connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(text)
            cursor.fetchall()

    return ask


def _says_two_things(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT bal FROM accounts WHERE id = 1")
        assert cursor.nextset()


LOOKS: list[Callable[[Any], None]] = [
    _streams, _calls, _says_two_things,
    _asks("CALL look(1)"), _asks("SELECT IFNULL(bal, 0) FROM accounts WHERE id = 1"),
]  # fmt: skip


def _overtaken(at: dict[str, Any], look: Callable[[Any], Any], number: int) -> Any:
    """What is captured of one who reads, is overtaken, looks again somehow, and writes."""
    with (
        capture(fixed=False) as captured,
        contextlib.closing(pymysql.connect(**at)) as mine,
        contextlib.closing(pymysql.connect(**at)) as other,
    ):
        overtaken(
            lambda: _asks("SELECT bal FROM accounts WHERE id = 1")(mine),
            lambda: other.cursor().execute(UPDATE, (START - 20 - number, 1)),
            lambda: look(mine),
            lambda: mine.cursor().execute(UPDATE, (START + 50 + number, 1)),
        )
    return captured


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([_asks("SELECT COUNT(*) FROM accounts")], [("lost_update", "likely")]),
        (LOOKS, [("lost_update", "possible")]),
        ([lambda connection: connection.query(b"SELECT bal FROM accounts WHERE id = 1")], []),
    ],
)
def test_a_look_that_nobody_saw(
    where: dict[str, Any], looks: list[Callable[[Any], None]], expected: list[tuple[str, str]], tmp_path: Path
) -> None:
    """Who looked again where no hook sees the rows may know what an older read here does not: no accusation."""
    with contextlib.closing(pymysql.connect(**where)) as connection, connection.cursor() as cursor:
        cursor.execute("DROP PROCEDURE IF EXISTS look")
        cursor.execute("CREATE PROCEDURE look(IN which int) SELECT bal FROM accounts WHERE id = which")
    at = {**where, "autocommit": True, "client_flag": pymysql.constants.CLIENT.MULTI_STATEMENTS}
    for number, look in enumerate(looks):
        captured = _overtaken(at, look, number)
        found = [each for each in findings(captured, tmp_path) if each[0] == "lost_update"]
        assert (number, found) == (number, expected)


@pytest.mark.parametrize("driver", [aiomysql, asyncmy])
def test_asynchronous_looks(driver: Any, where: dict[str, Any]) -> None:
    """Unbuffered cursors and procedures are partial; a query of the connection itself is seen."""

    async def act() -> None:
        at = {**where, "db": where["database"], "autocommit": True}
        del at["database"]
        connection = await driver.connect(**at)
        async with connection.cursor(driver.cursors.SSCursor) as cursor:
            await cursor.execute(SELECT, (1,))
            assert list(await cursor.fetchall()) == [(START,)]
        async with connection.cursor() as cursor:
            await cursor.execute("CREATE OR REPLACE PROCEDURE look(IN which int) SELECT bal FROM accounts")
            await cursor.callproc("look", (1,))
            assert len(await cursor.fetchall()) == 2
            while await cursor.nextset():
                pass
        await connection.query("SELECT bal FROM accounts WHERE id = 2")
        await connection.ensure_closed()

    with capture() as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        assert story(captured) == ["read accounts/id=1", "scan -", "read accounts/id=2"]
        partial = [each.get("noclobber.partial", False) for each in captured.accesses if each["noclobber.op"] != "join"]
        assert partial == [True, True, False]


@pytest.mark.skipif(
    not hasattr(asyncmy.connection.Connection, "prepare"), reason="asyncmy prepares statements since 0.2.14"
)
def test_asyncmy_in_one_piece(where: dict[str, Any]) -> None:
    """What a server gets as prepared statements and in bulk is told set by set; its own preparations are a look."""
    insert = "INSERT INTO jobs (id, status) VALUES (%s, %s)"

    class Mine(asyncmy_cursors.DictCursor):
        """A program's own."""

    async def act() -> None:
        connection = await asyncmy.connect(**where, autocommit=True, stmt_cache_size=10)
        async with connection.cursor(Mine) as cursor:
            assert (isinstance(cursor, Mine), type(cursor).__name__) == (True, "Mine")
            await cursor.execute(SELECT, (1,))
            assert list(await cursor.fetchall()) == [{"bal": START}]
            assert await cursor.executemany(UPDATE, [(1_000_001, 1), (1_000_002, 2)]) == 2
            assert await cursor.executemany(insert, [(1, "a"), (2, "b")]) == 2
            with pytest.raises(asyncmy.errors.IntegrityError):
                await cursor.executemany(insert, [(3, "c"), (1, "a")])
            assert await cursor.execute(UPDATE, (1_000_003, 2)) == 1
        async with await connection.prepare("SELECT bal FROM accounts WHERE id = ?") as prepared:
            assert (await prepared.execute((1,))).rows == ((1_000_001,),)
        await connection.ensure_closed()

    with capture() as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        assert story(captured) == [
            "read accounts/id=1", "write accounts/id=1", "write accounts/id=2", "write jobs/id=1", "write jobs/id=2",
            "write jobs/id=3 unknown", "write jobs/id=1 unknown", "write accounts/id=2", "scan -",
        ]  # fmt: skip


def test_nothing_secret(where: dict[str, Any]) -> None:
    """No value, literal or text is in any attribute."""
    with capture() as captured:
        with contextlib.closing(pymysql.connect(**where, autocommit=True)) as connection:
            cursor = connection.cursor()
            cursor.execute("UPDATE accounts SET owner = 'swordfish-1' WHERE id = 1 # swordfish-2 %s")
            cursor.execute('SELECT owner FROM accounts WHERE owner = "swordfish-1"')
            with pytest.raises(pymysql.err.ProgrammingError):
                cursor.execute("UPDATE swordfish SELECT")
        assert "swordfish-" not in str([span.attributes for span in captured.spans])
