"""Agents that share a Redis cluster, under `noclobber run`: the race is found, its safe twins are defended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_stage import cluster, servers
from judging_agents import judged

START, SUM = 1_000_000_100, 1_000_000_130


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two nodes of a cluster, and three servers for a lock."""
    folder = tmp_path_factory.mktemp("servers")
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes, servers(folder, 3) as locks:
        yield ",".join(map(str, nodes[:2])), ",".join(map(str, locks))


@pytest.mark.parametrize("kind", ["sync", pytest.param("asyncio", marks=pytest.mark.long)])
def test_race(kind: str, ports: tuple[str, str], tmp_path: Path) -> None:
    """Two clients that began at different nodes touch one key, and one addition is lost."""
    plain = judged(tmp_path / "spans.jsonl", "shards.py", kind, "plain", *ports, scope="redis")
    assert plain.kinds == [("lost_update", "likely")]
    assert plain.printed in (f"{START + 50}\n", f"{START - 20}\n")


@pytest.mark.parametrize(
    "words", ["sync watch rejected", "sync redlock lock", pytest.param("asyncio redlock lock", marks=pytest.mark.long)]
)
def test_safe_twins(words: str, ports: tuple[str, str], tmp_path: Path) -> None:
    """The same by WATCH, and under a lock over three servers, which is told as that library's."""
    kind, how, reason = words.split()
    safe = judged(tmp_path / "spans.jsonl", "shards.py", kind, how, *ports, scope="redis")
    assert (safe.findings, safe.printed) == ([], f"{SUM}\n")
    assert safe.summary["defended"].get(reason), safe.summary
    assert ('"noclobber.pottery"' in safe.spans) == (how == "redlock")


@pytest.mark.parametrize("kind", ["sync", pytest.param("asyncio", marks=pytest.mark.long)])
def test_scripts(kind: str, ports: tuple[str, str], tmp_path: Path) -> None:
    """A script adds on the server; nobody is accused, and what it did is told as known in part."""
    safe = judged(tmp_path / "spans.jsonl", "shards.py", kind, "script", *ports, scope="redis", partial=2)
    assert (safe.findings, safe.printed) == ([], f"{SUM}\n")
