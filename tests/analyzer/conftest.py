"""The store without a row in what the analyzer writes."""

from typing import Any

import pytest

WRITTEN = ("findings", "transitions", "deliveries", "cursors")


@pytest.fixture
def store(real_store: Any) -> Any:
    """The store without a row in what the analyzer writes."""
    for table in WRITTEN:
        real_store.command(f"TRUNCATE TABLE {table}")
    return real_store
