"""What the frameworks' tests share: a server for the state that agents keep in Redis.

Frameworks are large and pin what they need, so these tests run in environments of their own: `nox -s frameworks`.
"""

from collections.abc import Iterator

import pytest

from noclobber_sidecar.demo.servers import redis_compatible

START = "10000100"


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis-compatible server; its URL."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def account(valkey: str) -> Iterator[str]:
    """The URL of a server that holds one account."""
    import redis

    with redis.Redis.from_url(valkey) as client:
        client.flushall()
        client.set("acct:42", START)
        yield valkey
