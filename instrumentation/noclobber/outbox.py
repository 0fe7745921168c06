"""What is encoded and not yet acknowledged, in order: in memory, and on disk once there is too much.

The stock exporter loses spans after six to ten seconds of outage. Here an export stays until the collector has
acknowledged it, bounded by bytes; what a process could not send in its time is left on disk, and another process of the
same user sends it. Exports leave strictly in the order in which they came, because a mark vouches for everything before
it.

A file of the spool holds one export as it was encoded. Its name tells the process that made it and its number; that
process holds a lock on the file `{process}.lock` beside it while it lives, which also tells containers with equal
process ids apart.
"""

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # where there are no such locks nothing is adopted
    fcntl = None  # type: ignore[assignment]

__all__ = ["Export", "Outbox"]

MEMORY_BYTES_MAX: Final = 4 << 20
SUFFIX: Final = ".otlp"
LOCK_SUFFIX: Final = ".lock"


@dataclass(slots=True)
class Export:
    """One request on its way.

    Attributes:
        data: encoded ExportTraceServiceRequest, None while it lies on disk.
        spans: how many accesses it carries (marks not counted; 0 where another process made it).
        size: its bytes.
        path: where it lies on disk, None while it is only in memory.
        heir_of: the process that left it behind, None where this one made it.
    """

    data: bytes | None
    spans: int
    size: int
    path: Path | None = None
    heir_of: str | None = None

    def load(self) -> bytes | None:
        """Its bytes, None where the file is gone."""
        if self.data is not None:
            return self.data
        try:
            return self.path.read_bytes() if self.path else None
        except OSError:
            return None


class Outbox:
    """First in, first out; one thread puts, one thread takes.

    Args:
        folder: spool; None keeps everything in memory.
        process: name of this process, for its files.
        bytes_max: limit of memory and disk together; what comes on top is refused, and counted by who puts.

    Attributes:
        bytes: how much is queued. lost: accesses that could neither be sent nor left on disk.
    """

    def __init__(self, folder: Path | None, process: str, bytes_max: int) -> None:
        self._folder, self._process, self._bytes_max = folder, process, bytes_max
        self._exports: deque[Export] = deque()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._in_memory = 0
        self._locks: dict[str, int] = {}
        self.bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._exports)

    @property
    def keeps(self) -> bool:
        """Whether what can't be sent in time is left for another process."""
        return self._folder is not None

    def put(self, data: bytes, spans: int) -> bool:
        """Queue one export; False where there is no room left."""
        if self.bytes + len(data) > self._bytes_max:
            return False
        export = Export(data, spans, len(data))
        if self._in_memory + len(data) > MEMORY_BYTES_MAX and not self._write(export):
            return False
        self._append(export)
        return True

    def first(self, timeout_s: float) -> Export | None:
        """The oldest export, which stays queued until `done`; waits for one."""
        with self._changed:
            if not self._exports:
                self._changed.wait(timeout_s)
            return self._exports[0] if self._exports else None

    def done(self, export: Export) -> None:
        """`export`, the oldest, was acknowledged (or is beyond help)."""
        with self._changed:
            self._exports.popleft()
            self.bytes -= export.size
            if export.data is not None:
                self._in_memory -= export.size
            path, heir_of = export.path, export.heir_of
            last = heir_of is not None and all(each.heir_of != heir_of for each in self._exports)
            self._changed.notify_all()
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()
        if last and heir_of is not None:
            self._unlock(heir_of, remove=True)

    def wait_empty(self, timeout_s: float) -> bool:
        """Whether everything was acknowledged within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._exports, timeout_s)

    def leave(self) -> None:
        """Write what is still queued to disk, for another process, and let go of it."""
        with self._changed:
            self.lost += sum(each.spans for each in self._exports if each.path is None and not self._write(each))
            empty = not self._exports
        for process in list(self._locks):
            self._unlock(process, remove=empty)

    def abandon(self) -> None:
        """In a forked child: all this is the parent's."""
        while self._locks:
            os.close(self._locks.popitem()[1])  # the parent's own descriptor goes on holding the lock

    def adopt(self) -> int:
        """Queue what processes that have ended left in the spool, oldest first; returns how many exports."""
        count = 0
        for process in self._left_behind():
            for path in sorted(self._folder.glob(f"{process}.*{SUFFIX}")) if self._folder else ():
                with contextlib.suppress(OSError):
                    self._append(Export(None, 0, path.stat().st_size, path, process))
                    count += 1
        return count

    def _left_behind(self) -> Iterator[str]:
        """Processes whose files are here and whose lock is free; it is held by this one from then on."""
        try:
            names = {path.name.partition(".")[0] for path in self._folder.glob(f"*{SUFFIX}")} if self._folder else set()
        except OSError:
            return
        for process in sorted(names - self._locks.keys() - {self._process}):
            if self._lock(process):
                yield process

    def _append(self, export: Export) -> None:
        with self._changed:
            self._exports.append(export)
            self.bytes += export.size
            if export.data is not None:
                self._in_memory += export.size
            self._changed.notify_all()

    def _write(self, export: Export) -> bool:
        if self._folder is None or export.data is None:
            return False
        path = self._folder / f"{self._process}.{next(self._numbers):09d}{SUFFIX}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._process not in self._locks:
                self._lock(self._process)
            beside = path.with_suffix(".part")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(export.data)
            beside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):  # half an export is of use to nobody, least of all on a full disk
                path.with_suffix(".part").unlink()
            return False
        export.path, export.data = path, None
        return True

    def _lock(self, process: str) -> bool:
        """Whether the files of `process` are this process's from now on."""
        if self._folder is None or fcntl is None:
            return False
        try:
            descriptor = os.open(self._folder / f"{process}{LOCK_SUFFIX}", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._locks[process] = descriptor
        return True

    def _unlock(self, process: str, *, remove: bool) -> None:
        descriptor = self._locks.pop(process, None)
        if descriptor is None or self._folder is None:
            return
        with contextlib.suppress(OSError):
            if remove:
                (self._folder / f"{process}{LOCK_SUFFIX}").unlink()
            os.close(descriptor)
