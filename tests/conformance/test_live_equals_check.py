"""What was found live is what `noclobber check` finds in the agents' files afterwards, ids included."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEMO_TIMEOUT_S = 110
COMMAND_TIMEOUT_S = 60


def noclobber(*words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "noclobber.cli", *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )


def played(folder: Path, *words: str, timeout_s: float = DEMO_TIMEOUT_S) -> None:
    """A demo whose store and whose agents' files are kept."""
    demo = noclobber("demo", "--once", "--no-browser", "--keep", str(folder), *words, timeout_s=timeout_s)
    assert demo.returncode == 0, demo.stdout + demo.stderr


def live(folder: Path) -> list[dict[str, Any]]:
    """What the sidecar's analyzer found, as it stands in its store."""
    words = ("--status", "open", "--min-certainty", "possible", "--limit", "1000", "--data", str(folder / "data"))
    export = noclobber("findings", "export", *words)
    assert (export.returncode, export.stderr) == (0, "")
    return without_revisions([json.loads(line) for line in export.stdout.splitlines()])


def checked(folder: Path) -> list[dict[str, Any]]:
    """What `check` finds in the agents' files."""
    check = noclobber("check", "--format", "json", "--min-certainty", "possible", str(folder / "spans"))
    assert (check.returncode, check.stderr) == (1, "")
    *findings, last = [json.loads(line) for line in check.stdout.splitlines()]
    assert last["summary"]["coverage"] == {"lost_spans": 0, "partial": 0}
    return without_revisions(findings)


def without_revisions(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By id; how often the live view was amended on its way is its own affair."""
    return sorted(({**each, "revision": 1} for each in findings), key=lambda each: str(each["id"]))


@pytest.mark.parametrize("words", [(), pytest.param(("--exact",), marks=pytest.mark.long)], ids=["plain", "exact"])
def test_the_account_is_judged_alike(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The same findings field by field: one lost update for each round that lost work, and none beside."""
    played(tmp_path / "demo", *words)
    found = live(tmp_path / "demo")
    assert found == checked(tmp_path / "demo")
    assert [(each["kind"], each["certainty"]) for each in found] == [("lost_update", "certain" if words else "likely")]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_scenario_is_judged_alike(tmp_path: Path) -> None:
    """All acts and their twins on one sidecar: one finding each, the same in the store and from the files."""
    played(tmp_path / "demo", "--scenario", "all", timeout_s=800)
    found = live(tmp_path / "demo")
    assert found == checked(tmp_path / "demo")
    assert sorted(each["kind"] for each in found) == [
        "dirty_read", "double_claim", "fork", "lost_update", "lost_update", "lost_update",
    ]  # fmt: skip
