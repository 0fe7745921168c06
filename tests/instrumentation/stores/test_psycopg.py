"""psycopg 3 against a real PostgreSQL, sync and async: statements, transactions, rows, races."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from driver_stage import START, TIMEOUT_S, VERSION, dsn, findings, one, overtaken, story, told
from psycopg import sql
from psycopg.rows import class_row, dict_row, namedtuple_row, scalar_row
from sql_stage import postgres_url, printed
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from noclobber.guard import GUARD
from noclobber.testing import capture

__all__ = ["dsn", "postgres_url"]

SELECT = "SELECT bal FROM accounts WHERE id = %s"
UPDATE = "UPDATE accounts SET bal = %s WHERE id = %s"
WEAK = {"version.weak": True, "size": 8, "content.numeric": True}


def test_read_then_write(dsn: str) -> None:
    """The first statement begins a transaction; the write's base is what was read in it."""
    with capture() as captured:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(SELECT, (1,)).fetchone()
            assert row == (START,)
            connection.execute(UPDATE, (row[0] + 50, 1))
        begin, read, write, commit = told(captured)
        txn = {"unit.kind": "txn"}
        assert begin == {**txn, "op": "begin", "resource": "", "outcome": "ok"}
        assert read == {
            **VERSION, **WEAK, **txn, "op": "read", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.read": printed(bal=START),
        }  # fmt: skip
        assert write == {
            **VERSION, **WEAK, **txn, "op": "write", "resource": "accounts/id=1", "outcome": "ok", "part": "bal",
            "version.base": printed(bal=START), "version.base.source": "observed",
            "version.written": printed(bal=START + 50),
        }  # fmt: skip
        assert commit == {**txn, "op": "commit", "resource": "", "outcome": "ok"}
        assert len({each["noclobber.txn.id"] for each in captured.accesses}) == 1
        (span,) = [each for each in captured.spans if each.attributes["noclobber.op"] == "read"]
        assert (span.library, span.name) == ("psycopg", "read postgresql")
        assert span.attributes["code.function.name"] == "test_read_then_write"


def test_the_same_name_as_under_sqlalchemy(dsn: str, postgres_url: str) -> None:
    """One database, whichever client names it."""
    engine = create_engine(postgres_url)
    with capture() as captured:
        with psycopg.connect(dsn) as connection:
            connection.execute(SELECT, (1,)).fetchone()
        with engine.connect() as through:
            through.execute(text("SELECT bal FROM accounts WHERE id = 1")).scalar()
        assert len({each["noclobber.resource"] for each in captured.accesses if each["noclobber.op"] == "read"}) == 1
    engine.dispose()


def test_transaction_blocks(dsn: str) -> None:
    """`transaction()` begins, and inside another one is a savepoint; what is left on an error is taken back."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(UPDATE, (1, 2))
            with connection.transaction():
                with connection.transaction():
                    connection.execute(UPDATE, (2, 2))
                with connection.transaction(force_rollback=True):
                    connection.execute(UPDATE, (3, 2))
            with connection.transaction(force_rollback=True):
                connection.execute(UPDATE, (4, 2))
        assert story(captured) == [
            "write accounts/id=2",
            "begin -", "write accounts/id=2 @1", "write accounts/id=2 @2", "abort - @2", "commit -",
            "begin -", "write accounts/id=2", "abort -",
        ]  # fmt: skip


def test_isolation(dsn: str) -> None:
    """The level that was set, by the connection or by a statement; none where the server's default holds."""
    with capture() as captured:
        with psycopg.connect(dsn) as connection:
            connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
            connection.read_only = True
            connection.execute(SELECT, (1,)).fetchone()
            connection.commit()
            connection.isolation_level = connection.read_only = None
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(SELECT, (1,)).fetchone()
        levels = [(each["op"], each.get("txn.isolation"), each.get("guard")) for each in told(captured)]
        assert levels == [
            ("begin", "serializable", "serializable"), ("read", "serializable", "serializable"),
            ("commit", "serializable", "serializable"),
            ("begin", "repeatable_read", None), ("read", "repeatable_read", None), ("commit", "repeatable_read", None),
        ]  # fmt: skip


