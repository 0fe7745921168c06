"""The LangGraph precision case: ordinary, ordered work is silent, and one race is one finding, on its key."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AGENT = Path(__file__).parent / "agents" / "ticks.py"
TIMEOUT_S = 100


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judge(folder: Path, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Run the ticking graph under `noclobber run`, then `noclobber check`: findings, summary, what it printed."""
    file = folder / "ticks.jsonl"
    agent = run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENT), *words)
    assert (agent.returncode, agent.stderr) == (0, "")
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    return findings, last["summary"], agent.stdout


WAYS = [(), ("--asynchronously",), ("--folder",)]


@pytest.mark.parametrize("way", WAYS, ids=["memory", "async", "sqlite"])
def test_one_race_among_21_ticks_is_one_finding(tmp_path: Path, way: tuple[str, ...]) -> None:
    """Three items worked on in order, and one on which two parallel nodes race: one lost update, on that one."""
    words = [*way, str(tmp_path)] if "--folder" in way else list(way)
    findings, summary, printed = judge(tmp_path, "--raced", *words)
    assert "'plan': {'ticks': 21, 'reviewed': 21}" in printed
    assert "'tally': {'count': 107}" not in printed
    (finding,) = findings
    assert finding["kind"] == "lost_update"
    assert finding["resource"].endswith("/newsroom/desk/tally")
    assert finding["certainty"] == ("likely" if "--folder" in way else "certain")
    assert set(finding["agents"]) == {"count_words", "count_links"}
    assert summary["coverage"] == {"lost_spans": 0, "partial": 0}


@pytest.mark.parametrize("way", WAYS, ids=["memory", "async", "sqlite"])
def test_21_ticks_without_a_race_are_silent(tmp_path: Path, way: tuple[str, ...]) -> None:
    """The same work without the race: nothing, although many nodes ran side by side and contents came again."""
    words = [*way, str(tmp_path)] if "--folder" in way else list(way)
    findings, summary, printed = judge(tmp_path, *words)
    assert findings == []
    assert "'tally': {'count': 0}" in printed
    assert summary["accesses"] > 21 * 8
    assert summary["coverage"] == {"lost_spans": 0, "partial": 0}


def test_the_agent_knows_nothing_of_noclobber() -> None:
    """Not one line about it in the program."""
    assert "noclobber" not in AGENT.read_text()
