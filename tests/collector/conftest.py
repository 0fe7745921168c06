"""The store without a row, and a way into it: spool and loader."""

from collections.abc import Callable
from pathlib import Path

import pytest

from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store

TABLES = ("accesses", "ingest", "minute_stats", "findings", "transitions", "deliveries", "cursors")


@pytest.fixture
def store(real_store: Store) -> Store:
    """The store without a row."""
    for table in TABLES:
        real_store.command(f"TRUNCATE TABLE {table}")
    return real_store


@pytest.fixture
def load(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Brings requests through spool and loader into the store."""
    monkeypatch.chdir(tmp_path)  # ClickHouse leaves its cache of schemas in the working folder

    def bring(*requests: bytes) -> Store:
        spool = Spool(tmp_path / "spool")
        for request in requests:
            spool.put(request, count_spans(request)).result(10)
        spool.close()
        loader = Loader(store, tmp_path / "spool")
        loader.start()
        assert loader.stop(30)
        assert not closed_segments(tmp_path / "spool")
        return store

    return bring
