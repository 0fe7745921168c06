"""What a loader tells of itself, for the receiver's /metrics: a small file in the spool.

Receiver and loader are two processes that share the spool and nothing else. The loader replaces its file about once a
second, also while the store is down; its age tells how long nobody loads.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["age_s", "read", "tell"]

NAME: Final = "loader.told"


def tell(folder: Path, values: Mapping[str, float]) -> None:
    """Replace what was told before; on a full disk the old file stays."""
    beside = folder / f"{NAME}.new"
    with suppress(OSError):
        beside.write_text(json.dumps(dict(values)))
        beside.replace(folder / NAME)


def read(folder: Path) -> dict[str, float]:
    """What a loader told last; nothing where none ever ran."""
    try:
        told = json.loads((folder / NAME).read_text())
        return {str(name): float(value) for name, value in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def age_s(folder: Path) -> float | None:
    """Seconds since then."""
    with suppress(OSError):
        return max(0.0, time.time() - os.stat(folder / NAME).st_mtime)  # noqa: PTH116  one call, as often as it is asked
    return None