def test_outcomes(dsn: str) -> None:
    """No row, a guard that refuses, a key that is there, a mistake that dooms the transaction."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(UPDATE, (1, 99))
            for _ in range(2):
                connection.execute("UPDATE jobs SET status = 'done' WHERE id = 7 AND status = 'new'")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO jobs (id, status) VALUES (7, 'new')")
            assert connection.execute(SELECT, (99,)).fetchone() is None
            connection.autocommit = False
            with pytest.raises(psycopg.errors.UndefinedColumn):
                connection.execute("UPDATE accounts SET nothing_here = 1 WHERE id = 1")
            connection.commit()
        assert story(captured) == [
            "write accounts/id=99 no_effect", "write jobs/id=7", "write jobs/id=7 rejected",
            "write jobs/id=7 rejected", "read accounts/id=99 not_found",
            "begin -", "write accounts/id=1 error", "abort -",
        ]  # fmt: skip


def test_many_rows_of_parameters(dsn: str) -> None:
    """Executemany is one access a set, also of a generator; an empty one is none."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.executemany(UPDATE, ((number * 1000, number) for number in (1, 2)))
            cursor.executemany(UPDATE, [])
            assert cursor.rowcount == 0
        assert [each for each in story(captured) if each.startswith("write")] == [
            "write accounts/id=1", "write accounts/id=2",
        ]  # fmt: skip


def test_ways_to_write_a_query(dsn: str) -> None:
    """Text, bytes, composed, named parameters, formats, the server's own placeholders."""
    queries: list[tuple[Any, Any]] = [
        (SELECT, [1]),
        (SELECT.encode(), (1,)),
        (sql.SQL("SELECT {} FROM accounts WHERE id = %(who)s").format(sql.Identifier("bal")), {"who": 1}),
        ("SELECT bal FROM accounts WHERE id = %b", (1,)),
        ("SELECT bal FROM accounts WHERE id = 1", None),
    ]
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection:
            for query, parameters in queries:
                assert connection.execute(query, parameters).fetchall() == [(START,)]
            raw = psycopg.RawCursor(connection)
            assert raw.execute("SELECT bal FROM accounts WHERE id = $1", (1,)).fetchall() == [(START,)]
            client = psycopg.ClientCursor(connection)
            assert client.execute(SELECT, (1,)).fetchall() == [(START,)]
        assert story(captured) == ["read accounts/id=1"] * 7


class Account:
    """What a row becomes."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns


@pytest.mark.parametrize("factory", [dict_row, namedtuple_row, scalar_row, class_row(Account)])
def test_row_factories(dsn: str, factory: Any) -> None:
    """Whatever a row becomes, its columns are told."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True, row_factory=factory) as connection:
            assert connection.execute("SELECT * FROM accounts WHERE id = 1").fetchone() is not None
        (read,) = told(captured)
        assert read["version.read"] == printed(bal=START, owner="ann")


def test_rows_as_they_are_fetched(dsn: str) -> None:
    """By one, by some, by iteration; what was left is not known."""
    query = "SELECT id, status FROM jobs ORDER BY id"
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert len(list(connection.execute(query))) == 2
            assert len(connection.execute(query).fetchmany(5)) == 2
            assert connection.execute(f"{query} LIMIT 1").fetchone() == (7, "new")
            with connection.cursor() as cursor:
                assert cursor.execute(query).fetchone() == (7, "new")
            connection.execute("SELECT id FROM jobs WHERE status = 'none'")
        scans = [(len(each["result.resources"]), each.get("partial", False)) for each in told(captured)]
        assert scans == [(2, False), (2, False), (1, False), (1, True), (0, False)]


