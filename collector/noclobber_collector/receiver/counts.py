"""What the receiver counts: one object that every part of it adds to.

Each name stands, with its meaning, in the table of `noclobber_collector.metrics`; there it has `noclobber_receiver_`
before it, and `_total` after it if it only grows.
"""

import threading
from typing import Final

from noclobber_collector.metrics import COLLECTOR

__all__ = ["Counts"]

OWN: Final = "noclobber_receiver_"
_METRICS: Final = {
    row.name.removeprefix(OWN).removesuffix("_total"): row.name for row in COLLECTOR if row.name.startswith(OWN)
}


class Counts:
    """The receiver's counters and gauges, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys(_METRICS, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a counter.

        Raises:
            KeyError: the table does not declare it.
        """
        with self._lock:
            self._values[name] += amount

    def put(self, name: str, value: int) -> None:
        """Set a gauge.

        Raises:
            KeyError: the table does not declare it.
        """
        if name not in self._values:
            raise KeyError(name)
        with self._lock:
            self._values[name] = value

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def metrics(self) -> dict[str, float]:
        """All of them at one moment, by the name of their metric."""
        with self._lock:
            return {_METRICS[name]: value for name, value in self._values.items()}
