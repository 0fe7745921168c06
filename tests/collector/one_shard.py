"""A cluster of one shard without Keeper, for tests: Distributed tables as they are, no ON CLUSTER, no replication."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from clickhouse_over_http import ClickHouseOverHttp

from noclobber_collector.store import ON_CLUSTER, Store

__all__ = ["OneShard", "as_one_shard", "server_of_one_shard"]

CONFIGURATION: Final = (
    "<clickhouse><tcp_port>9000</tcp_port><macros><shard>01</shard><replica>r1</replica></macros>"
    "<remote_servers><main><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></main>"
    "</remote_servers></clickhouse>"
)
"""The only shard is the server itself, so that nobody has to listen on its port."""
NOTHING: Final[Mapping[str, object]] = {}


class OneShard(Store):
    """A store on the cluster `main`."""

    def command(self, sql: str, parameters: Mapping[str, object] = NOTHING) -> None:
        """As it is, but for what needs Keeper."""
        alone = re.sub(r"ENGINE = Replicated(\w+)\([^)]*\)", r"ENGINE = \1", sql.replace(" ON CLUSTER `main`", ""))
        super().command(alone, parameters)


def server_of_one_shard(folder: Path) -> ClickHouseOverHttp:
    """A server that is one shard of a cluster, and the whole of it."""
    (folder / "config.xml").write_text(CONFIGURATION)
    return ClickHouseOverHttp(folder / "data", options={"config-file": str(folder / "config.xml")})


def as_one_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `open_store` make such stores."""
    monkeypatch.setattr("noclobber_collector.store.Store", OneShard)
    local = {**ON_CLUSTER, "prefer_localhost_replica": 1}  # nobody listens for shards here
    monkeypatch.setattr("noclobber_collector.store.ON_CLUSTER", local)
