"""sqlite3 and aiosqlite on real files: statements, transactions, rows, races, and what stays as it was."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from driver_stage import START, TIMEOUT_S, VERSION, path, story, told
from sql_stage import printed
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from noclobber.guard import GUARD
from noclobber.testing import capture

__all__ = ["path"]

TXN = {"txn.isolation": "read_committed", "unit.kind": "txn"}
UPDATE = "UPDATE accounts SET bal = ? WHERE id = ?"
SELECT = "SELECT bal FROM accounts WHERE id = ?"


def test_read_then_write(path: Path) -> None:
    """A keyed read outside any transaction; the driver begins with the write, whose base is what was read."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        (balance,) = connection.execute(SELECT, (1,)).fetchone()
        connection.execute(UPDATE, (balance + 50, 1))
        connection.commit()
        connection.close()
        read, begin, write, commit = told(captured)
        assert read == {
            **VERSION, "op": "read", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.read": printed(bal=START), "size": 8, "content.numeric": True, "version.weak": True,
        }  # fmt: skip
        assert begin == {**TXN, "op": "begin", "resource": "", "outcome": "ok"}
        assert write == {
            **VERSION, **TXN, "op": "write", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.base": printed(bal=START), "version.base.source": "observed",
            "version.written": printed(bal=START + 50), "size": 8, "content.numeric": True, "version.weak": True,
        }  # fmt: skip
        assert commit == {**TXN, "op": "commit", "resource": "", "outcome": "ok"}
        (span,) = [each for each in captured.spans if each.attributes["noclobber.op"] == "read"]
        assert (span.library, span.name) == ("sqlite3", "read sqlite")
        assert span.attributes["code.function.name"] == "test_read_then_write"


def test_the_same_name_as_under_sqlalchemy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file is one database, whoever opens it, and however."""
    monkeypatch.chdir(path.parent)
    with capture() as captured:
        for name in (path, str(path), "bank.db", f"file:{path}?mode=ro"):
            connection = sqlite3.connect(name, uri=str(name).startswith("file:"))
            connection.execute(SELECT, (1,)).fetchone()
            connection.close()
        engine = create_engine(f"sqlite:///{path}")
        with engine.connect() as through:
            through.execute(text("SELECT bal FROM accounts WHERE id = 1")).scalar()
        engine.dispose()
        names = {each["noclobber.resource"] for each in captured.accesses if each["noclobber.op"] == "read"}
        assert len(names) == 1


def test_with_block(path: Path) -> None:
    """`with connection` commits, or rolls back on an error."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("DELETE FROM jobs WHERE id = 8")
        with pytest.raises(sqlite3.OperationalError), connection:
            connection.execute("UPDATE jobs SET status = 'done' WHERE id = 7").execute("nonsense")
        connection.close()
        assert story(captured) == [
            "begin -", "delete jobs/id=8", "commit -", "begin -", "write jobs/id=7", "abort -",
        ]  # fmt: skip


