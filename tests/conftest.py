"""What all tests share: one store at a time on the real engine, embedded, over HTTP and on a server.

chdb opens one folder in a process, so a store lives for one module and is closed after it.
"""

import os
import signal
from collections.abc import Iterator
from typing import Final

import pytest
from bench_report import pytest_runtest_logreport, pytest_sessionfinish, ratio

from noclobber_collector.store import Store, open_store

__all__ = ["pytest_runtest_logreport", "pytest_sessionfinish", "ratio"]
"""Of the report of benchmarks: each test may hand over a figure."""

SERVER: Final = os.environ.get("NOCLOBBER_CLICKHOUSE_URL", "")
"""A ClickHouse server for tests, with rights to make and drop databases; its databases `nc_test_*` are ours."""
OVER: Final = ("embedded", "http", *(["server"] if SERVER else []))
EVERYWHERE: Final = ("test_store.py", "test_loader.py")
"""Modules of the collector that meet each kind of store in every run; others do so in the long one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever uses the store meets it embedded, through the HTTP transport and, if its URL is given, on a server.

    What only reads it (the dashboard) does so over Distributed tables, too.
    """
    if "real_store" not in metafunc.fixturenames:
        return
    always = metafunc.definition.path.name in EVERYWHERE
    over = (*OVER, "cluster") if metafunc.definition.path.parent.name == "dashboard" else OVER
    values = [
        pytest.param(name, marks=() if always or name == "embedded" else pytest.mark.long, id=name) for name in over
    ]
    metafunc.parametrize("real_store", values, indirect=True, scope="module")


@pytest.fixture(scope="module")
def real_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The real store on the real engine, for one module; closed after it, so that the next one can open its own."""
    folder = tmp_path_factory.mktemp("store")
    match request.param:
        case "embedded":
            store = open_store(f"chdb://{folder}")
            yield store
            store.close()
        case "http":
            from clickhouse_over_http import ClickHouseOverHttp

            server = ClickHouseOverHttp(folder, password="secret")
            store = open_store(server.url)
            yield store
            store.close()
            server.close()
        case "cluster":
            from one_shard import as_one_shard, server_of_one_shard

            with pytest.MonkeyPatch.context() as patch:
                as_one_shard(patch)
                server = server_of_one_shard(folder)
                store = open_store(f"{server.url}/noclobber?cluster=main")
                yield store
                store.close()
                server.close()
        case _:
            store = open_store(f"{SERVER.rstrip('/')}/nc_test_{os.getpid()}")
            yield store
            store.command("DROP DATABASE {name:Identifier} SYNC", {"name": f"nc_test_{os.getpid()}"})
            store.close()


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C reaches what tests start, also where a shell in the background had it ignored: children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
