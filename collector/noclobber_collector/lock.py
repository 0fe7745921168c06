"""Who holds a data folder: one engine at a time, and how to reach it.

The embedded store can be opened by one process only, and its own error does not say by whom. So whoever opens it holds
`engine.lock` in the data folder: a file lock that ends with the process, and in the file its number and address.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from noclobber_collector.errors import StoreBusyError

__all__ = ["EngineLock", "Holder", "holder"]

NAME = "engine.lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: its process, and where its API answers ("" where it has none)."""

    pid: int
    address: str


class EngineLock:
    """Holds `engine.lock` of a data folder.

    Args:
        data: the folder; made if need be.
        address: of the holder's API.

    Raises:
        StoreBusyError: another process holds it; says which.
    """

    def __init__(self, data: Path, address: str = "") -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file = os.open(data / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            who = holder(data)
            told = f"process {who.pid}" + (f" at {who.address}" if who.address else "") if who else "another process"
            raise StoreBusyError(f"the data folder {data} is in use by {told}") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(asdict(Holder(os.getpid(), address))).encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def holder(data: Path) -> Holder | None:
    """Who holds the lock of `data`; None where nobody does."""
    path = data / NAME
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        try:
            return Holder(**json.loads(path.read_text()))
        except (ValueError, TypeError, OSError):
            return Holder(0, "")
    finally:
        os.close(file)
    return None
