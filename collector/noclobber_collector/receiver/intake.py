"""What both protocols do with a request: unpack, check, make durable, count.

Large bodies are read on a thread, two at a time, so that others are answered meanwhile and memory stays bounded.
"""

import asyncio
import logging
from concurrent.futures import Future
from typing import Final, NamedTuple

from noclobber_collector.receiver.answers import JSON, Because, Refusal
from noclobber_collector.receiver.counts import COUNTS, GAUGES, Counts
from noclobber_collector.requests import from_json, sift, unpack
from noclobber_collector.spool import Spool

__all__ = ["METRICS", "Intake", "Taken"]

log = logging.getLogger("noclobber.receiver")
SMALL: Final = 64 << 10
"""Bodies up to this are read on the event loop."""
LARGE_AT_ONCE: Final = 2
DURABLE_TIMEOUT_S: Final = 8.0
"""Exporters give up after 10 s."""
SIGNALS: Final = {"logs": "logs_dropped", "metrics": "metrics_dropped"}
METRICS: Final = {
    **{f"noclobber_receiver_{name}_total": ("counter", text) for name, text in COUNTS.items()},
    **{f"noclobber_receiver_{name}": ("gauge", text) for name, text in GAUGES.items()},
    "noclobber_spool_bytes": ("gauge", "Bytes that wait to be loaded"),
    "noclobber_spool_fsync_seconds_total": ("counter", "Seconds spent in the disk's sync"),
    "noclobber_spool_commits_total": ("counter", "Groups of requests made durable"),
}
"""Every metric of the receiver: type and help text."""


class Taken(NamedTuple):
    """A request under way to the disk: done once it is there, and how many of its spans were rejected."""

    done: "Future[None]"
    rejected: int


class Intake:
    """Takes requests from both protocols.

    Args:
        spool: where accepted requests go.
        counts: what is counted.
    """

    def __init__(self, spool: Spool, counts: Counts | None = None) -> None:
        self.spool = spool
        self.counts = counts or Counts()
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def accept(self, body: bytes, signal: str = "traces", kind: str = "", encoding: str = "") -> int:
        """Take a request and wait until it is on disk; returns how many of its spans were rejected.

        Raises:
            MalformedError: it is no OTLP.
            SpoolFullError: there is no room.
            Refusal: the disk is too slow.
        """
        if signal != "traces":
            self.counts.add(SIGNALS[signal])
            return 0
        if len(body) <= SMALL and not encoding:
            taken = self._read(body, kind, encoding)
        else:
            async with self._large:
                taken = await asyncio.to_thread(self._read, body, kind, encoding)
        try:
            async with asyncio.timeout(DURABLE_TIMEOUT_S):
                await asyncio.wrap_future(taken.done)
        except TimeoutError as error:
            raise Refusal(Because.NO_ROOM, "the disk is too slow for what arrives; come again") from error
        return taken.rejected

    def _read(self, body: bytes, kind: str, encoding: str) -> Taken:
        data = unpack(body, encoding)
        return self.take(from_json(data) if kind == JSON else data)

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
        done = self.spool.put(sifted.data, sifted.spans)
        done.add_done_callback(lambda each: self._settled(each, sifted.spans))
        return Taken(done, sifted.rejected)

    def _settled(self, done: "Future[None]", spans: int) -> None:
        if done.cancelled():
            return
        if done.exception():
            self.counts.add("refused")
        else:
            self.counts.add("spans", spans)
            self.counts.add("requests")

    def refused(self, refusal: Refusal, error: Exception) -> None:
        """Count a refusal; write down what nobody expected."""
        match refusal.because:
            case Because.MALFORMED | Because.TOO_LARGE:
                self.counts.add("malformed")
            case Because.UNKNOWN_CLIENT:
                self.counts.add("unauthorized")
            case Because.TOO_SLOW:
                self.counts.add("slow_closed")
            case Because.BUSY if error is not refusal:
                self.counts.add("failed")
                log.error("a request could not be taken", exc_info=error)
            case Because.BUSY | Because.NO_ROOM if error is refusal:  # the spool's own refusals are counted by it
                self.counts.add("refused")

    def exposition(self) -> str:
        """All metrics in Prometheus's text format."""
        values: dict[str, float] = {
            **{
                f"noclobber_receiver_{name}{'_total' if name in COUNTS else ''}": value
                for name, value in self.counts.all().items()
            },
            "noclobber_spool_bytes": self.spool.held_bytes,
            "noclobber_spool_fsync_seconds_total": self.spool.fsync_s,
            "noclobber_spool_commits_total": self.spool.commits,
        }
        lines = []
        for name, (kind, text) in METRICS.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {values[name]}"]
        return "\n".join(lines) + "\n"
