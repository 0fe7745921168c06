"""What the receiver counts: a declared table, and one object that every part of it adds to.

`/metrics` shows them; the names there are these with `noclobber_receiver_` before and `_total` after.
"""

import threading
from collections.abc import Mapping
from typing import Final

__all__ = ["COUNTS", "GAUGES", "Counts"]

COUNTS: Final[Mapping[str, str]] = {
    "spans": "Spans acknowledged",
    "requests": "Requests acknowledged",
    "malformed": "Requests that were no OTLP",
    "rejected_spans": "Spans without ids, taken out of requests that were acknowledged",
    "refused": "Requests refused for want of room; clients come again",
    "failed": "Requests refused because the receiver itself failed; clients come again",
    "unauthorized": "Requests without the right token",
    "logs_dropped": "Log requests accepted and dropped",
    "metrics_dropped": "Metric requests accepted and dropped",
    "slow_closed": "Connections and requests ended because the rest of a header or body did not come in time",
    "evicted": "Waiting connections closed to make room for new ones",
    "connections_refused": "Connections refused because all others were busy",
    "forwarded_spans": "Spans that the other OTLP endpoint has acknowledged",
    "forward_retries": "Times the other OTLP endpoint was not reached or asked to come again",
    "forward_refused_spans": "Spans that the other OTLP endpoint will never take",
    "forward_dropped_spans": "Spans not passed on because more waited than may",
}
"""Every counter: what it counts."""
GAUGES: Final[Mapping[str, str]] = {
    "forward_bytes": "Bytes that wait to be passed on",
}
"""Values that go up and down; without `_total` in their names."""


class Counts:
    """The counters and gauges, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys([*COUNTS, *GAUGES], 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a counter that is declared.

        Raises:
            KeyError: it is not.
        """
        with self._lock:
            self._values[name] += amount

    def put(self, name: str, value: int) -> None:
        """Set a gauge that is declared."""
        if name not in GAUGES:
            raise KeyError(name)
        self._values[name] = value

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def all(self) -> dict[str, int]:
        """Every counter and gauge, at one moment."""
        with self._lock:
            return dict(self._values)
