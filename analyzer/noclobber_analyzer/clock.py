"""What time is it: the one clock that live analysis, issues and alerts read, handed in so that tests own it.

Wall time in nanoseconds since 1970, because that is what stands in the store; nothing here orders accesses (only
their own clocks may, contract 2.2).
"""

import time
from typing import Protocol

__all__ = ["SECOND_NS", "SYSTEM", "Clock", "SystemClock"]

SECOND_NS = 1_000_000_000


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return time.time_ns()


SYSTEM = SystemClock()
