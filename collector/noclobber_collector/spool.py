"""The spool: what was acknowledged lies here, until ClickHouse has it and was counted.

A segment is a file of OTLP requests, each with its length before it, so that the file as it stands is a stream that
ClickHouse reads (`FORMAT Protobuf`; `noclobber_collector.segments` knows its form). Requests of all connections are
written and synced together (group commit); only then are they acknowledged. A segment closes after a short time, many
spans or many bytes, by a rename that tells how many spans it holds. What a write left behind that failed or was torn by
a crash is cut off: it was never acknowledged. What had been written whole and is damaged is taken out, and counted.

The loader reads closed segments, and renames them once they are loaded and counted (`noclobber_collector.loader`).
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber_collector.errors import SpoolBusyError, SpoolFullError, StoreBusyError
from noclobber_collector.lock import SPOOL, FolderLock
from noclobber_collector.phases import Phase, Phases
from noclobber_collector.segments import (
    CLOSED,
    OPEN,
    BeforeClose,
    framed,
    newest_number,
    repair,
    sync_folder,
)
from noclobber_collector.stock import Stock

__all__ = ["BYTES_MAX", "Spool"]

log = logging.getLogger("noclobber.spool")
CLOSE_AFTER_S: Final = 0.25
CLOSE_SPANS: Final = 25_000
CLOSE_BYTES: Final = 16 << 20
"""A segment is larger only if a request by itself is: who loads it takes several times as much memory."""
WRITE_BYTES: Final = 256 << 10
"""What is written at once is put together up to this."""
BYTES_MAX: Final = 1 << 30
WAITING_MAX: Final = 28 << 20
"""Bytes that may wait in memory for the disk."""
TICK_S: Final = 0.05
LOCK_WAIT_S: Final = 10.0
"""How long a receiver waits for one before it that is ending."""
NAME_FILE: Final = "collector"


@dataclass(slots=True)
class _Waiting:
    data: bytes
    spans: int
    done: "Future[None]"

    def settle(self, error: Exception | None = None) -> None:
        """Tell whoever waits; one that has gone away meanwhile is told nothing."""
        with suppress(InvalidStateError):
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)


class Spool:
    """Makes requests durable, one group at a time, on a thread of its own.

    Args:
        folder: where segments lie; made if need be.
        collector: name of this spool in the store; it stays the folder's for ever.
        bytes_max: limit of what is not loaded yet and what is loaded and kept for a while, together.
        clock: unix time in seconds.
        close_after_s: age at which a segment is closed.
        before_close: is told of each segment before a loader can see it, and so remove it.

    Attributes:
        bytes, spans, commits: counted since the start. fsync_s: seconds spent in the disk's sync.
        repaired_bytes: torn tails that were cut off at the start. damaged_spans: in requests of segments that a crash
            left open whose bytes had changed on disk. bytes_max: as given.
        stock: what lies in closed segments.

    Raises:
        SpoolBusyError: another receiver writes there, or the folder belongs to a collector of another name.
    """

    def __init__(
        self,
        folder: Path,
        collector: str = "local",
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = time.time,
        close_after_s: float = CLOSE_AFTER_S,
        *,
        before_close: BeforeClose | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        _claim(folder, collector)
        self.folder = folder
        self._collector = collector.encode()
        self.repaired_bytes, self.damaged_spans = repair(folder, before_close)
        self.bytes_max, self._clock, self._close_after_s = bytes_max, clock, close_after_s
        self._before_close = before_close
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._phases = Phases("spool")
        self._stopping = False
        self._open: _OpenSegment | None = None
        self._last_number = newest_number(folder)
        self.stock = Stock(folder)
        self._commit_begun = 0.0
        self.bytes = self.spans = self.commits = 0
        self.fsync_s = 0.0
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def held_bytes(self) -> int:
        """Bytes that are not loaded yet; that some were loaded meanwhile is noticed about half a second later."""
        current = self._open
        return self.stock.waiting_bytes + self._waiting_bytes + (current.size if current else 0)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait in memory for the disk."""
        return self._waiting_bytes

    @property
    def stalled_s(self) -> float:
        """For how long the disk has been at the group that is under way; 0 where none is."""
        begun = self._commit_begun
        return time.monotonic() - begun if begun else 0.0

    def put(self, request: bytes, spans: int) -> "Future[None]":
        """Make `request` durable; the future is done once it is.

        The future fails with SpoolFullError where there is no room.
        """
        waiting = _Waiting(request, spans, Future())
        held = self.held_bytes + self.stock.kept_bytes
        with self._changed:
            if self._stopping:
                waiting.settle(SpoolFullError("the collector is ending"))
            elif held + len(request) > self.bytes_max:
                waiting.settle(SpoolFullError(f"the spool holds its limit of {self.bytes_max} bytes"))
            elif self._waiting_bytes + len(request) > WAITING_MAX:
                waiting.settle(SpoolFullError("the disk is too slow for what arrives"))
            else:
                self._waiting.append(waiting)
                self._waiting_bytes += len(request)
                self._changed.notify()
        return waiting.done

    def close(self) -> None:
        """Commit what waits and close the open segment."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self.stock.close()
        self._lock.release()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(self._until_due_s(self._open) if self._open else None)
                group, self._waiting = self._waiting, []
                stopping = self._stopping
            self._commit_in_portions(group)
            group = []  # its bytes are not needed while nothing comes
            if self._open is not None and (stopping or self._is_due(self._open)):
                self._close_in_time()
            if stopping and not self._waiting:
                return

    def _until_due_s(self, segment: "_OpenSegment") -> float:
        return max(0.0, segment.opened_at + self._close_after_s - time.monotonic())

    def _is_due(self, segment: "_OpenSegment") -> bool:
        full = segment.spans >= CLOSE_SPANS or segment.size >= CLOSE_BYTES
        return full or time.monotonic() - segment.opened_at >= self._close_after_s

    def _has_room(self, segment: "_OpenSegment", size: int) -> bool:
        return not segment.failed and not self._is_due(segment) and segment.size + size <= CLOSE_BYTES

    def _commit_in_portions(self, group: list[_Waiting]) -> None:
        for some in _portions(group):
            self._commit_begun = time.monotonic()
            self._commit(some)
            self._commit_begun = 0.0
            self._phases.enter(Phase.IDLE)

    def _commit(self, group: list[_Waiting]) -> None:
        size = sum(len(waiting.data) for waiting in group)
        error: Exception | None = None
        self._phases.enter(Phase.APPEND)
        try:
            if self._open is not None and not self._has_room(self._open, size):
                self._close_segment()
            if self._open is None:
                self._open = _OpenSegment(self.folder, self._next_number(), self._collector, self._phases)
            self.fsync_s += self._open.append(group)
        except OSError as problem:
            error = SpoolFullError(_reason(problem))
        else:
            self.commits += 1
            self.bytes += size
            self.spans += sum(waiting.spans for waiting in group)
        with self._changed:
            self._waiting_bytes -= size
        for waiting in group:
            waiting.settle(error)

    def _close_in_time(self) -> None:
        """Close the open segment; where the disk does not let us, the next turn tries again."""
        try:
            self._close_segment()
        except OSError as error:
            log.error("segment %s can't be closed yet: %s", self._last_number, error)  # noqa: TRY400  no trace needed
            if self._stopping:
                self._open = None  # the next start closes it
            else:
                time.sleep(TICK_S)

    def _close_segment(self) -> None:
        if self._open is not None:
            self._open.close(self._before_close)
            if self._open.size:
                self.stock.add(self._open.number, self._open.size)
            self._open = None

    def _next_number(self) -> int:
        """Greater than every number before, also where the clock was set back: numbers are the analyzer's cursor."""
        now = int(self._clock() * 1000) << 16
        self._last_number = max(now, self._last_number + 1)
        return self._last_number


