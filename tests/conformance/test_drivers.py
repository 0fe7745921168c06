"""Agents that use plain SQL drivers, under `noclobber run`: the race is found, its safe twin is silent and defended."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from noclobber_sidecar.demo import servers

AGENT = Path(__file__).parent / "agents" / "bank.py"
TIMEOUT_S = 60
SETUP = (
    "CREATE TABLE accounts (id integer PRIMARY KEY, bal integer)",
    "INSERT INTO accounts VALUES (1, 10000100)",
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A real PostgreSQL."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.postgres(Path(folder)) as url,
    ):
        yield url.replace("+psycopg", "")


@pytest.fixture
def where(request: pytest.FixtureRequest, driver: str, tmp_path: Path) -> str:
    """The bank's database, fresh."""
    if "sqlite" in driver:
        with contextlib.closing(sqlite3.connect(tmp_path / "bank.db")) as connection:
            connection.executescript(";".join(SETUP))
        return str(tmp_path / "bank.db")
    url: str = request.getfixturevalue("postgres")
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP TABLE IF EXISTS accounts")
        for statement in SETUP:
            server.execute(statement)
    return url


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(file: Path, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the agents, then `noclobber check`: findings and summary."""
    agent = run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENT), *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    return findings, last["summary"]


@pytest.mark.parametrize("driver", ["sqlite3", "aiosqlite", "psycopg", "asyncpg"])
def test_race_and_twin(driver: str, where: str, tmp_path: Path) -> None:
    """One line of difference in the agents, and nothing of noclobber in them."""
    (finding,), summary = judged(tmp_path / "plain.jsonl", driver, "plain", where)
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert finding["resource"].endswith("/accounts/id=1")
    assert summary["coverage"] == {"lost_spans": 0, "partial": 0}
    scope = "sqlite3" if "sqlite" in driver else driver
    assert f'"noclobber.{scope}"' in (tmp_path / "plain.jsonl").read_text()
    findings, summary = judged(tmp_path / "atomic.jsonl", driver, "atomic", where)
    assert findings == []
    assert summary["defended"] == {"atomic": 2}


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_advisory_twin(driver: str, where: str, tmp_path: Path) -> None:
    """An advisory lock makes the other wait: silent and defended."""
    findings, summary = judged(tmp_path / "spans.jsonl", driver, "advisory", where)
    assert findings == []
    assert "lock" in summary["defended"]
    assert "/pg_advisory/" in (tmp_path / "spans.jsonl").read_text()
