"""The program comes first: nothing raises, changes or stays because of noclobber."""

from pathlib import Path
from typing import Any

import pytest
from sql_stage import ACCOUNTS, JOBS, accesses, engine, postgres_url, prepared
from sqlalchemy import Engine, create_engine, exc, insert, select, text, update
from sqlalchemy.engine.base import Connection
from sqlalchemy.pool import StaticPool

from noclobber import recorder
from noclobber.bootstrap import registry
from noclobber.guard import GUARD
from noclobber.stores import sql_run
from noclobber.stores import sqlalchemy as integration
from noclobber.testing import capture

__all__ = ["engine", "postgres_url"]


def test_uninstall_restores_everything() -> None:
    """Afterwards the class is what it was."""
    before = {(owner, name): vars(owner)[name] for owner, name in hooks()}
    with capture():
        assert "sqlalchemy" in registry.installed()
        assert all(vars(owner)[name] is not method for (owner, name), method in before.items())
    assert {(owner, name): vars(owner)[name] for owner, name in hooks()} == before


def hooks() -> list[tuple[type, str]]:
    with capture():
        return list(integration._originals)


def test_connections_that_outlive_it(engine: Engine) -> None:
    """A connection, a transaction and a result may begin before and end after: all of them go on working."""
    with engine.connect() as connection:
        connection.execute(select(JOBS)).all()
        with capture() as captured:
            result = connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.id))
            assert result.fetchone() is not None
            assert accesses(captured) == []
        assert len(result.all()) == 1
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        connection.commit()


@pytest.mark.parametrize(
    "place",
    [
        "sqlalchemy._plan",
        "sql_run.kept_all",
        "sqlalchemy.count",
        "sqlalchemy.replaced_rows",
        "sqlalchemy.begin_call",
        "sqlalchemy._rowcount",
        "sqlalchemy.state_of",
        "sql_run.kept_row",
        "sqlalchemy_transactions.isolation_of",
        "sqlalchemy_transactions.new_transaction",
        "sqlalchemy_transactions.state_of",
        "sql_planner._parsed",
    ],
)
def test_a_mistake_of_ours_is_not_the_program_s(engine: Engine, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Whatever breaks inside, the program gets its rows."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with capture(exact=("*",)), monkeypatch.context() as patch:
        patch.setattr(GUARD, "reraises", False)
        patch.setattr(f"noclobber.stores.{place}", broken)
        with engine.begin() as connection:
            assert connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1)).rowcount == 1
            assert connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar() == 1
            with connection.begin_nested():
                connection.execute(insert(JOBS).values(id=1))
    assert any("RuntimeError" in cause for cause in GUARD.failures)
    GUARD.failures.clear()


def test_a_mistake_in_the_drain_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be described is a counted loss."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with capture() as captured, monkeypatch.context() as patch:
        patch.setattr(GUARD, "reraises", False)
        patch.setattr(sql_run, "describe", broken)
        with engine.connect() as connection:
            connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id == 1)).all()
        assert accesses(captured) == []
        assert captured.recorder.dropped == 1
    GUARD.failures.clear()


def test_lost_connection(postgres_url: str) -> None:
    """A server that goes away: the write's end is unknown, and so is the commit's."""
    engine = prepared(postgres_url)
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    def kill(connection: Connection) -> None:
        with admin.connect() as other:
            pid = connection.connection.driver_connection.info.backend_pid
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    write = update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1)
    with capture() as captured:
        with engine.connect() as connection:
            kill(connection)
            with pytest.raises(exc.OperationalError):
                connection.execute(write)
        with engine.connect() as connection:
            connection.execute(write)
            kill(connection)
            with pytest.raises(exc.OperationalError):
                connection.commit()
        found = [(each["op"], each["outcome"]) for each in accesses(captured, "write", "commit")]
        assert found == [("write", "unknown"), ("write", "ok"), ("commit", "unknown")]
    engine.dispose()
    admin.dispose()


def test_doomed_transaction(postgres_url: str) -> None:
    """PostgreSQL answers the commit of a failed transaction with a rollback: an abort."""
    engine = prepared(postgres_url)
    with capture() as captured, engine.connect() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == 1).values(bal=1))
        with pytest.raises(exc.ProgrammingError):
            connection.execute(text("SELECT nothing_here FROM accounts"))
        connection.commit()
        ends = accesses(captured, "commit", "abort")
        assert [each["op"] for each in ends] == ["abort"]
    with engine.connect() as connection:
        assert connection.execute(select(ACCOUNTS.c.bal).where(ACCOUNTS.c.id == 1)).scalar() == 100
    engine.dispose()


