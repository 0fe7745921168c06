"""What these tests share: programs that race, each a copy that can be mended, and a Redis-compatible server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from racing_programs import Program

from noclobber_sidecar.demo.servers import redis_compatible


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Programs in a folder of their own."""
    return Program(tmp_path)
