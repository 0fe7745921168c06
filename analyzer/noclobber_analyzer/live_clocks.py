"""How far clocks are apart, live: measured over the kept history, and again when it has grown.

A judgement sees a part of the kept history only; the bounds are of all of it, so that they are what a file of the same
accesses would give. They are worked out when a verdict asks for them. While little is kept that is as often as
something arrives; else once a minute, since it takes a look at every kept access. Resources whose verdicts asked are
named, so that they are judged anew once the bounds are others.

Source: analysis.md 4 and 9. What the bounds mean is decided in `clock_bounds`.
"""

from typing import Final

from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.clock_bounds import ClockBounds, measure_clocks
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.coverage import Coverage
from noclobber_analyzer.window import Window

__all__ = ["LiveClocks"]

AT_ONCE_MAX: Final = 20_000
"""Kept accesses up to which the bounds are measured whenever something has arrived."""
EVERY_NS: Final = 60 * SECOND_NS


class LiveClocks:
    """The bounds of the clocks of a window.

    Attributes:
        asked: resources whose verdicts asked for them.
    """

    def __init__(self, window: Window) -> None:
        self.asked: set[str] = set()
        self._window = window
        self._bounds = self._told = ClockBounds((), ())
        self._measured_at: tuple[int, int] | None = None

    def bounds(self, now_ns: int, coverage: Coverage) -> ClockBounds:
        """What is known now, or was a minute ago where much is kept; `coverage` says whether accesses are missing."""
        if self._is_due(now_ns):
            processes = [line.process for line in self._window.processes.values()]
            wrong, accesses = self._window.set_clocks, self._window.accesses()
            accesses = [each for each in accesses if clock_of(each.process) not in wrong] if wrong else accesses
            self._bounds = measure_clocks(accesses, processes, whole=coverage.is_whole)
            self._measured_at = self._window.changes, now_ns
        return self._bounds

    def _is_due(self, now_ns: int) -> bool:
        changes, at_ns = self._measured_at or (None, 0)
        small = len(self._window) <= AT_ONCE_MAX
        return changes != self._window.changes and (small or now_ns - at_ns >= EVERY_NS)

    def outdated(self, now_ns: int, coverage: Coverage) -> set[str]:
        """Resources to be judged anew, because the bounds that their verdicts asked for are others by now."""
        if not self.asked or self.bounds(now_ns, coverage) == self._told:
            return set()
        self._told = self._bounds
        outdated, self.asked = self.asked, set()
        return outdated