def test_commit_refused(postgres_url: str) -> None:
    """A constraint that is checked at the commit: the commit ended in an error, so nothing was applied."""
    engine = prepared(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM jobs WHERE id = 8")
        connection.exec_driver_sql("ALTER TABLE jobs ADD CONSTRAINT once UNIQUE (status) DEFERRABLE INITIALLY DEFERRED")
    with capture() as captured, engine.connect() as connection:
        connection.execute(insert(JOBS).values(id=8, status="new"))
        with pytest.raises(exc.IntegrityError):
            connection.commit()
        assert [(each["op"], each["outcome"]) for each in accesses(captured, "commit", "abort")] == [
            ("commit", "error")
        ]
    engine.dispose()


def test_memory_databases_are_apart() -> None:
    """Two databases in memory are two resources, in whatever process."""
    names = set()
    with capture() as captured:
        for _ in range(2):
            engine = create_engine("sqlite://", poolclass=StaticPool)
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE t (id integer PRIMARY KEY)"))
                connection.execute(text("INSERT INTO t VALUES (1)"))
            engine.dispose()
        names = {each["noclobber.resource"] for each in captured.accesses if each["noclobber.op"] == "write"}
        assert len(names) == 2
        assert all(name.endswith("/t/id=1") for name in names)


@pytest.mark.parametrize("url", ["sqlite:///{0}/a.db", "sqlite:///file:{0}/a.db?uri=true", "sqlite:///{0}/../{1}/a.db"])
def test_one_file_has_one_name(tmp_path: Path, url: str) -> None:
    """However a file is written, it is one database."""
    from noclobber.stores.sqlalchemy_place import database_of

    engine = create_engine(url.format(tmp_path, tmp_path.name))
    plain = create_engine(f"sqlite:///{tmp_path}/a.db")
    assert database_of(engine).uri == database_of(plain).uri
    assert database_of(plain).uri.endswith(f"{tmp_path}/a.db")


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("postgresql+psycopg://u:p@DB.example:5432/shop", "postgresql://db.example:5432/shop"),
        ("postgresql+psycopg://u:p@db.example/shop", "postgresql://db.example:5432/shop"),
        ("postgresql+asyncpg://u:p@db.example/shop", "postgresql://db.example:5432/shop"),
        ("postgresql+psycopg://u@/shop?host=db.example&port=6000", "postgresql://db.example:6000/shop"),
    ],
)
def test_servers_have_one_name(url: str, uri: str) -> None:
    """Drivers, users, passwords and defaults make no other database."""
    from noclobber.stores.sqlalchemy_place import database_of

    assert database_of(create_engine(url)).uri == uri
    assert database_of(create_engine(url)).peer is None
    assert database_of(create_engine("postgresql+psycopg://u@10.0.0.7/shop")).peer == "10.0.0.7"


def test_guessed_key(engine: Engine) -> None:
    """A text statement on a table that nobody described: `id` names a row, until it is seen to name several."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS undescribed")
        connection.exec_driver_sql("CREATE TABLE undescribed (tenant integer, id integer, a integer)")
        connection.exec_driver_sql("INSERT INTO undescribed VALUES (1, 1, 5), (2, 1, 6)")
    fresh = create_engine(engine.url)
    with capture() as captured, fresh.connect() as connection:
        connection.execute(text("SELECT a FROM undescribed WHERE id = 1")).all()
        captured.recorder.flush()
        connection.execute(text("SELECT a FROM undescribed WHERE id = 1")).all()
        first, second = accesses(captured)
        assert (first["op"], first["partial"]) == ("read", True)
        assert (second["op"], second["resource"]) == ("scan", "undescribed/")
    fresh.dispose()


def test_guessed_key_beside_another_one(engine: Engine) -> None:
    """Where the guess may be half of a key, what rests on it is partial."""
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS undescribed")
        connection.exec_driver_sql("CREATE TABLE undescribed (tenant_id integer, id integer, a integer)")
    fresh = create_engine(engine.url)
    with capture() as captured, fresh.connect() as connection:
        connection.execute(text("SELECT a FROM undescribed WHERE tenant_id = 1 AND id = 1")).all()
        assert accesses(captured)[0]["partial"] is True
    fresh.dispose()


def test_too_many_keys(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `IN` beyond the limit is a condition on the table; below it, rows one by one."""
    monkeypatch.setattr("noclobber.stores.sql_statement.KEYS_MAX", 1)
    with capture() as captured, engine.begin() as connection:
        connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.id.in_([1, 2]))).all()
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id.in_([1, 2])).values(bal=1))
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id.in_([1])).values(bal=1))
        scan, many, one = accesses(captured)
        assert (scan["op"], len(scan["result.resources"])) == ("scan", 2)
        assert (many["resource"], many["partial"], many["result.count"]) == ("accounts/", True, 2)
        assert one["resource"] == "accounts/id=1"


def test_too_many_parameters(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch beyond the limit is told as a whole, partial."""
    monkeypatch.setattr(sql_run, "PARAMETERS_MAX", 2)
    with capture() as captured, engine.begin() as connection:
        connection.execute(insert(JOBS), [{"id": number} for number in range(100, 103)])
        (whole,) = accesses(captured)
        assert (whole["op"], whole["resource"], whole["partial"]) == ("update", "jobs/", True)


def test_switched_off(engine: Engine) -> None:
    """Without a recorder nothing is noted."""
    with capture():
        before = recorder.swap(None)
        with engine.begin() as connection:
            connection.execute(select(JOBS)).all()
            assert "_noclobber" not in connection.__dict__
        recorder.swap(before)
