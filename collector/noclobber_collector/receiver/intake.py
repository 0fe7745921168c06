"""What both protocols do with a request: unpack, check, make durable, count.

Large bodies are read on a thread, so that others are answered meanwhile, and one after the other, because that takes
several times their bytes.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, NamedTuple

from noclobber_collector import told
from noclobber_collector.metrics import COLLECTOR, exposition
from noclobber_collector.receiver.answers import JSON, Because, Refusal
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.room import SMALL, Held, Room
from noclobber_collector.requests import from_json, sift, unpack
from noclobber_collector.segments import begun_s
from noclobber_collector.spool import WAITING_MAX, Spool

__all__ = ["Intake", "Taken"]

log = logging.getLogger("noclobber.receiver")
AT_ONCE: Final = 512 << 10
"""Bytes of protobuf that are read in a millisecond or so; of JSON, SMALL. To hand less to a thread takes longer."""
THREADS_MAX: Final = 2
"""Threads that read larger bodies, or packed ones; one reads while the other comes or goes."""
DURABLE_TIMEOUT_S: Final = 8.0
"""Exporters give up after 10 s."""
TOO_SLOW: Final = "the disk is too slow for what arrives"
SIGNALS: Final = {"logs": "logs_dropped", "metrics": "metrics_dropped"}
REFUSED_S: Final = 5.0
"""So long after a refusal the receiver is not ready, unless it has taken something since."""


class Taken(NamedTuple):
    """A request under way to the disk: done once it is there, and how many of its spans were rejected."""

    done: "Future[None]"
    rejected: int


class Intake:
    """Takes requests from both protocols.

    Args:
        spool: where accepted requests go.
        counts: what is counted.

    Attributes:
        room: what the bytes of all requests need.
    """

    def __init__(self, spool: Spool, counts: Counts | None = None) -> None:
        self.spool = spool
        self.counts = counts or Counts()
        self.room = Room()
        self._threads = asyncio.Semaphore(THREADS_MAX)
        self._reading = threading.Lock()  # also where a client is gone, and its thread is not
        self._refusal, self._refused_at = "", 0.0

    async def accept(self, body: bytes, held: Held, signal: str = "traces", kind: str = "", encoding: str = "") -> int:
        """Take a request and wait until it is on disk; returns how many of its spans were rejected.

        Args:
            body: as it came.
            held: what it holds of the room: itself; what comes out of it is added.
            signal: of OTLP's.
            kind: its content type.
            encoding: its Content-Encoding.

        Raises:
            MalformedError: it is no OTLP.
            SpoolFullError: there is no room on disk.
            Refusal: the disk is too slow, or there is no room for what is packed in it.
        """
        if signal != "traces":
            self.counts.add(SIGNALS[signal])
            return 0
        if not encoding and len(body) <= (SMALL if kind == JSON else AT_ONCE):
            taken = self._read(body, kind, encoding, held.grow)
        else:
            async with self._threads:
                taken = await asyncio.to_thread(self._read_alone, body, kind, encoding, held.grow)
        try:
            async with asyncio.timeout(DURABLE_TIMEOUT_S):
                await asyncio.wrap_future(taken.done)
        except TimeoutError as error:
            if taken.done.cancel():
                self._refused_for(TOO_SLOW)
                raise Refusal(Because.NO_ROOM, f"{TOO_SLOW}; come again") from error
            taken.done.result()  # it was settled at the last moment
        return taken.rejected

    def _read(self, body: bytes, kind: str, encoding: str, hold: Callable[[int], None]) -> Taken:
        data = unpack(body, encoding, hold)
        return self.take(from_json(data) if kind == JSON else data)

    def _read_alone(self, body: bytes, kind: str, encoding: str, hold: Callable[[int], None]) -> Taken:
        with self._reading:
            return self._read(body, kind, encoding, hold)

    def take(self, request: bytes) -> Taken:
        """Check `request` and begin to make it durable.

        Raises:
            MalformedError: it is no OTLP trace request.
        """
        sifted = sift(request)
        if sifted.rejected:
            self.counts.add("rejected_spans", sifted.rejected)
        done: Future[None] = Future()
        if not sifted.spans:
            done.set_result(None)
            return Taken(done, sifted.rejected)
        self.counts.add("received_spans", sifted.spans)
        done = self.spool.put(sifted.data, sifted.spans)
        done.add_done_callback(lambda each: self._settled(each, sifted.spans))
        return Taken(done, sifted.rejected)

    def _settled(self, done: "Future[None]", spans: int) -> None:
        if done.cancelled():  # nobody waits any more: it was not acknowledged, though it may reach the disk
            self.counts.add("refused_spans", spans)
            return
        error = done.exception()
        if error is not None:
            self.counts.add("refused")
            self.counts.add("refused_spans", spans)
            self._refused_for(str(error))
        else:
            self.counts.add("spans", spans)
            self.counts.add("requests")
            self._refusal = ""

    def _refused_for(self, reason: str) -> None:
        self._refusal, self._refused_at = reason, time.monotonic()

    def refused(self, refusal: Refusal, error: Exception) -> None:
        """Count a refusal; write down what nobody expected; let go of the request, which the error's frames hold."""
        match refusal.because:
            case Because.UNKNOWN_CLIENT:
                self.counts.add("unauthorized")
            case Because.TOO_SLOW:
                self.counts.add("slow_closed")
            case Because.BUSY if error is not refusal:
                self.counts.add("failed")
                log.error("a request could not be taken", exc_info=error)
            case Because.BUSY | Because.NO_ROOM if error is refusal:  # the spool's own refusals are counted by it
                self.counts.add("refused")
            case other if not other.again:
                self.counts.add("malformed")
        inner: BaseException | None = error
        while inner is not None:
            inner.__traceback__, inner = None, inner.__context__

    def unready(self) -> str:
        """Why no spans are taken now; "" where they are, or where nobody has tried lately."""
        if self.spool.stalled_s > DURABLE_TIMEOUT_S:
            return TOO_SLOW
        return self._refusal if time.monotonic() - self._refused_at < REFUSED_S else ""

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        spool, stock = self.spool, self.spool.stock
        oldest = stock.oldest
        values: dict[str, float] = {
            **self.counts.metrics(),
            "noclobber_queue_bytes": spool.waiting_bytes,
            "noclobber_queue_bytes_max": WAITING_MAX,
            "noclobber_spool_bytes": spool.held_bytes,
            "noclobber_spool_bytes_max": spool.bytes_max,
            "noclobber_spool_kept_bytes": stock.kept_bytes,
            "noclobber_spool_segments": stock.waiting,
            "noclobber_spool_oldest_seconds": max(0.0, time.time() - begun_s(oldest)) if oldest else 0.0,
            "noclobber_spool_free_bytes": _free_bytes(spool.folder),
            "noclobber_spool_fsync_seconds_total": spool.fsync_s,
            "noclobber_spool_commits_total": spool.commits,
            "noclobber_spool_repaired_bytes_total": spool.repaired_bytes,
            "noclobber_spool_damaged_spans_total": spool.damaged_spans,
        }
        seen_s = told.age_s(spool.folder)
        if seen_s is not None:
            values["noclobber_loader_seen_seconds"] = seen_s
        known = {row.name for row in COLLECTOR}
        values |= {name: value for name, value in told.read(spool.folder).items() if name in known}
        return exposition(COLLECTOR, values)


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
