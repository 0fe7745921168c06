"""Whether the short way by which plain reads are told tells what the long way tells."""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from noclobber.contract import Attr
from noclobber.stores import sql_database, sql_planner, sql_units, sql_writes
from noclobber.stores.sql_plan import Verb
from noclobber.stores.sql_planner import Planner
from noclobber.stores.sql_tables import Catalogue
from noclobber.testing import capture

Statement = tuple[str, dict[str, Any]]
SCHEMA = (
    "CREATE TABLE accounts (id integer PRIMARY KEY, bal numeric, owner text)",
    "CREATE TABLE seats (hall text, number integer, guest text, PRIMARY KEY (hall, number))",
)
READS = (
    "SELECT id, bal FROM accounts WHERE id = :id",
    "SELECT bal FROM accounts WHERE id = :id",
    "SELECT owner, bal, id FROM accounts WHERE id = :id",
    "SELECT id FROM accounts WHERE id = :id",
    "SELECT id, bal, bal FROM accounts WHERE id = :id",
    "SELECT bal + 1 FROM accounts WHERE id = :id",
    "SELECT * FROM accounts WHERE id = :id",
    "SELECT bal FROM accounts WHERE id IN (:id)",
    "SELECT bal FROM accounts WHERE id = :id AND owner = :owner",
    "SELECT count(*) FROM accounts WHERE id = :id",
    "SELECT guest FROM seats WHERE hall = :owner AND number = :id",
    "SELECT guest, number, hall FROM seats WHERE number = :id AND hall = :owner",
)
WRITES = (
    "UPDATE accounts SET bal = :bal WHERE id = :id",
    "UPDATE accounts SET bal = bal + 1 WHERE id = :id",
    "UPDATE accounts SET bal = :bal, owner = :owner WHERE id = :id",
    "INSERT OR IGNORE INTO accounts (id, bal, owner) VALUES (:id, :bal, :owner)",
    "INSERT OR REPLACE INTO seats (hall, number, guest) VALUES (:owner, :id, :bal)",
    "DELETE FROM accounts WHERE id = :id",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "COMMIT",
)
VALUES = st.fixed_dictionaries(
    {
        "id": st.integers(1, 2),
        "bal": st.one_of(st.none(), st.integers(0, 300), st.floats(allow_nan=False), st.text(max_size=4), st.binary()),
        "owner": st.sampled_from(["ann", "A/b", ""]),
    }
)
STATEMENTS = st.lists(st.tuples(st.sampled_from(READS * 2 + WRITES), VALUES), min_size=1, max_size=12)


@contextlib.contextmanager
def long_way() -> Iterator[None]:
    """Every read is told the long way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_planner, "look_of", lambda plan: None)
        yield


def spans_of(statements: Sequence[Statement], path: Path, *, described: bool, driver: bool) -> list[dict[str, Any]]:
    """What `statements` are told as, by the driver's hook or SQLAlchemy's, on tables that were seen made or not."""
    path.unlink(missing_ok=True)
    if not described:
        _create(path)
    sql_database._databases.clear()
    sql_units._numbers = sql_writes._unknown_rows = itertools.count(1)
    with capture() as captured:
        if described:
            _create(path)
        (_by_driver if driver else _by_sqlalchemy)(statements, path)
        return [dict(span.attributes) for span in captured.spans]


def _create(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for each in SCHEMA:
            connection.execute(each)


def _by_driver(statements: Sequence[Statement], path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement, values in statements:
            with contextlib.suppress(sqlite3.Error):
                connection.execute(statement, values).fetchall()


def _by_sqlalchemy(statements: Sequence[Statement], path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        for statement, values in statements:
            if statement == "COMMIT":
                connection.commit()
            elif statement.startswith(("SAVEPOINT", "ROLLBACK")):
                continue
            else:
                answer = connection.execute(text(statement), values)
                if answer.returns_rows:
                    answer.all()
    engine.dispose()


def both_ways(statements: list[Statement], path: Path, *, described: bool, driver: bool) -> None:
    found = spans_of(statements, path, described=described, driver=driver)
    with long_way():
        assert found == spans_of(statements, path, described=described, driver=driver)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements=STATEMENTS, described=st.booleans(), driver=st.booleans())
def test_short_and_long_way_tell_the_same(
    tmp_path: Path, driver: bool, statements: list[Statement], described: bool
) -> None:
    """Whatever is read, between whatever writes: every attribute is the same, bases of later writes included."""
    both_ways(statements, tmp_path / "db", described=described, driver=driver)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statements=STATEMENTS, described=st.booleans(), driver=st.booleans())
def test_short_and_long_way_tell_the_same_at_length(
    tmp_path: Path, driver: bool, statements: list[Statement], described: bool
) -> None:
    """The same for a thousand programs."""
    both_ways(statements, tmp_path / "db", described=described, driver=driver)


def test_plain_reads_go_the_short_way() -> None:
    """By key alone, one table, columns that are there to see: these have a look, others have none."""
    planner = Planner("sqlite", "named", Catalogue(), None)
    for statement in SCHEMA:
        planner.plan(statement)
    plans = [planner.plan(each) for each in READS]
    assert [plan.look is not None for plan in plans] == [True] * 5 + [False] * 2 + [True] + [False] * 2 + [True] * 2
    assert all(planner.plan(each).look is None for each in WRITES if planner.plan(each).verb is not Verb.NOTHING)


def test_a_row_under_another_spelling_is_no_plain_read_and_is_there(tmp_path: Path) -> None:
    """A key that the database takes for equal: the long way tells it, and does not say that there is no such row."""
    with capture() as captured, contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("CREATE TABLE names (id text COLLATE NOCASE PRIMARY KEY, age integer)")
        connection.execute("INSERT INTO names VALUES ('Ann', 31)")
        assert connection.execute("SELECT id, age FROM names WHERE id = 'ANN'").fetchall() == [("Ann", 31)]
        found = captured.accesses[-1]
        assert (found[Attr.OP], found[Attr.OUTCOME], found.get(Attr.PARTIAL)) == ("read", "ok", True)
        assert Attr.VERSION_READ not in found