def test_returning(dsn: str) -> None:
    """Rows that a write gives back name what it touched."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection:
            rows = connection.execute("UPDATE jobs SET status = 'old' WHERE status = 'new' RETURNING id").fetchall()
            assert sorted(rows) == [(7,), (8,)]
        assert sorted(story(captured)) == ["write jobs/id=7", "write jobs/id=8"]


def test_pipeline(dsn: str) -> None:
    """In a pipeline replies come later: what was called is told, and partial."""
    with capture() as captured:
        with psycopg.connect(dsn, autocommit=True) as connection, connection.pipeline():
            connection.execute(UPDATE, (1, 2))
            cursor = connection.execute(SELECT, (2,))
            assert cursor.fetchone() == (1,)
        found = [(each["op"], each.get("partial")) for each in told(captured)]
        assert found == [("write", True), ("read", True)]


def test_what_is_not_recorded_works(dsn: str) -> None:
    """COPY, streams, server-side cursors, a closed connection: as without; what was looked at unseen says so."""
    with capture() as captured:
        with psycopg.connect(dsn) as connection:
            with connection.cursor() as cursor, cursor.copy("COPY jobs (id, status) FROM STDIN") as copy:
                copy.write_row((9, "new"))
            assert list(connection.cursor().stream("SELECT id FROM jobs WHERE id = 9")) == [(9,)]
            with connection.cursor("named") as named:
                named.execute(SELECT, (1,))
                assert named.fetchone() == (START,)
                assert named.fetchall() == []
        with pytest.raises(psycopg.OperationalError):
            connection.execute(SELECT, (1,))
        assert story(captured) == ["begin -", "read jobs/id=9", "read accounts/id=1", "commit -"]
        looks = [each for each in told(captured) if each["op"] == "read"]
        assert [(each["partial"], "version.read" in each) for each in looks] == [(True, False)] * 2


async def test_asynchronous_looks(dsn: str) -> None:
    """Server-side cursors and streams of asynchronous connections, and one that fails."""
    with capture() as captured:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            async with connection.cursor("named") as named:
                await named.execute("SELECT id FROM accounts ORDER BY id")
                assert [row async for row in named] == [(1,), (2,)]
            stream = connection.cursor().stream("SELECT id FROM jobs WHERE id = %s", (7,))
            assert [row async for row in stream] == [(7,)]
            async with connection.cursor("other") as other:
                with pytest.raises(psycopg.errors.UndefinedTable):
                    await other.execute("SELECT id FROM nothing")
            await connection.rollback()
        found = [(each["op"], each["resource"], each["outcome"], each.get("partial")) for each in told(captured)]
        assert found[1:-1] == [
            ("scan", "accounts/", "ok", True), ("read", "jobs/id=7", "ok", True), ("scan", "nothing/", "error", True),
        ]  # fmt: skip


def _names(connection: Any) -> None:
    with connection.transaction(), connection.cursor("named") as named:
        named.execute("SELECT id, bal FROM accounts")
        named.fetchall()


def _streams(connection: Any) -> None:
    assert len(list(connection.cursor().stream(SELECT, (1,)))) == 1


def _copies_a_query(connection: Any) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY (SELECT bal FROM accounts WHERE id = %s) TO STDOUT", (1,)) as out,
    ):
        assert len(list(out.rows())) == 1


def _copies_a_table(connection: Any) -> None:
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY accounts (id, bal) TO STDOUT (FORMAT csv)")) as out:
        assert b"".join(out)


def _runs_many(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.executemany(SELECT, [(1,), (2,)], returning=True)
    assert cursor.fetchone() is not None


def _pipelines(connection: Any) -> None:
    with connection.pipeline():
        cursor = connection.execute(SELECT, (1,))
    assert cursor.fetchone() is not None


def _says_two_things(connection: Any) -> None:
    assert connection.execute("SELECT 1; SELECT bal FROM accounts WHERE id = 1").nextset()


def _asks(text: str) -> Callable[[Any], None]:
    def ask(connection: Any) -> None:
        connection.execute(text).fetchall()

    return ask


LOOKS = [
    _names, _streams, _copies_a_query, _copies_a_table, _runs_many, _pipelines, _says_two_things,
    _asks("SELECT bal + 0 FROM accounts WHERE id = 1"),
    _asks("SELECT id, to_jsonb(accounts.bal) FROM accounts"),
    _asks("SELECT max(bal) FROM accounts"),
    _asks("SELECT (SELECT bal FROM accounts WHERE id = 1)"),
    _asks("SELECT id, (SELECT bal FROM accounts WHERE id = 1) FROM jobs"),
    _asks("WITH x AS (SELECT * FROM accounts) SELECT bal FROM x WHERE id = 1"),
    _asks("SELECT bal FROM (SELECT * FROM accounts) AS x WHERE id = 1"),
    _asks("SELECT bal FROM accounts UNION SELECT id FROM jobs"),
    _asks("SELECT a.bal * 2 FROM accounts a JOIN jobs j ON j.id > a.id"),
    _asks("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING bal"),
    _asks("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING bal + 1"),
    _asks("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING *"),
    _asks("INSERT INTO accounts VALUES (1, 'x', 5) ON CONFLICT (id) DO UPDATE SET owner = 'eve' RETURNING bal"),
    _asks("INSERT INTO accounts (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET owner = 'eve' RETURNING bal"),
    _asks("SELECT * FROM accounts a JOIN jobs j ON j.id > a.id"),
]  # fmt: skip
INNOCENT = [
    lambda _: None,
    _asks("SELECT count(*) FROM accounts"),
    _asks("SELECT 1 FROM accounts WHERE id = 1"),
    _asks("SELECT upper(status) FROM jobs"),
    _asks("UPDATE accounts SET owner = 'eve' WHERE id = 1 RETURNING id, owner"),
]  # fmt: skip


def _overtaken(dsn: str, look: Callable[[Any], Any], number: int) -> Any:
    """What is captured of one who reads, is overtaken, looks again somehow, and writes."""
    with (
        capture(fixed=False) as captured,
        psycopg.connect(dsn, autocommit=True) as mine,
        psycopg.connect(dsn, autocommit=True) as other,
    ):
        overtaken(
            lambda: mine.execute(SELECT, (1,)).fetchone(),
            lambda: other.execute(UPDATE, (START - 20 - number, 1)),
            lambda: look(mine),
            lambda: mine.execute(UPDATE, (START + 50 + number, 1)),
        )
    return captured


@pytest.mark.parametrize(("looks", "certainty"), [(INNOCENT, "likely"), (LOOKS, "possible")])
def test_a_look_that_nobody_saw(dsn: str, looks: list[Callable[[Any], None]], certainty: str, tmp_path: Path) -> None:
    """Who looked again where no hook sees the rows may know what an older read here does not: no accusation."""
    for number, look in enumerate(looks):
        captured = _overtaken(dsn, look, number)
        found = [each for each in findings(captured, tmp_path) if each[0] == "lost_update"]
        assert (number, found) == (number, [("lost_update", certainty)])


def test_a_connection_from_before(dsn: str) -> None:
    """Connections that exist already are seen, in the middle of a transaction too; afterwards nothing is."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SELECT, (1,)).fetchone()
        with capture() as captured:
            connection.execute(UPDATE, (5, 1))
            connection.commit()
            assert story(captured) == ["write accounts/id=1", "commit -"]
            assert len({each.get("noclobber.txn.id") for each in captured.accesses}) == 1
        assert connection.execute(SELECT, (1,)).fetchone() == (5,)


