"""Agents that share a manager's objects, under `noclobber run`: the race is found, its twin with a lock is defended."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rounds import problems

AGENT = Path(__file__).parent / "agents" / "team.py"
TIMEOUT_S = 60


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(file: Path, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Run the agents, then `noclobber check`: findings, summary, and the balance that came of it."""
    agent = run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENT), *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    assert '"noclobber.multiprocessing"' in file.read_text()
    assert problems(file) == []
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": 0}
    return findings, last["summary"], int(agent.stdout)


@pytest.mark.parametrize("words", [("dict",), ("value",), ("namespace",), ("dict", "spawn")])
def test_race_and_twin(words: tuple[str, ...], tmp_path: Path) -> None:
    """Two processes, and nothing of noclobber in them."""
    what, *start = words
    (finding,), _, balance = judged(tmp_path / "plain.jsonl", what, "plain", *start)
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert balance in (10_000_150, 10_000_080)
    findings, summary, balance = judged(tmp_path / "safe.jsonl", what, "safe", *start)
    assert (findings, balance) == ([], 10_000_130)
    assert summary["defended"] == {"lock": 2}
