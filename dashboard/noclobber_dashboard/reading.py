"""What every read of the store keeps to: who is asked, and how many rows are held at most."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

__all__ = ["PAGE_MAX", "SNAPSHOT_MAX", "Reader"]

PAGE_MAX: Final = 500
"""Most rows that one API answer holds."""
SNAPSHOT_MAX: Final = 2_000
"""Most findings, resources or issues that a page holds; it says so where there are more."""


class Reader(Protocol):
    """What is asked of a store: rows as dictionaries, parameters bound by the server."""

    def dicts(self, sql: str, parameters: Mapping[str, object] = ..., /) -> list[dict[str, Any]]:
        """Run one statement and return its rows by column name."""
        ...
