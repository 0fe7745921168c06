"""The real store without a row, and a way into it: spool and loader, as an agent's spans come."""

from pathlib import Path
from typing import Any

import pytest
from intake import Intake

TABLES = ("accesses", "ingest", "findings", "transitions", "deliveries", "cursors", "defended", "leases", "conflicts")


@pytest.fixture
def empty_store(real_store: Any) -> Any:
    """The store without a row."""
    for table in TABLES:
        real_store.command(f"TRUNCATE TABLE {table}")
    return real_store


@pytest.fixture
def intake(empty_store: Any, tmp_path: Path) -> Intake:
    """Takes requests into the store."""
    return Intake(empty_store, tmp_path / "spool")