def test_close_takes_back(path: Path) -> None:
    """What is open when the connection closes was not applied."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        connection.execute(UPDATE, (1, 1))
        connection.close()
        assert story(captured) == ["begin -", "write accounts/id=1", "abort -"]


def test_autocommit_and_savepoints(path: Path) -> None:
    """With `isolation_level=None` only the statements themselves steer; a savepoint may begin the transaction."""
    with capture() as captured:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(UPDATE, (1, 2))
        for statement in ("BEGIN IMMEDIATE", "SAVEPOINT one"):
            connection.execute(statement)
        connection.execute(UPDATE, (2, 2))
        for statement in ("ROLLBACK TO one", "RELEASE one", "COMMIT", "SAVEPOINT outer"):
            connection.execute(statement)
        connection.execute(UPDATE, (3, 2))
        connection.execute("RELEASE outer")
        connection.close()
        assert story(captured) == [
            "write accounts/id=2",
            "begin -", "write accounts/id=2 @1", "abort - @1", "commit -",
            "begin -", "write accounts/id=2 @1", "commit -",
        ]  # fmt: skip
        isolations = [each.get("txn.isolation") for each in told(captured) if each["op"] == "write"]
        assert isolations == [None, "serializable", "serializable"]


def test_outcomes(path: Path) -> None:
    """No row, a guard that refuses, a key that is there, a row that is not, a mistake."""
    with capture() as captured:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(UPDATE, (1, 99))
        for _ in range(2):
            connection.execute("UPDATE jobs SET status = 'done' WHERE id = 7 AND status = 'new'")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO jobs (id, status) VALUES (7, 'new')")
        assert connection.execute(SELECT, (99,)).fetchone() is None
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("UPDATE accounts SET nothing_here = 1 WHERE id = 1")
        connection.close()
        assert story(captured) == [
            "write accounts/id=99 no_effect", "write jobs/id=7", "write jobs/id=7 rejected",
            "write jobs/id=7 rejected", "read accounts/id=99 not_found", "write accounts/id=1 error",
        ]  # fmt: skip
        accesses = list(told(captured))
        assert [each.get("guard") for each in accesses[1:4]] == ["version", "version", "unique"]
        assert accesses[4]["version.read"] == "absent"


def test_many_rows_of_parameters(path: Path) -> None:
    """Executemany is one access a set, asked of a generator in its own time; an empty one is none."""
    asked = []

    def sets() -> Iterator[tuple[int, int]]:
        for number in (1, 2):
            asked.append(number)
            yield number * 1000, number

    with capture() as captured:
        connection = sqlite3.connect(path)
        connection.executemany(UPDATE, sets())
        connection.executemany(UPDATE, [])
        connection.commit()
        connection.close()
        assert asked == [1, 2]
        assert story(captured) == ["begin -", "write accounts/id=1", "write accounts/id=2", "commit -"]
        assert [each["noclobber.seq"] for each in captured.accesses] == [1, 2, 3, 4]


def test_generated_keys_and_returning(path: Path) -> None:
    """The key that SQLite gave names the row, by `lastrowid` or by RETURNING."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO accounts (owner, bal) VALUES (?, ?)", ("cyd", 5))
        connection.execute("INSERT INTO accounts (owner) VALUES ('dee') RETURNING id").fetchall()
        connection.execute("UPDATE jobs SET status = 'old' WHERE status = 'new' RETURNING id, status").fetchall()
        connection.rollback()
        connection.close()
        assert story(captured) == [
            "begin -", "write accounts/id=3", "write accounts/id=4", "write jobs/id=7", "write jobs/id=8", "abort -",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("factory", "whole"),
    [(sqlite3.Row, True), (lambda c, r: dict(zip([d[0] for d in c.description], r, strict=True)), True),
     (lambda _, r: object(), False)],
)  # fmt: skip
def test_row_factories(path: Path, factory: Any, whole: bool) -> None:
    """Whatever a row becomes, its columns are told, or the read is partial."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        connection.row_factory = factory
        row = connection.execute("SELECT * FROM accounts WHERE id = 1").fetchone()
        assert row is not None
        assert type(row) is not tuple
        connection.close()
        (read,) = told(captured)
        if whole:
            assert read["version.read"] == printed(bal=START, owner="ann")
        else:
            assert read["partial"] is True
            assert "version.read" not in read


def test_rows_as_they_are_fetched(path: Path) -> None:
    """By one, by some, by iteration; a limit that was reached is all, what was left is not."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        cursor = connection.cursor()
        cursor.execute("SELECT id, status FROM jobs ORDER BY id LIMIT 1")
        assert cursor.fetchone() == (7, "new")
        assert list(cursor.execute("SELECT id, status FROM jobs ORDER BY id")) == [(7, "new"), (8, "new")]
        cursor.execute("SELECT id, status FROM jobs ORDER BY id")
        assert cursor.fetchmany(5) == [(7, "new"), (8, "new")]
        cursor.execute("SELECT id, status FROM jobs ORDER BY id")
        assert cursor.fetchone() == (7, "new")
        cursor.close()
        connection.close()
        scans = [(len(each["result.resources"]), each.get("partial", False)) for each in told(captured)]
        assert scans == [(1, False), (2, False), (2, False), (1, True)]


def test_a_kept_cursor_does_not_keep_a_read_open(path: Path) -> None:
    """A row by its key, or the one that a limit allows, is read when it was fetched, whatever the cursor does next."""
    with capture() as captured:
        connection = sqlite3.connect(path)
        cursor = connection.cursor()
        cursor.execute(SELECT, (1,))
        assert cursor.fetchone() == (START,)
        assert story(captured) == ["read accounts/id=1"]
        cursor.execute("SELECT id FROM jobs WHERE status = 'new' LIMIT 1")
        assert cursor.fetchone() == (7,)
        assert story(captured)[1:] == ["scan jobs/"]
        connection.close()
        with pytest.raises(sqlite3.ProgrammingError):
            connection.execute(SELECT, (1,))
        assert not GUARD.failures


def test_script(tmp_path: Path) -> None:
    """A script's statements are told one by one, and teach the tables' keys."""
    with capture() as captured:
        connection = sqlite3.connect(tmp_path / "bank.db")
        connection.executescript(
            "CREATE TABLE seats (hall text, number integer, guest text, PRIMARY KEY (hall, number));"
            "INSERT INTO seats VALUES ('a; b', 1, NULL);"
        )
        connection.execute("UPDATE seats SET guest = 'ann' WHERE number = 1 AND hall = 'a; b'")
        connection.commit()
        connection.close()
        rows = [each["resource"] for each in told(captured) if each["op"] == "write"]
        assert rows == ["seats/hall=a%3B%20b,number=1"] * 2


