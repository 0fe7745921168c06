"""Jobs in other processes: waiting for a result orders, being submitted side by side does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from judging_agents import judged

from noclobber_sidecar.demo import servers


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with servers.redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.mark.parametrize(
    "kind", ["executor", *(pytest.param(each, marks=pytest.mark.long) for each in ("pool", "process"))]
)
@pytest.mark.parametrize("way", ["in turn", "at once"])
def test_race_and_twin(valkey: str, way: str, kind: str, tmp_path: Path) -> None:
    """In turn nothing is found; at once one job's change is lost, and found."""
    found = judged(tmp_path / "spans.jsonl", "pools.py", valkey, way, kind, scope="redis")
    if way == "in turn":
        assert (found.kinds, found.printed) == ([], "10000144\n")
    else:
        assert found.kinds == [("lost_update", "likely")]
