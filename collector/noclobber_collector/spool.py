"""The spool: what was acknowledged lies here, until ClickHouse has it and was counted.

A segment is a file of OTLP requests, each with its length before it, so that the file as it stands is a stream that
ClickHouse reads (`FORMAT Protobuf`). To each request four fields of our own are appended: segment, number, collector, checksum.
Requests of all connections are written and synced together (group commit); only then are they acknowledged. A
segment closes after a short time or many spans, by a rename that tells how many spans it holds. A tail that was torn
by a crash is cut off at the last request whose checksum fits: it was never acknowledged.

The loader reads closed segments, and renames them once they are loaded and counted (`noclobber_collector.loader`).
"""

import errno
import os
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber_collector.errors import SpoolFullError

__all__ = ["Segment", "Spool", "closed_segments", "repair", "segment_number"]

CLOSE_AFTER_S: Final = 0.25
CLOSE_SPANS: Final = 25_000
BYTES_MAX: Final = 1 << 30
OPEN: Final = ".open"
CLOSED: Final = ".seg"
LOADED: Final = ".done"
_SEGMENT_KEY: Final = b"\xc0\x3e"  # field 1000, varint
_NUMBER_KEY: Final = b"\xc8\x3e"  # field 1001, varint
_CHECK_KEY: Final = b"\xd5\x3e"  # field 1002, fixed32
_COLLECTOR_KEY: Final = b"\xda\x3e"  # field 1003, text


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment.

    Attributes:
        number: unix milliseconds << 16 | counter; orders segments, and its day is the partition.
        spans: how many it holds. loaded: whether the loader is done with it.
    """

    path: Path
    number: int
    spans: int
    loaded: bool

    @property
    def day(self) -> int:
        """Days since 1970 of its arrival."""
        return (self.number >> 16) // 86_400_000


@dataclass(slots=True)
class _Waiting:
    data: bytes
    spans: int
    done: "Future[None]"


class Spool:
    """Makes requests durable, one group at a time, on a thread of its own.

    Args:
        folder: where segments lie; made if need be.
        collector: name of this spool in the store.
        bytes_max: limit of all that is not loaded yet.
        clock: unix time in seconds.

    Attributes:
        bytes, spans, commits: counted since the start. fsync_s: seconds spent in the disk's sync.
    """

    def __init__(
        self,
        folder: Path,
        collector: str = "local",
        bytes_max: int = BYTES_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._collector = collector.encode()
        repair(folder)
        self.folder = folder
        self._bytes_max, self._clock = bytes_max, clock
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._open: _OpenSegment | None = None
        self._last_number = max((each.number for each in closed_segments(folder, loaded=True)), default=0)
        self._held = sum(each.path.stat().st_size for each in closed_segments(folder))
        self._held_at = 0.0
        self.bytes = self.spans = self.commits = 0
        self.fsync_s = 0.0
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def held_bytes(self) -> int:
        """Bytes that are not loaded yet, as of half a second ago at most."""
        if time.monotonic() - self._held_at > 0.5:
            self._held = sum(_size(each.path) for each in closed_segments(self.folder))
            self._held_at = time.monotonic()
        return self._held

    def put(self, request: bytes, spans: int) -> "Future[None]":
        """Make `request` durable; the future is done once it is.

        The future fails with SpoolFullError where there is no room.
        """
        waiting = _Waiting(request, spans, Future())
        if self.held_bytes + len(request) > self._bytes_max:
            waiting.done.set_exception(SpoolFullError(f"the spool holds its limit of {self._bytes_max} bytes"))
            return waiting.done
        with self._changed:
            if self._stopping:
                waiting.done.set_exception(SpoolFullError("the collector is ending"))
                return waiting.done
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.done

    def close(self) -> None:
        """Commit what waits and close the open segment."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(0.05 if self._open else None)
                group, self._waiting = self._waiting, []
                stopping = self._stopping
            if group:
                self._commit(group)
            if self._open is not None and (stopping or self._is_due(self._open)):
                self._close_segment()
            if stopping and not self._waiting:
                return

    def _is_due(self, segment: "_OpenSegment") -> bool:
        return segment.spans >= CLOSE_SPANS or time.monotonic() - segment.opened_at >= CLOSE_AFTER_S

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            if self._open is not None and self._is_due(self._open):
                self._close_segment()
            if self._open is None:
                self._open = _OpenSegment(self.folder, self._next_number(), self._collector)
            self.fsync_s += self._open.append(group)
        except OSError as error:
            self._give_up(group, error)
            return
        self.commits += 1
        for waiting in group:
            self.bytes += len(waiting.data)
            self.spans += waiting.spans
            waiting.done.set_result(None)

    def _give_up(self, group: list[_Waiting], error: OSError) -> None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "the disk is full" if full else f"the disk refuses: {error.strerror or error}"
        for waiting in group:
            waiting.done.set_exception(SpoolFullError(reason))

    def _close_segment(self) -> None:
        segment, self._open = self._open, None
        if segment is not None:
            segment.close()

    def _next_number(self) -> int:
        now = int(self._clock() * 1000) << 16
        self._last_number = max(now, self._last_number + 1)
        return self._last_number


