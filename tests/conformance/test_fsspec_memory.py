"""Agents that share a file in fsspec's memory file system: the race is found, its twin is silent."""

from pathlib import Path

import pytest
from judging_agents import judged

START, SUM = 1_000_000_100, 1_000_000_130


@pytest.mark.parametrize("who", ["threads", "tasks"])
def test_race_and_twin(who: str, tmp_path: Path) -> None:
    """One addition is lost; under a lock none is."""
    plain = judged(tmp_path / "plain.jsonl", "boxes.py", who, "plain", str(tmp_path / "a"), scope="fsspec-memory")
    assert plain.kinds == [("lost_update", "likely")]
    assert plain.findings[0]["resource"].endswith("/memory/bank/balance")
    assert plain.printed in (f"{START + 50}\n", f"{START - 20}\n")
    safe = judged(tmp_path / "safe.jsonl", "boxes.py", who, "locked", str(tmp_path / "b"), scope="fsspec-memory")
    assert (safe.findings, safe.printed) == ([], f"{SUM}\n")
    assert safe.summary["defended"].get("lock")
