"""Drivers' hooks come and go without a trace, and leave alone what they do not know."""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import psycopg
import pytest
from asyncpg.prepared_stmt import PreparedStatement
from driver_stage import story
from psycopg._connection_base import BaseConnection
from psycopg._cursor_base import BaseCursor

from noclobber.bootstrap import registry
from noclobber.stores import asyncpg as asyncpg_hooks
from noclobber.stores import psycopg as psycopg_hooks
from noclobber.stores.wrapping import LEFT_ALONE
from noclobber.testing import capture

OWNERS: tuple[Any, ...] = (
    sqlite3, sqlite3.dbapi2, aiosqlite.Connection, asyncpg.Connection, PreparedStatement, BaseConnection, BaseCursor,
    psycopg.Connection, psycopg.AsyncConnection, psycopg.Cursor, psycopg.AsyncCursor,
)  # fmt: skip
connect_by_name = sqlite3.connect


def all_attributes() -> list[dict[str, Any]]:
    return [dict(vars(owner)) for owner in OWNERS]


def test_uninstall_restores_everything() -> None:
    """Afterwards modules and classes are what they were."""
    before = all_attributes()
    with capture():
        assert {"sqlite3", "aiosqlite", "psycopg", "asyncpg"} <= set(registry.installed())
        assert all(one != other for one, other in zip(before, all_attributes(), strict=True))
    assert all_attributes() == before


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Versions that lack a method which is wrapped."""
    monkeypatch.delattr(psycopg.AsyncCursor, "executemany")
    monkeypatch.delattr(PreparedStatement, "executemany")
    return


@pytest.mark.usefixtures("older")
def test_unknown_versions_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """What is not as it is known is said once, and not touched."""
    before = [vars(BaseCursor)["_execute_gen"], vars(asyncpg.Connection)["_execute"]]
    with caplog.at_level(logging.WARNING, logger="noclobber"), capture():
        assert [vars(BaseCursor)["_execute_gen"], vars(asyncpg.Connection)["_execute"]] == before
        assert not psycopg_hooks._wrapping
        assert not asyncpg_hooks._wrapping
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "noclobber does not know this version of psycopg",
        "noclobber does not know this version of asyncpg",
    ]


def test_what_was_taken_before_is_not_reached(tmp_path: Path) -> None:
    """`connect` imported by name before, and a connection made before, work on, unseen; as the guide says."""
    earlier = sqlite3.connect(tmp_path / "bank.db")
    with capture() as captured:
        named = connect_by_name(tmp_path / "bank.db")
        for connection in (earlier, named):
            assert type(connection) is sqlite3.Connection
            connection.execute("CREATE TABLE IF NOT EXISTS accounts (id integer PRIMARY KEY)")
            connection.execute("SELECT id FROM accounts WHERE id = 1").fetchone()
            connection.close()
        assert story(captured) == []


def test_who_wrapped_later_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instrumentation may come after ours and outlive it; ours below it then only passes on."""
    calls = []
    with monkeypatch.context() as patch, capture():
        below = sqlite3.connect

        def theirs(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return below(*args, **kwargs)

        patch.setattr(sqlite3, "connect", theirs)
        integration = registry.installed()["sqlite3"]
        integration.uninstall()
        assert sqlite3.connect is theirs
        assert sqlite3.dbapi2.connect is connect_by_name
        connection = sqlite3.connect(tmp_path / "bank.db")
        assert type(connection) is sqlite3.Connection
        connection.close()
        assert len(calls) == 1
    sqlite3.connect = connect_by_name  # what monkeypatch put back is our wrapper, which was out already


def test_an_install_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that is so unknown that its hooks raise is left alone as a whole, and `noclobber doctor` knows it."""

    def fails(_: Any) -> None:
        raise ImportError("no module named psycopg._somewhere_else")

    broken = registry.Integration("psycopg", fails, psycopg_hooks.INTEGRATION.uninstall)
    with monkeypatch.context() as patch, capture():
        registry._installed.pop("psycopg").uninstall()
        patch.setattr(psycopg_hooks, "INTEGRATION", broken)
        with pytest.raises(ImportError):
            registry._install_one("psycopg", "noclobber.stores.psycopg", psycopg)
    assert "_somewhere_else" in LEFT_ALONE.pop("psycopg")
