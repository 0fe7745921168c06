"""The store without a row in what the analyzer writes."""

from typing import Any

import pytest

WRITTEN = ("findings", "transitions", "deliveries", "cursors")


@pytest.fixture
def store(embedded_store: Any) -> Any:
    """The store without a row in what the analyzer writes."""
    for table in WRITTEN:
        embedded_store.command(f"TRUNCATE TABLE {table}")
    return embedded_store