class Mine(sqlite3.Connection):
    """A program's own connection."""

    def cursor(self, *args: Any) -> Any:
        """With a cursor of its own."""
        return super().cursor(MyCursor)

    def execute(self, *args: Any) -> Any:
        """Through it."""
        return self.cursor().execute(*args)


class MyCursor(sqlite3.Cursor):
    """A program's own cursor."""

    upper: str = ""

    def execute(self, *args: Any) -> Any:
        """Remembers the statement."""
        self.upper = args[0].upper()
        return super().execute(*args)


def test_a_program_s_own_classes(path: Path) -> None:
    """Overrides see what they always saw, and what passes below them is recorded."""
    with capture() as captured:
        connection = sqlite3.connect(path, factory=Mine)
        assert isinstance(connection, Mine)
        assert type(connection).__qualname__ == "Mine"
        cursor = connection.execute(SELECT, (1,))
        assert isinstance(cursor, MyCursor)
        assert cursor.upper == SELECT.upper()
        assert cursor.fetchone() == (START,)
        connection.close()
        assert story(captured) == ["read accounts/id=1"]


def test_as_without(path: Path) -> None:
    """Types, names, results and errors are those of the library; afterwards all is as it was."""
    before = sqlite3.connect
    with capture():
        assert sqlite3.connect is sqlite3.dbapi2.connect is not before
        assert sqlite3.connect.__name__ == "connect"
        connection = sqlite3.connect(path)
        assert isinstance(connection, sqlite3.Connection)
        cursor = connection.cursor()
        assert isinstance(cursor, sqlite3.Cursor)
        assert cursor.execute(SELECT, (1,)) is cursor
        assert cursor.connection is connection
        for wrong in ((), (1,), (SELECT, (1, 2)), (SELECT, 5), ("nonsense",)):
            with pytest.raises((TypeError, sqlite3.Error)):
                connection.execute(*wrong)
        with pytest.raises((TypeError, sqlite3.Error)):
            connection.executemany(UPDATE, 5)
    assert sqlite3.connect is sqlite3.dbapi2.connect is before
    assert connection.execute(SELECT, (1,)).fetchone() == (START,)
    connection.execute(UPDATE, (1, 1))
    connection.close()


def test_a_refused_commit_is_none(path: Path) -> None:
    """While another connection reads, SQLite refuses to commit and goes on: nothing has ended."""
    with capture() as captured:
        reader, writer = sqlite3.connect(path), sqlite3.connect(path, timeout=0)
        cursor = reader.execute("SELECT id FROM jobs")
        assert cursor.fetchone() == (7,)
        writer.execute(UPDATE, (1, 1))
        with pytest.raises(sqlite3.OperationalError):
            writer.commit()
        assert writer.in_transaction
        assert cursor.fetchall() == [(8,)]
        writer.commit()
        reader.close()
        writer.close()
        assert story(captured) == ["begin -", "write accounts/id=1", "scan jobs/", "commit -"]
        assert sorted(each["noclobber.seq"] for each in captured.accesses) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "place",
    ["sql_session.statement_of", "sql_session.count", "sql_session.new_transaction", "sqlite3_connections._session",
     "sqlite3_connections._plain", "sqlite3_connections._below", "sqlite3._name"],
)  # fmt: skip
def test_a_mistake_of_ours_is_not_the_program_s(path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever breaks inside, the program gets its rows."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with capture(), monkeypatch.context() as patch:
        patch.setattr(GUARD, "reraises", False)
        patch.setattr(f"noclobber.stores.{place}", broken)
        connection = sqlite3.connect(path)
        assert connection.execute(SELECT, (1,)).fetchone() == (START,)
        with connection:
            assert connection.execute(UPDATE, (5, 1)).rowcount == 1
            connection.executemany(UPDATE, [(6, 1)])
        connection.close()
    assert any("RuntimeError" in cause for cause in GUARD.failures)


# -- under others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_once_under_sqlalchemy(path: Path, before: bool) -> None:
    """What SQLAlchemy records its driver does not, whenever the engine was made."""
    engine = create_engine(f"sqlite:///{path}") if before else None
    with capture(exact=("*",)) as captured:
        engine = engine or create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.execute(text("SELECT bal FROM accounts WHERE id = 1")).all()
            connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
            with connection.begin_nested() as nested:
                connection.execute(text("UPDATE accounts SET bal = 6 WHERE id = 1"))
                nested.rollback()
        engine.dispose()
        assert {span.library for span in captured.spans} == {"sqlalchemy"}
        assert story(captured) == [
            "begin -", "read accounts/id=1", "write accounts/id=1", "write accounts/id=1 @1", "abort - @1", "commit -",
        ]  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
def test_once_under_async_sqlalchemy(path: Path, before: bool) -> None:
    """The same where SQLAlchemy uses aiosqlite, whose statements run in a thread."""

    async def act(engine: Any) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT bal FROM accounts WHERE id = 1"))
            await connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
        await engine.dispose()

    url = f"sqlite+aiosqlite:///{path}"
    engine = create_async_engine(url) if before else None
    with capture() as captured:
        asyncio.run(act(engine or create_async_engine(url)))
        assert {span.library for span in captured.spans} == {"sqlalchemy", "python"}
        assert story(captured) == ["begin -", "read accounts/id=1", "write accounts/id=1", "commit -"]


def test_once_under_langgraph(tmp_path: Path) -> None:
    """LangGraph's savers use sqlite3 and aiosqlite; a checkpoint is one access, and no rows beside it."""
    import langgraph.pregel  # noqa: F401  with it LangGraph's own hooks come in
    from langgraph.checkpoint.base import empty_checkpoint
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}

    async def act() -> None:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "a.db")) as saver:
            put = await saver.aput(config, empty_checkpoint(), {}, {})
            await saver.aput_writes(put, [("channel", 1)], "task")
            assert await saver.aget_tuple(config) is not None
            assert len([each async for each in saver.alist(config)]) == 1

    with capture() as captured:
        with SqliteSaver.from_conn_string(str(tmp_path / "s.db")) as saver:
            put = saver.put(config, empty_checkpoint(), {}, {})
            saver.put_writes(put, [("channel", 1)], "task")
            assert saver.get_tuple(config) is not None
            assert len(list(saver.list(config))) == 1
        asyncio.run(act())
        told_by = [(span.library, span.attributes["noclobber.op"]) for span in captured.spans]
        assert [each for each in told_by if each[0] != "python"] == [("langgraph", "write"), ("langgraph", "read")] * 2


