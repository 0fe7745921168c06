"""Real servers for the instrumentation's tests, from wheels."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noclobber_sidecar.demo.servers import redis_compatible


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def client(valkey: str) -> Iterator[Any]:
    """A redis-py client on an empty database."""
    import redis

    with contextlib.closing(redis.Redis.from_url(valkey)) as made:
        made.flushall()
        yield made


@pytest.fixture
def fresh_path(tmp_path: Path) -> Iterator[Path]:
    """Paths that do not exist yet."""
    return (tmp_path / f"file{number}" for number in itertools.count())
