"""Agents that share a MongoDB document, under `noclobber run`: the race is found, its safe twins are silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from judging_agents import judged
from mongo_stage import mongo

START, SUM = 1_000_000_100, 1_000_000_130


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of MongoDB's wire protocol."""
    with mongo(tmp_path_factory.mktemp("mongo")) as found:
        yield found


@pytest.mark.parametrize("kind", ["sync", pytest.param("asyncio", marks=pytest.mark.long)])
def test_race_and_twins(kind: str, url: str, tmp_path: Path) -> None:
    """One addition is lost; a filter on the version refuses it once; `$inc` loses nothing."""
    plain = judged(tmp_path / "plain.jsonl", "documents.py", kind, "plain", url, scope="pymongo")
    assert plain.kinds == [("lost_update", "likely")]
    assert plain.printed in (f"{START + 50}\n", f"{START - 20}\n")
    safe = judged(tmp_path / "safe.jsonl", "documents.py", kind, "safe", url, scope="pymongo")
    assert (safe.findings, safe.printed) == ([], f"{SUM}\n")
    assert safe.summary["defended"].get("rejected")
    counted = judged(tmp_path / "counted.jsonl", "documents.py", kind, "counted", url, scope="pymongo")
    assert (counted.findings, counted.printed) == ([], f"{SUM}\n")