def test_once_under_langgraph_s_stores(tmp_path: Path) -> None:
    """Its stores too: an item is one access; tables that are set up, names that are listed are none."""
    import langgraph.pregel  # noqa: F401
    from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore

    async def act() -> None:
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "a.db")) as store:
            await store.setup()
            await store.aput(("ns",), "k", {"v": 1})
            assert await store.aget(("ns",), "k") is not None
            assert await store.alist_namespaces() == [("ns",)]

    with capture() as captured:
        with SqliteStore.from_conn_string(str(tmp_path / "s.db")) as store:
            store.setup()
            store.put(("ns",), "k", {"v": 1})
            assert store.get(("ns",), "k") is not None
            assert store.list_namespaces() == [("ns",)]
        asyncio.run(act())
        told_by = [(span.library, span.attributes["noclobber.op"]) for span in captured.spans]
        assert [each for each in told_by if each[0] != "python"] == [("langgraph", "write"), ("langgraph", "read")] * 2


# -- aiosqlite -----------------------------------------------------------------------------------------------------


def test_aiosqlite(path: Path) -> None:
    """The task that waits is the strand, at its own place in the code, whichever thread works for it."""

    async def act() -> None:
        async with aiosqlite.connect(path) as connection:
            async with connection.execute(SELECT, (1,)) as cursor:
                row = await cursor.fetchone()
            assert row is not None
            await connection.execute(UPDATE, (row[0] + 50, 1))
            await connection.commit()

    with capture() as captured:
        asyncio.run(act())
        assert story(captured) == ["read accounts/id=1", "begin -", "write accounts/id=1", "commit -"]
        mine = [each for each in captured.accesses if each["noclobber.op"] != "join"]
        assert len({each["noclobber.strand"] for each in mine}) == 1
        assert {each["code.function.name"] for each in mine} == {"test_aiosqlite.<locals>.act"}
        assert mine[2]["noclobber.version.base.source"] == "observed"


def test_cancelled_wait(path: Path) -> None:
    """Who waits no longer is not the strand of what still runs."""
    busy, go_on = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        assert go_on.wait(TIMEOUT_S)

    async def act() -> None:
        async with aiosqlite.connect(path) as connection:
            blocking = asyncio.ensure_future(connection._execute(block))
            assert await asyncio.to_thread(busy.wait, TIMEOUT_S)
            write = asyncio.ensure_future(connection.execute(UPDATE, (5, 1)).__aenter__())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
            go_on.set()
            await blocking
            await connection.commit()
            await connection.execute_fetchall(SELECT, (1,))

    with capture(fixed=False) as captured:
        asyncio.run(act())
        (write,) = [each for each in captured.accesses if each["noclobber.op"] == "write"]
        (read,) = [each for each in captured.accesses if each["noclobber.op"] == "read"]
        assert write["noclobber.strand"] != read["noclobber.strand"]