class _OpenSegment:
    def __init__(self, folder: Path, number: int, collector: bytes) -> None:
        self.number, self.spans, self.opened_at = number, 0, time.monotonic()
        self._collector = collector
        self._requests = self._size = 0
        self._folder = folder
        self._path = folder / f"{number:020d}{OPEN}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        _sync_folder(folder)

    def append(self, group: list[_Waiting]) -> float:
        """Write and sync a group; returns the seconds of the sync. What fails leaves the file as it was."""
        framed = []
        for waiting in group:
            self._requests += 1
            framed.append(frame(waiting.data, self.number, self._requests, self._collector))
        data = b"".join(framed)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, memoryview(data)[written:])
            begun = time.perf_counter()
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
        self.spans += sum(waiting.spans for waiting in group)
        return time.perf_counter() - begun

    def close(self) -> None:
        os.close(self._file)
        if not self._size:
            self._path.unlink()
            return
        self._path.rename(self._folder / f"{self.number:020d}.{self.spans}{CLOSED}")
        _sync_folder(self._folder)


def frame(request: bytes, segment: int, number: int, collector: bytes) -> bytes:
    """`request` as it stands in a segment: its length, itself, and our four fields."""
    body = request + _SEGMENT_KEY + _varint(segment) + _NUMBER_KEY + _varint(number)
    body += _COLLECTOR_KEY + _varint(len(collector)) + collector
    body += _CHECK_KEY + zlib.crc32(body).to_bytes(4, "little")
    return _varint(len(body)) + body


def closed_segments(folder: Path, *, loaded: bool = False) -> list[Segment]:
    """Closed segments in order; those that were loaded already too, if `loaded`."""
    found = []
    for path in folder.iterdir():
        if path.suffix == CLOSED or (loaded and path.suffix == LOADED):
            number, _, spans = path.stem.partition(".")
            if number.isdigit() and spans.isdigit():
                found.append(Segment(path, int(number), int(spans), path.suffix == LOADED))
    return sorted(found, key=lambda segment: segment.number)


def segment_number(path: Path) -> int:
    """The number in a segment's name."""
    return int(path.name.partition(".")[0])


def repair(folder: Path) -> int:
    """Close segments that a crash left open, their torn tails cut off; returns how many bytes were cut."""
    cut = 0
    for path in sorted(folder.glob(f"*{OPEN}")):
        data = path.read_bytes()
        good, spans = _sound_part(data)
        cut += len(data) - good
        if not good:
            path.unlink()
            continue
        with path.open("r+b") as file:
            file.truncate(good)
            file.flush()
            os.fsync(file.fileno())
        path.rename(folder / f"{segment_number(path):020d}.{spans}{CLOSED}")
    _sync_folder(folder)
    return cut


def _sound_part(data: bytes) -> tuple[int, int]:
    """How many bytes of `data` are whole requests whose checksums fit, and how many spans these hold."""
    from noclobber_collector.requests import count_spans

    at = spans = 0
    while True:
        length, begin = _read_varint(data, at)
        end = begin + length
        body = data[begin:end]
        if length < 6 or end > len(data) or body[-6:-4] != _CHECK_KEY:
            return at, spans
        if zlib.crc32(body[:-6]) != int.from_bytes(body[-4:], "little"):
            return at, spans
        spans += count_spans(body)
        at = end


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; (0, at) where there is none."""
    number = shift = 0
    begin = at
    while at < len(data) and shift < 64:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    return 0, begin


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
