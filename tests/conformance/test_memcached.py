"""Agents that share a memcached server, under `noclobber run`: the race is found, its safe twin is defended."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from memcached_stage import memcached
from rounds import problems

AGENT = Path(__file__).parent / "agents" / "cache.py"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server's."""
    with memcached() as (_, found):
        yield found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def judged(file: Path, how: str, port: int) -> tuple[list[dict[str, Any]], dict[str, Any], int]:
    """Run the agents, then `noclobber check`: findings, summary, and the balance that came of it."""
    agent = run("run", "--file", str(file), "--file-only", "--", sys.executable, str(AGENT), how, str(port))
    assert (agent.returncode, agent.stderr) == (0, "")
    assert '"noclobber.pymemcache"' in file.read_text()
    assert problems(file) == []
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": 0}
    return findings, last["summary"], int(agent.stdout)


@pytest.mark.parametrize("how", ["plain", "unanswered"])
def test_race(how: str, port: int, tmp_path: Path) -> None:
    """Two agents read before either writes, and nothing of noclobber is in them."""
    (finding,), _, balance = judged(tmp_path / "spans.jsonl", how, port)
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert finding["resource"].endswith(f":{port}/acct:1")
    assert balance in (80, 150)


def test_safe_twin(port: int, tmp_path: Path) -> None:
    """The same with `gets` and `cas`."""
    findings, summary, balance = judged(tmp_path / "spans.jsonl", "safe", port)
    assert (findings, balance) == ([], 130)
    assert summary["defended"] == {"rejected": 1}
