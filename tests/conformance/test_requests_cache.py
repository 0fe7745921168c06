"""Agents that share a cache of HTTP responses: the race is found, its twin under a lock file is defended."""

from pathlib import Path

import pytest
from judging_agents import judged


@pytest.mark.parametrize("where", ["sqlite", pytest.param("filesystem", marks=pytest.mark.long)])
def test_race(where: str, tmp_path: Path) -> None:
    """Two processes read before either writes: one note is lost."""
    found = judged(tmp_path / "spans.jsonl", "pages.py", "plain", where, str(tmp_path), scope="requests-cache")
    assert (found.kinds, found.printed) == ([("lost_update", "likely")], "1\n")
    assert found.findings[0]["resource"].startswith("cache://")
    assert "noclobber.sqlite3" not in found.spans
    assert "notes of everybody" not in found.spans


@pytest.mark.long
@pytest.mark.parametrize("where", ["sqlite", "filesystem"])
def test_locked_twin(where: str, tmp_path: Path) -> None:
    """The same in turn: silent and defended."""
    found = judged(tmp_path / "spans.jsonl", "pages.py", "locked", where, str(tmp_path), scope="requests-cache")
    assert (found.kinds, found.printed) == ([], "2\n")
    assert found.summary["defended"].get("lock") == 2
