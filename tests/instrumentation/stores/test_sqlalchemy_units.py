"""SQLAlchemy's transactions and savepoints, and rows taken as tasks, on SQLite and PostgreSQL."""

import pytest
from sql_stage import (
    ACCOUNTS,
    JOBS,
    accesses,
    engine,
    postgres_url,
    printed,
    row_of,
    told,
)  # fmt: skip
from sqlalchemy import Engine, delete, exc, select, text, update

from noclobber.testing import capture

__all__ = ["engine", "postgres_url"]

VERSION = {"version.kind": "fingerprint", "version.verbatim": False}
ISOLATION = {"txn.isolation": "read_committed", "unit.kind": "txn"}


def test_transaction(engine: Engine) -> None:
    """Begin, work, commit: one id, one unit, and the isolation that really holds."""
    with capture() as captured:
        with engine.begin() as connection:
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        with engine.connect() as connection:
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=2))
            connection.rollback()
        everything = captured.accesses
        assert [each["noclobber.op"] for each in everything] == ["begin", "write", "commit", "begin", "write", "abort"]
        assert [each["noclobber.outcome"] for each in everything] == ["ok"] * 6
        first, second = everything[0]["noclobber.txn.id"], everything[3]["noclobber.txn.id"]
        assert first != second
        assert [each["noclobber.txn.id"] for each in everything] == [first] * 3 + [second] * 3
        assert all(each["noclobber.unit"] == each["noclobber.txn.id"] for each in everything)
        assert told(everything[0]) == {
            **ISOLATION,
            "op": "begin",
            "outcome": "ok",
            "resource": row_of(everything[0]["noclobber.resource"]),
        }


def test_rolled_back_writes_are_no_bases(engine: Engine) -> None:
    """After a rollback the base is what was known before the write that never was."""
    with capture() as captured, engine.connect() as connection:
        connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        connection.rollback()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=2))
        assert accesses(captured, "write")[1]["version.base"] == printed(bal=100)


def test_savepoints(engine: Engine) -> None:
    """Savepoints are paths; taking one back is an abort with its path."""
    with capture() as captured, engine.begin() as connection:
        write = update(ACCOUNTS).where(ACCOUNTS.c.id == 1)
        connection.execute(write.values(bal=1))
        with connection.begin_nested():
            connection.execute(write.values(bal=2))
            inner = connection.begin_nested()
            connection.execute(write.values(bal=3))
            inner.rollback()
        with connection.begin_nested():
            connection.execute(write.values(bal=4))
        found = [(each["op"], each.get("txn.savepoint")) for each in accesses(captured, "write", "abort")]
        assert found == [("write", None), ("write", "1"), ("write", "1/1"), ("abort", "1/1"), ("write", "2")]
        assert accesses(captured, "write")[3]["version.base"] == printed(bal=2)


def test_autocommit_has_no_transaction(engine: Engine) -> None:
    """Under AUTOCOMMIT each statement stands for itself."""
    with capture() as captured:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        (write,) = captured.accesses
        assert "noclobber.txn.id" not in write
        assert "noclobber.txn.isolation" not in write


def test_failed_statement(engine: Engine) -> None:
    """An error is the caller's; the access says that nothing was applied."""
    with capture() as captured, engine.connect() as connection:
        with pytest.raises(exc.DBAPIError):
            connection.execute(text("UPDATE accounts SET nothing_here = 1 WHERE id = 1"))
        assert accesses(captured)[0]["outcome"] == "error"


def test_take_by_scan_then_write(engine: Engine) -> None:
    """A row that a unit picked by a state, and moves out of it, is a task that it takes; later writes name it."""
    with capture() as captured, engine.begin() as connection:
        job = connection.execute(select(JOBS.c.id).where(JOBS.c.status == "new").order_by(JOBS.c.id).limit(1)).scalar()
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="running"))
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        take, later = accesses(captured, "write")
        assert row_of(take["message.id"]) == "jobs/id=7"
        assert take["message.id"] == later["message.id"]
        assert "guard" not in take


def test_no_take_without_leaving(engine: Engine) -> None:
    """Writing another column, or the same value, takes nothing."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(select(JOBS.c.id).where(JOBS.c.status == "new")).all()
        connection.execute(update(JOBS).where(JOBS.c.id == 7).values(worker="w"))
        connection.execute(update(JOBS).where(JOBS.c.id == 7).values(status="new"))
        assert all("message.id" not in each for each in accesses(captured, "write"))


def test_take_in_one_statement(engine: Engine) -> None:
    """One statement that picks and moves rows takes them; without RETURNING nobody knows which."""
    with capture() as captured, engine.begin() as connection:
        claim = update(JOBS).where(JOBS.c.status == "new").values(status="running").returning(JOBS.c.id)
        assert len(connection.execute(claim).all()) == 2
        assert connection.execute(claim).all() == []
        first, second, none = accesses(captured)
        assert [row_of(each["message.id"]) for each in (first, second)] == ["jobs/id=7", "jobs/id=8"]
        assert [each["outcome"] for each in (first, second)] == ["ok", "ok"]
        assert (first["guard"], first["version.expected"]) == ("version", printed(status="new"))
        assert (none["outcome"], none["resource"]) == ("no_effect", "jobs/")
        assert "message.id" not in none


def test_work_on_a_task_goes_on(engine: Engine) -> None:
    """Later writes to a row that was taken are work on it, in other transactions too; a take rolled back is none."""
    look, done = select(JOBS.c.id).where(JOBS.c.status == "new"), update(JOBS).values(status="done")
    with capture() as captured:
        for job, keep in ((7, True), (8, False)):
            with engine.connect() as connection:
                connection.execute(look).all()
                connection.execute(update(JOBS).where(JOBS.c.id == job).values(status="running"))
                connection.commit() if keep else connection.rollback()
            with engine.begin() as connection:
                connection.execute(done.where(JOBS.c.id == job))
        found = ["message.id" in each for each in accesses(captured, "write")]
        assert found == [True, True, True, False]


def test_take_by_delete(engine: Engine) -> None:
    """`DELETE .. RETURNING` takes what it deletes."""
    with capture() as captured, engine.begin() as connection:
        connection.execute(delete(JOBS).where(JOBS.c.status == "new").returning(JOBS.c.id)).all()
        assert [row_of(each["message.id"]) for each in accesses(captured)] == ["jobs/id=7", "jobs/id=8"]