class _OpenSegment:
    """The segment that is written to.

    Attributes:
        number, spans, opened_at, size: as they are now. failed: nothing more may be appended.
    """

    def __init__(self, folder: Path, number: int, collector: bytes, phases: Phases) -> None:
        self._phases = phases
        self.number, self.spans, self.size = number, 0, 0
        self.opened_at = time.monotonic()
        self.failed = False
        self._collector = collector
        self._requests = 0
        self._folder = folder
        self._path = folder / f"{number:020d}{OPEN}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        sync_folder(folder)

    def append(self, group: list[_Waiting]) -> float:
        """Write and sync a group; returns the seconds of the sync. What fails is cut off, and ends the segment."""
        size = 0
        try:
            for data in _together(self._framed(group)):
                written = 0
                while written < len(data):
                    written += os.write(self._file, memoryview(data)[written:])
                size += written
            self._phases.enter(Phase.FSYNC)
            begun = time.perf_counter()
            os.fdatasync(self._file)
        except OSError:
            self.failed = True
            raise
        self.size += size
        self.spans += sum(waiting.spans for waiting in group)
        return time.perf_counter() - begun

    def _framed(self, group: list[_Waiting]) -> Iterator[bytes]:
        spans = self.spans
        for waiting in group:
            self._requests += 1
            spans += waiting.spans
            yield from framed(waiting.data, self.number, self._requests, self._collector, spans)

    def close(self, before: BeforeClose | None) -> None:
        """Cut off what failed, and rename; may be called again after an OSError."""
        if self._file >= 0:
            if self.failed:
                os.ftruncate(self._file, self.size)
                os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        with suppress(FileNotFoundError):  # somebody removed it: then there is nothing left to close
            if self.size:
                if before is not None:
                    before(self._path, self.number, self.spans)
                self._path.rename(self._folder / f"{self.number:020d}.{self.spans}{CLOSED}")
            else:
                self._path.unlink()
        sync_folder(self._folder)


def _portions(group: list[_Waiting]) -> Iterator[list[_Waiting]]:
    """What fits into one segment by its bytes; a request that is larger goes alone."""
    some: list[_Waiting] = []
    size = 0
    for waiting in group:
        if some and size + len(waiting.data) > CLOSE_BYTES:
            yield some
            some, size = [], 0
        some.append(waiting)
        size += len(waiting.data)
    if some:
        yield some


def _together(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Small parts put together; a large one stays as it is, and is not copied."""
    some: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > WRITE_BYTES:
            yield b"".join(some)
            some, size = [], 0
        some.append(part)
        size += len(part)
    yield b"".join(some)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full"
    return f"the disk refuses: {error.strerror or error}"


def _lock(folder: Path) -> FolderLock:
    """One receiver writes to a spool: two would cut each other's segments."""
    try:
        return FolderLock(folder, SPOOL, "", LOCK_WAIT_S)
    except StoreBusyError as error:
        raise SpoolBusyError(f"another receiver writes there: {error}") from error


def _claim(folder: Path, collector: str) -> None:
    """A spool keeps its collector's name: the loader counts by it, and its segments carry it already."""
    path = folder / NAME_FILE
    with suppress(FileNotFoundError):
        known = path.read_text()
        if known and known != collector:
            raise SpoolBusyError(
                f"the spool {folder} belongs to the collector {known!r}, not {collector!r}: "
                "use that name, or another folder"
            )
        if known:
            return
    path.write_text(collector)
