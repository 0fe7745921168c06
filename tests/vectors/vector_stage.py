"""What the tests of vector stores share: programs under `noclobber run`, and what was captured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rounds import problems

from noclobber import testing, versions
from noclobber.testing import Captured

AGENTS = Path(__file__).parent / "agents"
TIMEOUT_S = 100


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
    )  # fmt: skip


def judged(file: Path, agent: str, *words: str) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Run the agents, then `noclobber check`: findings, summary, and what the program printed."""
    program = str(AGENTS / f"{agent}.py")
    done = run("run", "--file", str(file), "--file-only", "--", sys.executable, program, *words)
    assert done.returncode == 0, done.stderr
    assert "noclobber" not in done.stderr
    assert problems(file) == []
    check = run("check", "--format", "json", str(file))
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert (check.returncode, check.stderr) == (1 if findings else 0, "")
    assert last["summary"]["coverage"]["lost_spans"] == 0
    return findings, last["summary"], done.stdout.strip()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    """Op, last segment of the resource and outcome of each access; `more` names further attributes."""
    return [
        (
            each["noclobber.op"],
            each["noclobber.resource"].rpartition("/")[2],
            each["noclobber.outcome"],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
        if not each["noclobber.resource"].startswith("strand://")
    ]


def printed(value: bytes) -> str:
    """The print of `value` under the tests' key."""
    before = versions.use_key(testing.KEY)
    try:
        return versions.fingerprint(value)
    finally:
        versions.use_key(before)
