"""What both protocols do with a request: check, make durable, count."""

import threading
from collections import Counter
from concurrent.futures import Future
from typing import Final

from noclobber_collector.requests import check
from noclobber_collector.spool import Spool

__all__ = ["METRICS", "Intake"]

METRICS: Final = {
    "noclobber_receiver_spans_total": ("counter", "Spans acknowledged"),
    "noclobber_receiver_requests_total": ("counter", "Requests acknowledged"),
    "noclobber_receiver_malformed_total": ("counter", "Requests that were no OTLP"),
    "noclobber_receiver_refused_total": ("counter", "Requests refused for want of room; clients come again"),
    "noclobber_receiver_unauthorized_total": ("counter", "Requests without the right token"),
    "noclobber_receiver_logs_dropped_total": ("counter", "Log requests accepted and dropped"),
    "noclobber_receiver_metrics_dropped_total": ("counter", "Metric requests accepted and dropped"),
    "noclobber_spool_bytes": ("gauge", "Bytes that wait to be loaded"),
    "noclobber_spool_fsync_seconds_total": ("counter", "Seconds spent in the disk's sync"),
    "noclobber_spool_commits_total": ("counter", "Groups of requests made durable"),
}
"""Every metric of the receiver: type and help text."""


class Intake:
    """Takes requests from both protocols.

    Attributes:
        counts: by metric, without the prefix `noclobber_receiver_` and the suffix `_total`.
        spool: where accepted requests go.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.counts: Counter[str] = Counter()
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
        done.add_done_callback(lambda each: self.count("refused") if each.exception() else self._accepted(spans))
        return done

    def count(self, what: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self.counts[what] += amount

    def _accepted(self, spans: int) -> None:
        with self._lock:
            self.counts["spans"] += spans
            self.counts["requests"] += 1

    def exposition(self) -> str:
        """All metrics in Prometheus's text format."""
        values: dict[str, float] = {
            "noclobber_spool_bytes": self.spool.held_bytes,
            "noclobber_spool_fsync_seconds_total": self.spool.fsync_s,
            "noclobber_spool_commits_total": self.spool.commits,
        }
        lines = []
        for name, (kind, text) in METRICS.items():
            short = name.removeprefix("noclobber_receiver_").removesuffix("_total")
            lines += [
                f"# HELP {name} {text}",
                f"# TYPE {name} {kind}",
                f"{name} {values.get(name, self.counts[short])}",
            ]
        return "\n".join(lines) + "\n"
