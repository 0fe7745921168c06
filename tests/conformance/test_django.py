"""Agents that use Django's ORM, under `noclobber run`: the race is found, its safe twins are silent and defended."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import judging_agents
import psycopg
import pytest

from noclobber_sidecar.demo import servers

pytest.importorskip("django", reason="Django is not installed")
START = 10_000_100
LOST = [("lost_update", "likely")]
FORMS = {
    "sqlite": ("text", "decimal", "real", "datetime", "text"),
    "postgresql": ("char(8)", "numeric(10,2)", "real", "timestamptz", "jsonb"),
}
"""Types that give values back in another form than they got them."""


def setup(database: str) -> Iterator[str]:
    """Statements that make the tables."""
    yield "DROP TABLE IF EXISTS accounts"
    yield "DROP TABLE IF EXISTS ledgers"
    yield "CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)"
    yield f"INSERT INTO accounts VALUES (1, {START})"
    columns = zip(("code", "amount", "rate", "at", "data"), FORMS[database], strict=True)
    yield f"CREATE TABLE ledgers ({', '.join(' '.join(each) for each in columns)}, PRIMARY KEY (code))"
    yield "INSERT INTO ledgers VALUES ('main', 7, 0.1, '2026-01-01 00:00:00', '{}')"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A real PostgreSQL."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.postgres(Path(folder)) as url,
    ):
        yield url.replace("+psycopg", "")


@pytest.fixture
def where(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> str:
    """The books' database, fresh."""
    if database == "sqlite":
        with contextlib.closing(sqlite3.connect(tmp_path / "books.db")) as connection:
            connection.executescript(";".join(setup(database)))
        return str(tmp_path / "books.db")
    url: str = request.getfixturevalue("postgres")
    with psycopg.connect(url, autocommit=True) as server:
        for statement in setup(database):
            server.execute(statement)
    return url


@pytest.mark.parametrize(
    ("database", "who", "how", "found", "defended", "balance"),
    [
        ("sqlite", "threads", "plain", LOST, {}, None),
        ("sqlite", "threads", "atomic", [], {"atomic": 2}, START + 30),
        ("sqlite", "threads", "compared", [], {"rejected": 1}, START + 30),
        ("sqlite", "tasks", "plain", LOST, {}, None),
        ("sqlite", "tasks", "atomic", [], {"atomic": 2}, START + 30),
        ("sqlite", "tasks", "compared", [], {"rejected": 1}, START + 30),
        ("postgresql", "threads", "plain", LOST, {}, None),
        ("postgresql", "threads", "atomic", [], {"atomic": 2}, START + 30),
        ("postgresql", "threads", "compared", [], {"rejected": 1}, START + 30),
        ("postgresql", "threads", "locked", [], {"lock": 2}, START + 30),
        ("postgresql", "tasks", "plain", LOST, {}, None),
    ],
)
def test_race_and_twins(  # noqa: PLR0917  a table's columns
    database: str, who: str, how: str, found: object, defended: object, balance: int | None, where: str, tmp_path: Path
) -> None:
    """One line of difference in the agents, and nothing of noclobber in them."""
    scope = "sqlite3" if database == "sqlite" else "psycopg"
    agents = judging_agents.judged(tmp_path / "spans.jsonl", "books.py", database, who, how, where, scope=scope)
    assert (agents.kinds, agents.summary["defended"]) == (found, defended)
    assert int(agents.printed) in ({START + 50, START - 20} if balance is None else {balance})
    assert all(each["resource"].endswith("/accounts/id=1") for each in agents.findings)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_forms_of_values(database: str, where: str, tmp_path: Path) -> None:
    """Who works in turn races with nobody, whatever form values come back in; rows go by their model's key."""
    scope = "sqlite3" if database == "sqlite" else "psycopg"
    words = (database, "-", "in turn", where)
    # char(8) fills the key with blanks: who asks for it without them names no row that a reply names.
    blanks = 2 if database == "postgresql" else 0
    agents = judging_agents.judged(tmp_path / "spans.jsonl", "books.py", *words, scope=scope, partial=blanks)
    assert (agents.findings, agents.summary["defended"]) == ([], {})
    assert agents.spans.count("/ledgers/code=main") == 8