def test_close_takes_back(dsn: str) -> None:
    """What is open when the connection closes was not applied."""
    with capture() as captured:
        connection = psycopg.connect(dsn)
        connection.execute(UPDATE, (1, 1))
        connection.close()
        assert story(captured) == ["begin -", "write accounts/id=1", "abort -"]


def test_lost_connection(dsn: str) -> None:
    """A server that goes away: nobody knows what became of the write."""
    with capture() as captured, psycopg.connect(dsn, autocommit=True) as admin:
        connection = psycopg.connect(dsn, autocommit=True)
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            connection.execute(UPDATE, (1, 1))
        connection.close()
        assert story(captured) == ["write accounts/id=1 unknown"]


@pytest.mark.parametrize("place", ["sql_session.statement_of", "sql_session.count", "psycopg._session",
                                   "psycopg._text", "psycopg._returned", "sql_session.new_transaction",
                                   "sql_run.kept_row"])  # fmt: skip
def test_a_mistake_of_ours_is_not_the_program_s(dsn: str, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever breaks inside, the program gets its rows."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with capture(), monkeypatch.context() as patch:
        patch.setattr(GUARD, "reraises", False)
        patch.setattr(f"noclobber.stores.{place}", broken)
        with psycopg.connect(dsn) as connection:
            assert connection.execute(SELECT, (1,)).fetchone() == (START,)
            assert connection.execute(UPDATE, (5, 1)).rowcount == 1
            connection.cursor().executemany(UPDATE, [(6, 1)])
    assert any("RuntimeError" in cause for cause in GUARD.failures)
    GUARD.failures.clear()


# -- under others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False])
def test_once_under_sqlalchemy(dsn: str, postgres_url: str, before: bool) -> None:
    """What SQLAlchemy records its driver does not, whenever the engine was made, in exact mode too."""
    engine = create_engine(postgres_url) if before else None
    with capture(exact=("*",)) as captured:
        engine = engine or create_engine(postgres_url)
        with engine.begin() as connection:
            connection.execute(text("SELECT bal FROM accounts WHERE id = 1")).all()
            connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
        engine.dispose()
        assert {span.library for span in captured.spans} == {"sqlalchemy"}
        assert story(captured) == ["begin -", "read accounts/id=1", "write accounts/id=1", "commit -"]


def test_once_under_async_sqlalchemy(dsn: str, postgres_url: str) -> None:
    """The same through its greenlets."""

    async def act() -> None:
        engine = create_async_engine(postgres_url)
        async with engine.begin() as connection:
            await connection.execute(text("SELECT bal FROM accounts WHERE id = 1"))
            await connection.execute(text("UPDATE accounts SET bal = 5 WHERE id = 1"))
        await engine.dispose()

    with capture() as captured:
        asyncio.run(act())
        assert {span.library for span in captured.spans} == {"sqlalchemy", "python"}
        assert story(captured) == ["begin -", "read accounts/id=1", "write accounts/id=1", "commit -"]


# -- async ---------------------------------------------------------------------------------------------------------


def test_async(dsn: str) -> None:
    """The same core under the other shell: transactions, rows, executemany."""

    async def act() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            async with connection.transaction():
                row = await (await connection.execute(SELECT, (1,))).fetchone()
                assert row is not None
                async with connection.transaction(force_rollback=True):
                    await connection.execute(UPDATE, (0, 1))
                await connection.execute(UPDATE, (row[0] + 50, 1))
            async with connection.cursor() as cursor:
                await cursor.executemany(UPDATE, [(7, 2)])
                await cursor.execute(SELECT, (2,))
                assert [each async for each in cursor] == [(7,)]

    with capture() as captured:
        asyncio.run(act())
        assert story(captured)[:7] == [
            "begin -", "read accounts/id=1", "write accounts/id=1 @1", "abort - @1", "write accounts/id=1", "commit -",
            "write accounts/id=2",
        ]  # fmt: skip
        assert story(captured)[-1] == "read accounts/id=2"
        names = {each.get("code.function.name") for each in captured.accesses if each["noclobber.op"] == "write"}
        assert names == {"test_async.<locals>.act"}


def test_cancelled(dsn: str) -> None:
    """A task that is cancelled while its write waits: psycopg asks the server to stop, which tells that it did."""

    async def act() -> None:
        async with (
            await psycopg.AsyncConnection.connect(dsn) as holder,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as waiter,
        ):
            await holder.execute(UPDATE, (1, 1))
            write = asyncio.ensure_future(waiter.execute(UPDATE, (2, 1)))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s"
            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as looker:
                while not await one(looker, waiting, waiter.info.backend_pid):  # noqa: ASYNC110  no event of ours
                    await asyncio.sleep(0)
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(write, TIMEOUT_S)

    with capture(fixed=False) as captured:
        asyncio.run(act())
        outcomes = [each["outcome"] for each in told(captured) if each["op"] == "write"]
        assert sorted(outcomes) == ["error", "ok"]
