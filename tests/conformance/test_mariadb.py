"""Agents that share a MariaDB server, under `noclobber run`: the race is found, its safe twins are defended."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from mariadb_stage import DATABASE, USER, mariadb
from rounds import problems

AGENT = Path(__file__).parent / "agents" / "till.py"
TIMEOUT_S = 60
START = 10_000_100
DRIVERS = ["pymysql", "aiomysql", "asyncmy", "sqlalchemy"]


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server's port."""
    with mariadb() as found:
        yield found


@pytest.fixture
def port(server: int) -> int:
    """The same, with a fresh bank."""
    where: dict[str, Any] = {"host": "127.0.0.1", "port": server, "user": USER, "database": DATABASE}
    with contextlib.closing(pymysql.connect(**where, autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("DROP TABLE IF EXISTS accounts")
        cursor.execute("CREATE TABLE accounts (id int PRIMARY KEY, bal int)")
        cursor.execute("INSERT INTO accounts VALUES (1, %s)", (START,))
    return server


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(file: Path, driver: str, how: str, port: int) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Run the agents, then `noclobber check`: findings, summary, and what the balance changed by."""
    words = (sys.executable, str(AGENT), driver, how, str(port))
    agent = run("run", "--file", str(file), "--file-only", "--", *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    assert f'"noclobber.{driver}"' in file.read_text()
    assert str(START) not in file.read_text()
    assert problems(file) == []
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"]["lost_spans"] == 0
    return findings, last["summary"], int(agent.stdout) - START


@pytest.mark.parametrize("driver", DRIVERS)
def test_race(driver: str, port: int, tmp_path: Path) -> None:
    """Both read before either writes: one amount is lost, and both drivers and SQLAlchemy name one row."""
    (finding,), _, balance = judged(tmp_path / "spans.jsonl", driver, "plain", port)
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert finding["resource"].endswith(f":{port}/bank/accounts/id=1")
    assert finding["resource"].startswith("mysql://")
    assert balance in (50, -20)


@pytest.mark.parametrize("how", ["locked", "named"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_locking_twin(driver: str, how: str, port: int, tmp_path: Path) -> None:
    """`SELECT .. FOR UPDATE`, or `GET_LOCK`, makes the other wait: silent and defended."""
    findings, summary, balance = judged(tmp_path / "spans.jsonl", driver, how, port)
    assert (findings, balance) == ([], 30)
    assert "lock" in summary["defended"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_comparing_twin(driver: str, port: int, tmp_path: Path) -> None:
    """An UPDATE that compares what was read is refused: silent and defended."""
    findings, summary, balance = judged(tmp_path / "spans.jsonl", driver, "compared", port)
    assert (findings, balance in (50, -20)) == ([], True)
    assert "rejected" in summary["defended"]
