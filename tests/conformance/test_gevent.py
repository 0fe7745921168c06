"""Agents that are greenlets, in a program that gevent has patched: the race is found, its twins are silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from judging_agents import judged

from noclobber_sidecar.demo.servers import redis_compatible

pytest.importorskip("gevent", reason="gevent is not installed (pip install gevent)")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as found:
        yield found


@pytest.mark.parametrize("who", ["gevent", "threads"])
def test_race_and_twins(who: str, url: str, tmp_path: Path) -> None:
    """Two greenlets of one thread race; added in place, or one after the other, nothing is lost."""
    race = judged(tmp_path / "plain.jsonl", "greens.py", "plain", who, url, scope="redis")
    assert race.kinds == [("lost_update", "likely")]
    assert race.printed.strip() in ("50", "-20")
    safe = judged(tmp_path / "atomic.jsonl", "greens.py", "atomic", who, url, scope="redis")
    assert (safe.findings, safe.summary["defended"], safe.printed.strip()) == ([], {"atomic": 2}, "30")
    turns = judged(tmp_path / "turns.jsonl", "greens.py", "in turn", who, url, scope="redis")
    assert (turns.findings, turns.printed.strip()) == ([], "30")
