"""Workers of a Redis stream's group under `noclobber run`: an order counted twice is found, its safe twin silent."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from judging_agents import judged

from noclobber_sidecar.demo.servers import redis_compatible


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as found:
        yield found


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_race_and_twin(kind: str, url: str, tmp_path: Path) -> None:
    """An entry that is taken over from a worker that lives is counted twice, or asked for and counted once."""
    plain = judged(tmp_path / "plain.jsonl", "streams.py", kind, "plain", url, scope="redis")
    assert (plain.kinds, plain.printed) == ([("duplicate_delivery", "certain")], "100\n")
    safe = judged(tmp_path / "safe.jsonl", "streams.py", kind, "safe", url, scope="redis")
    assert (safe.kinds, safe.printed) == ([], "50\n")
    assert sum(safe.summary["defended"].values()) >= 1
