"""The writes of one resource by time, so that a search looks only where a foreign write can lie.

Writes are kept by clock, each clock's by their call, and where there are many clocks all of them by recorded time.
What was there for all before a base was got, and what was called after a write had returned, cannot lie between the
two; a running maximum of ends finds the border by bisection, so a resource that was touched a million times costs no
comparison of all pairs. Clocks that do not compare tell nothing: of theirs all are given, up to a limit, those nearest
by what was recorded. Where a search leaves writes out, `cut` says so, and the evaluation tells it.

Source: analysis.md 6 (kind functions are linear in a history).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from noclobber.contract import Outcome
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.clocks import HOST_BOUND_NS, local_ns
from noclobber_analyzer.fate import Fates

__all__ = ["ELSEWHERE_MAX", "Timeline"]

ELSEWHERE_MAX: Final = 128
"""Writes of clocks that do not compare which one search looks at, shared among them."""
CLOCKS_MAX: Final = 32
"""Clocks of which each has its share; beyond, those writes of them all are taken whose recorded times are nearest."""
NEAR_MAX: Final = 64
"""Writes of the same clock that one search looks at, the latest: the last one replaced is among them, and a base that
thousands of writes are old costs no comparison of all pairs."""
LAST_MAX: Final = 32
"""Writes of each clock among which the last one before a write is looked for, and of the nearest of many clocks."""


class Timeline:
    """The writes of one resource, by clock and call.

    Attributes:
        cut: whether a search left writes out at its limit.
    """

    def __init__(self, writes: Iterable[Access], fates: Fates) -> None:
        self._writes: dict[str, list[Access]] = defaultdict(list)
        self._endless: list[Access] = []
        self.cut = False
        for write in writes:
            endless = write.outcome is Outcome.UNKNOWN or write.open
            (self._endless if endless else self._writes[_clock_of(write.process)]).append(write)
        self._starts: dict[str, list[int]] = {}
        self._ends: dict[str, list[int]] = {}
        for clock, own in self._writes.items():
            own.sort(key=lambda a: (local_ns(a.process, a.start_ns), a.span_id))
            self._starts[clock] = [local_ns(a.process, a.start_ns) for a in own]
            self._ends[clock] = _running_maximum(_last_seen(a, fates) for a in own)
        self._all: list[Access] = []
        if len(self._writes) > CLOCKS_MAX:
            self._all = sorted((a for own in self._writes.values() for a in own), key=_call)

    def around(self, base: Access | None, write: Access) -> Iterator[Access]:
        """Writes that may lie between the return of a base and the return of a write, by call within each clock."""
        yield from self._here(base, write)
        yield from self._far(write) if self._all else self._elsewhere(write)
        self.cut = self.cut or len(self._endless) > ELSEWHERE_MAX
        yield from self._endless[:ELSEWHERE_MAX]

    def nearest(self, base: Access, write: Access) -> tuple[list[Access], bool]:
        """The same as a list, and whether it is not all of them."""
        before, self.cut = self.cut, False
        found = list(self.around(base, write))
        cut, self.cut = self.cut, self.cut or before
        return found, cut

    def _here(self, base: Access | None, write: Access) -> Iterator[Access]:
        """Writes of the write's own clock that lie there."""
        clock = _clock_of(write.process)
        own = self._writes.get(clock)
        if own is None:
            return
        slack = 0 if write.process.clock is not None else HOST_BOUND_NS
        upto = bisect_right(self._starts[clock], local_ns(write.process, write.end_ns) + slack)
        low = 0
        if base is not None and _clock_of(base.process) == clock:
            low = bisect_left(self._ends[clock], local_ns(base.process, base.start_ns) - slack)
        self.cut = self.cut or upto - low > NEAR_MAX
        yield from own[max(low, upto - NEAR_MAX) : upto]

    def _elsewhere(self, write: Access) -> Iterator[Access]:
        """Of each of the few other clocks the writes that were recorded nearest."""
        each = ELSEWHERE_MAX // len(self._writes) if self._writes else 0
        here = _clock_of(write.process)
        for clock, own in self._writes.items():
            if clock == here:
                continue
            low = 0
            if len(own) > each:
                self.cut = True
                middle = bisect_left(self._starts[clock], write.start_ns - own[0].process.clock_offset_ns)
                low = max(0, min(middle - each // 2, len(own) - each))
            yield from own[low : low + each]

    def _far(self, write: Access) -> Iterator[Access]:
        """Of many other clocks the writes that were recorded nearest."""
        self.cut = True
        here = _clock_of(write.process)
        yield from (other for other in self._nearest(write, ELSEWHERE_MAX) if _clock_of(other.process) != here)

    def _nearest(self, write: Access, count: int) -> list[Access]:
        middle = bisect_left(self._all, _call(write), key=_call)
        low = max(0, min(middle - count // 2, len(self._all) - count))
        return self._all[low : low + count]

    def before(self, write: Access) -> Iterator[Access]:
        """The few writes of each clock that were called last before a write returned: the last one is among them."""
        here = _clock_of(write.process)
        for clock, own in self._writes.items() if not self._all else [(here, self._writes.get(here, []))]:
            upto = bisect_left(self._starts.get(clock, []), local_ns(write.process, write.end_ns))
            yield from own[max(0, upto - LAST_MAX) : upto]
        if self._all:
            yield from (other for other in self._nearest(write, LAST_MAX) if _clock_of(other.process) != here)


def _call(write: Access) -> tuple[int, str]:
    return write.start_ns, write.span_id


def _clock_of(process: Process) -> str:
    return process.clock or (f"host {process.host}" if process.host else f"process {process.id}")


def _last_seen(write: Access, fates: Fates) -> int:
    """When a write was there for all at the latest, on its process's clock."""
    return local_ns(write.process, max(write.end_ns, fates.seen_from(write).end_ns))


def _running_maximum(numbers: Iterable[int]) -> list[int]:
    highest: list[int] = []
    for number in numbers:
        highest.append(max(number, highest[-1]) if highest else number)
    return highest
