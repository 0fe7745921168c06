"""One embedded store for each module of tests (chdb opens one folder in a process), emptied before each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WRITTEN = ("findings", "transitions", "deliveries", "cursors")


@pytest.fixture(scope="module")
def embedded_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real store on the real engine."""
    from noclobber_collector.store import open_store

    folder: Path = tmp_path_factory.mktemp("store")
    store = open_store(f"chdb://{folder}")
    yield store
    store.close()


@pytest.fixture
def store(embedded_store: Any) -> Any:
    """The store without a row in what the analyzer writes."""
    for table in WRITTEN:
        embedded_store.command(f"TRUNCATE TABLE {table}")
    return embedded_store
