"""Agents that share a cache on disk, under `noclobber run`: the race is found, its safe twins are defended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rounds import problems

AGENT = Path(__file__).parent / "agents" / "scratch.py"
TIMEOUT_S = 60


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(folder: Path, how: str) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Run the agents, then `noclobber check`: findings, summary, and the balance that came of it."""
    file = folder / f"{how}.jsonl"
    words = ("--file", str(file), "--file-only", "--", sys.executable, str(AGENT), how, str(folder / how))
    agent = run("run", *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    assert '"noclobber.diskcache"' in file.read_text()
    assert "noclobber.sqlite3" not in file.read_text()
    assert problems(file) == []
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": 0}
    return findings, last["summary"], int(agent.stdout)


def test_race(tmp_path: Path) -> None:
    """Two processes read before either writes."""
    (finding,), _, balance = judged(tmp_path, "plain")
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert balance in (80, 150)


@pytest.mark.parametrize("how", ["safe", "locked"])
def test_safe_twins(how: str, tmp_path: Path) -> None:
    """The same in a transaction, and under a lock."""
    findings, summary, balance = judged(tmp_path, how)
    assert (findings, balance) == ([], 130)
    assert summary["defended"].get("lock") == 2
