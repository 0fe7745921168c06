"""Agents that share a file, under `noclobber run`: the race is found, its twin under filelock is silent and defended.

What the agents' owner adds is one variable, which names the files.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AGENT = Path(__file__).parent / "agents" / "ledger.py"
TIMEOUT_S = 60


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env={**os.environ, **variables},
    )  # fmt: skip


def judged(folder: Path, who: str, how: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the agents, then `noclobber check`: findings and summary."""
    state, spans = folder / "shared" / f"{how}.json", folder / f"{how}.jsonl"
    state.write_text('{"balance": 10000100}')
    words = ("run", "--file", str(spans), "--file-only", "--", sys.executable, str(AGENT), who, how, str(state))
    agent = run(*words, NOCLOBBER_WATCH_FILES=f"{state.parent}/")
    assert (agent.returncode, agent.stderr) == (0, "")
    check = run("check", "--format", "json", str(spans))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    return findings, last["summary"]


@pytest.mark.parametrize("who", ["threads", "processes", "tasks"])
def test_race_and_twin(who: str, tmp_path: Path) -> None:
    """Two agents, in threads, in processes and in tasks, and nothing of noclobber in them."""
    (tmp_path / "shared").mkdir()
    (finding,), summary = judged(tmp_path, who, "plain")
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert finding["resource"].endswith("/shared/plain.json")
    assert summary["coverage"] == {"lost_spans": 0, "partial": 0}
    assert '"noclobber.files"' in (tmp_path / "plain.jsonl").read_text()
    findings, summary = judged(tmp_path, who, "locked")
    assert findings == []
    assert summary["defended"] == {"lock": 2}
    assert '"noclobber.filelock"' in (tmp_path / "locked.jsonl").read_text()
