"""What is encoded and not yet acknowledged, in order: in memory, and on disk once there is too much.

The stock exporter loses spans after six to ten seconds of outage. Here an export stays until the collector has
acknowledged it, bounded by bytes on disk; what a process could not send in its time is left there, and the next
process of the same user sends it. Exports leave strictly in the order in which they came, because a mark vouches for
everything before it.

A file of the spool holds one export as it was encoded. Its name tells the process that made it and its number.
"""

import contextlib
import itertools
import os
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Export", "Outbox"]

MEMORY_BYTES_MAX: Final = 4 << 20
SUFFIX: Final = ".otlp"


@dataclass(slots=True)
class Export:
    """One request on its way.

    Attributes:
        data: encoded ExportTraceServiceRequest, None while it lies on disk.
        spans: how many accesses it carries (marks not counted).
        path: where it lies on disk, None while it is only in memory.
    """

    data: bytes | None
    spans: int
    path: Path | None = None

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
    """

    def __init__(self, folder: Path | None, process: str, bytes_max: int) -> None:
        self._folder, self._process, self._bytes_max = folder, process, bytes_max
        self._exports: deque[Export] = deque()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._in_memory = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._exports)

    def adopt(self) -> None:
        """Queue what processes that have ended left in the spool, oldest first."""
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
                if self._is_left_behind(path):
                    claimed = path.with_name(f"{os.getpid()}.{path.name.partition('.')[2]}")
                    path.rename(claimed)  # whoever renames first has it
                    self._append(Export(None, 0, claimed), claimed.stat().st_size)

    def put(self, data: bytes, spans: int) -> bool:
        """Queue one export; False where there is no room left."""
        if self.bytes + len(data) > self._bytes_max:
            return False
        export = Export(data, spans)
        if self._in_memory + len(data) > MEMORY_BYTES_MAX and not self._write(export):
            return False
        self._append(export, len(data))
        return True

    def first(self, timeout_s: float) -> Export | None:
        """The oldest export, which stays queued until `done`; waits for one."""
        with self._changed:
            if not self._exports:
                self._changed.wait(timeout_s)
            return self._exports[0] if self._exports else None

    def done(self, export: Export) -> None:
        """`export`, the oldest, was acknowledged (or is beyond help)."""
        size = len(export.data) if export.data is not None else 0
        if export.path is not None:
            with contextlib.suppress(OSError):
                size = size or export.path.stat().st_size
                export.path.unlink()
        with self._changed:
            self._exports.popleft()
            self.bytes -= size
            if export.data is not None:
                self._in_memory -= size
            self._changed.notify_all()

    def wait_empty(self, timeout_s: float) -> bool:
        """Whether everything was acknowledged within `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._exports, timeout_s)

    def leave(self) -> int:
        """Write what is still queued to disk, for a later process; returns how many accesses could not be kept."""
        lost = 0
        for export in self._exports:
            if export.path is None and not self._write(export):
                lost += export.spans
        return lost

    def _append(self, export: Export, size: int) -> None:
        with self._changed:
            self._exports.append(export)
            self.bytes += size
            if export.data is not None:
                self._in_memory += size
            self._changed.notify_all()

    def _write(self, export: Export) -> bool:
        if self._folder is None or export.data is None:
            return False
        path = self._folder / f"{os.getpid()}.{self._process}.{next(self._numbers):09d}{SUFFIX}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = path.with_suffix(".part")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(export.data)
            beside.rename(path)
        except OSError:
            return False
        export.path, export.data = path, None
        return True

    def _is_left_behind(self, path: Path) -> bool:
        owner = path.name.partition(".")[0]
        if not owner.isdigit() or int(owner) == os.getpid():
            return False
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False
