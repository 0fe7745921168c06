"""Columns that give back something else than they were sent: two agents that take turns are no finding, racers are.

A print of what was sent and one of what came back differ there, and prove nothing. Turns are handed on by a queue that
capture knows nothing of, so nothing but versions and clocks is left to judge by.
"""

import datetime as dt
import json
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from driver_stage import TIMEOUT_S, Reads, Writes, findings, race, turns
from psycopg.types.json import Jsonb
from sql_stage import postgres_url

from noclobber.testing import capture

__all__ = ["postgres_url"]

ZONE = dt.timezone(dt.timedelta(hours=5, minutes=30))
POSTGRES = {
    "numeric(10,2)": [Decimal(100), 150.5, Decimal("170.4999"), 7],
    "timestamptz": [dt.datetime(2026, 1, 2, 3, 4, 5, 678901, ZONE), "2026-05-01 10:00+02", dt.datetime.now(dt.UTC)],
    "jsonb": [
        Jsonb({"z": 1, "a": [1.50, (2, 3)]}), Jsonb({"b": True, "aa": None}), json.dumps({"b": 1.10, "a": "é"}),
    ],
    "char(10)": ["short", "a bit more", "x "],
    "varchar(40)": ["plain text of an agent", "more of it that is long", "and the third one of them"],
    "real": [0.1, 1 / 3, 16_777_217],
    "money": ["12.5", "1,000.00", "7"],
    "text[]": [["a", "b"], ["c"], []],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "{a0eebc999c0b4ef8bb6d6bb9bd380a12}"],
    "integer": [10_000_100, 10_000_150, 10_000_170],
}  # fmt: skip
SQLITE = {
    "REAL": [150, 151, Decimal("7.5").__float__()],
    "NUMERIC": ["150", "170.0", "7"],
    "TEXT": [150, 1.5, "seven words of a text"],
    "INTEGER": ["10000150", 10_000_170.0, 10_000_190],
}
TRIGGER = """
CREATE OR REPLACE FUNCTION upper_note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.v := upper(NEW.v) || ' at ' || TG_OP; RETURN NEW; END $$
"""


def on_postgres(url: str) -> Callable[[], tuple[Reads, Writes, Callable[[], None]]]:
    """Opens a connection to one row: what reads it, what writes it, what ends it."""

    def open_one() -> tuple[Reads, Writes, Callable[[], None]]:
        connection = psycopg.connect(url, autocommit=True)
        return (
            lambda: connection.execute("SELECT id, v FROM values_kept WHERE id = %s", (1,)).fetchone(),
            lambda value: (connection.execute("UPDATE values_kept SET v = %s WHERE id = %s", (value, 1)), None)[1],
            connection.close,
        )

    return open_one


def prepared(url: str, declared: str, value: Any, more: str = "") -> str:
    found = url.replace("+psycopg", "")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS values_kept")
        connection.execute(f"CREATE TABLE values_kept (id integer PRIMARY KEY, v {declared})")  # type: ignore[arg-type]
        connection.execute("INSERT INTO values_kept VALUES (1, %s)", (value,))
        if more:
            connection.execute(more)  # type: ignore[arg-type]
            connection.execute(
                "CREATE TRIGGER t BEFORE UPDATE ON values_kept FOR EACH ROW EXECUTE FUNCTION upper_note()"
            )
    return found


@pytest.mark.parametrize("declared", POSTGRES)
def test_turns_on_postgresql(postgres_url: str, declared: str, tmp_path: Path) -> None:
    """Whatever the column makes of a value."""
    values = POSTGRES[declared]
    url = prepared(postgres_url, declared, values[-1])
    with capture(fixed=False) as captured:
        turns(on_postgres(url), values * 2)
    assert findings(captured, tmp_path) == []


def test_turns_with_a_trigger(postgres_url: str, tmp_path: Path) -> None:
    """What stands there is what a trigger made of it, which no client sees."""
    url = prepared(postgres_url, "text", "nothing yet said here", TRIGGER)
    with capture(fixed=False) as captured:
        turns(on_postgres(url), ["first words of some", "then others of them", "thirdly a few more", "and the last"])
    assert findings(captured, tmp_path) == []


@pytest.mark.parametrize("declared", ["numeric(10,2)", "jsonb", "timestamptz"])
def test_races_on_postgresql(postgres_url: str, declared: str, tmp_path: Path) -> None:
    """The twin that loses something is found all the same."""
    values = POSTGRES[declared]
    url = prepared(postgres_url, declared, values[-1])
    with capture(fixed=False) as captured:
        race(on_postgres(url), values[:2])
    assert "lost_update" in [kind for kind, _ in findings(captured, tmp_path)]


def on_sqlite(path: Path) -> Callable[[], tuple[Reads, Writes, Callable[[], None]]]:
    def open_one() -> tuple[Reads, Writes, Callable[[], None]]:
        connection = sqlite3.connect(path, isolation_level=None, timeout=TIMEOUT_S)
        return (
            lambda: connection.execute("SELECT id, v FROM t WHERE id = ?", (1,)).fetchone(),
            lambda value: (connection.execute("UPDATE t SET v = ? WHERE id = ?", (value, 1)), None)[1],
            connection.close,
        )

    return open_one


@pytest.mark.parametrize("declared", SQLITE)
def test_turns_on_sqlite(declared: str, tmp_path: Path) -> None:
    """An integer comes back as a real, a text as a number."""
    path = tmp_path / "values.db"
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE t (id integer PRIMARY KEY, v {declared})")
    connection.execute("INSERT INTO t VALUES (1, 0)")
    connection.commit()
    connection.close()
    with capture(fixed=False) as captured:
        turns(on_sqlite(path), SQLITE[declared] * 2)
    assert findings(captured, tmp_path) == []
