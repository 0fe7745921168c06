"""What these tests share: programs that race, each a copy that can be mended, and the servers that they race on."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from racing_programs import Program

from noclobber_sidecar.demo.servers import redis_compatible


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """PostgreSQL; its URL. Its folder has a short name, since that of its socket may not be long."""
    from noclobber_sidecar.demo import servers

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        servers.postgres(Path(folder)) as url,
    ):
        yield url.replace("+psycopg", "")


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """NATS with JetStream; its URL."""
    from broker_stage import nats as server

    with server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Programs in a folder of their own."""
    return Program(tmp_path)


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., list[str]]:
    """A defect's arguments, with the servers that they name, which are started when they are first asked for."""

    def place(words: tuple[str, ...]) -> list[str]:
        text = "\x00".join(words).replace("{folder}", str(tmp_path))
        for server in ("valkey", "postgres", "nats"):
            if f"{{{server}}}" in text:
                text = text.replace(f"{{{server}}}", request.getfixturevalue(server))
        if "{sqlalchemy}" in text:
            url = request.getfixturevalue("postgres").replace("postgresql://", "postgresql+asyncpg://")
            text = text.replace("{sqlalchemy}", url)
        return text.split("\x00") if text else []

    return place
