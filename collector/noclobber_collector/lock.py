"""Who holds a data folder: one engine and one supervisor at a time, and how to reach them.

The embedded store can be opened by one process only, and its own error does not say by whom. So whoever opens it holds
`engine.lock` in the data folder: a file lock that ends with the process, and in the file its number and address. The
supervisor holds `up.lock` in the same way, from before its children start until they have ended, and the receiver
`spool.lock` in the spool.
"""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from noclobber_collector.errors import StoreBusyError

__all__ = ["ENGINE", "SPOOL", "SUPERVISOR", "EngineLock", "FolderLock", "Holder", "SupervisorLock", "holder"]

ENGINE: Final = "engine.lock"
SUPERVISOR: Final = "up.lock"
SPOOL: Final = "spool.lock"
PROBE_S: Final = 1.0
"""Whoever asks `holder` takes the lock for an instant; so long is that told apart from a real holder."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: its process, and where its API answers ("" where it has none)."""

    pid: int
    address: str


class FolderLock:
    """Holds a lock of a data folder.

    Args:
        data: the folder; made if need be.
        name: of the lock's file.
        address: of the holder's API.
        wait_s: how long to wait for a holder that is ending.

    Attributes:
        left_behind: the holder before was killed: it did not let go in order.

    Raises:
        StoreBusyError: another process holds it; says which.
    """

    def __init__(self, data: Path, name: str, address: str, wait_s: float) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._file = os.open(data / name, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + wait_s
        while not _locks(self._file):
            if time.monotonic() >= deadline:
                os.close(self._file)
                raise StoreBusyError(f"the data folder {data} is in use by {_told(holder(data, name))}")
            time.sleep(0.02)
        self.left_behind = os.fstat(self._file).st_size > 0
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(asdict(Holder(os.getpid(), address))).encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go; again does nothing."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


class EngineLock(FolderLock):
    """Holds `engine.lock`: whoever opens the embedded store."""

    def __init__(self, data: Path, address: str = "", wait_s: float = PROBE_S) -> None:
        super().__init__(data, ENGINE, address, wait_s)


class SupervisorLock(FolderLock):
    """Holds `up.lock`: whoever has a receiver on the data folder's spool."""

    def __init__(self, data: Path, address: str = "", wait_s: float = PROBE_S) -> None:
        super().__init__(data, SUPERVISOR, address, wait_s)


def holder(data: Path, name: str = ENGINE) -> Holder | None:
    """Who holds a lock of `data`; None where nobody does."""
    path = data / name
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _locks(file) else Holder(**json.loads(path.read_text()))
    except (ValueError, TypeError, OSError):
        return Holder(0, "")
    finally:
        os.close(file)


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _told(who: Holder | None) -> str:
    if who is None or not who.pid:
        return "another process"
    return f"process {who.pid}" + (f" at {who.address}" if who.address else "")
