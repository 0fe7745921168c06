"""What both protocols do with a request: check, make durable, count."""

import os
import threading
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from noclobber_collector import told
from noclobber_collector.metrics import COLLECTOR, exposition
from noclobber_collector.requests import check
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import WAITING_MAX, Spool

__all__ = ["Intake"]

OWN: Final = "noclobber_receiver_"
"""Metrics of this name are counted here, by the rest of it; each stands in the table of `metrics`."""

REFUSED_S: Final = 5.0
"""So long after a refusal the receiver is not ready, unless it has taken something since."""


class Intake:
    """Takes requests from both protocols.

    Attributes:
        counts: by metric, without the prefix `noclobber_receiver_` and the suffix `_total`.
        spool: where accepted requests go.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.counts: Counter[str] = Counter()
        self._refusal, self._refused_at = "", 0.0
        self._lock = threading.Lock()

    def take(self, request: bytes) -> "Future[None]":
        """Check `request` and make it durable; the future is done once it is.

        Raises:
            MalformedError: it is no OTLP trace request.
        """
        spans = check(request)
        done: Future[None] = Future()
        if not spans:
            done.set_result(None)
            return done
        done = self.spool.put(request, spans)
        self.count("received_spans", spans)
        done.add_done_callback(lambda each: self._settled(spans, each.exception()))
        return done

    def count(self, what: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counts[what] += amount

    def _settled(self, spans: int, error: BaseException | None) -> None:
        with self._lock:
            if error is None:
                self.counts["spans"] += spans
                self.counts["requests"] += 1
                self._refusal = ""
            else:
                self.counts["refused_spans"] += spans
                self.counts["refused"] += 1
                self._refusal, self._refused_at = str(error), time.monotonic()

    def unready(self) -> str:
        """Why no spans are taken now; "" where they are, or where nobody has tried lately."""
        return self._refusal if time.monotonic() - self._refused_at < REFUSED_S else ""

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format."""
        spool, waiting = self.spool, closed_segments(self.spool.folder)
        with self._lock:
            counts = dict(self.counts)
        named = (row.name for row in COLLECTOR if row.name.startswith(OWN))
        values: dict[str, float] = {
            **{name: counts.get(name.removeprefix(OWN).removesuffix("_total"), 0) for name in named},
            "noclobber_queue_bytes": spool.waiting_bytes,
            "noclobber_queue_bytes_max": WAITING_MAX,
            "noclobber_spool_bytes": spool.held_bytes,
            "noclobber_spool_bytes_max": spool.bytes_max,
            "noclobber_spool_segments": len(waiting),
            "noclobber_spool_oldest_seconds": max(0.0, time.time() - waiting[0].begun_s) if waiting else 0.0,
            "noclobber_spool_free_bytes": _free_bytes(spool.folder),
            "noclobber_spool_fsync_seconds_total": spool.fsync_s,
            "noclobber_spool_commits_total": spool.commits,
            "noclobber_spool_repaired_bytes_total": spool.repaired_bytes,
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
