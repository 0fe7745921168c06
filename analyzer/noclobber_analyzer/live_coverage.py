"""How complete the record is *now*: coverage of a window that still grows.

As in files a lack weakens a verdict; what may still come makes it wait. A hole behind which its process's frontier
has not moved yet may fill, so it is waited for; once the frontier is past it, it is a loss. What a mark that counts
says of drops and of accesses sent is a fact: all that it speaks of has been read. A process that touched
the resource is waited for until its frontier is past the verdict's interval, or, where its clock does not compare
with the accesses judged, until three of its marks prove it (`frontiers`). A silent process is not waited for: what it
may have done is missing.

Source: analysis.md 4.
"""

from collections.abc import Mapping

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.clock_bounds import ClockBounds
from noclobber_analyzer.coverage import LACKS_MAX, UNRETURNED_NS, Absence, Coverage, Gap, Gaps, in_clock_of, who
from noclobber_analyzer.frontiers import Frontiers
from noclobber_analyzer.live_clocks import LiveClocks
from noclobber_analyzer.window import Window

__all__ = ["LiveCoverage"]


class LiveCoverage(Coverage):
    """Coverage of a window.

    Args:
        window: what is kept.
        frontiers: how far each process is complete.
        now_ns: wall time.
        clocks: how far clocks are apart.
    """

    def __init__(self, window: Window, frontiers: Frontiers, now_ns: int, clocks: LiveClocks | None = None) -> None:
        super().__init__()
        self._clocks, self._now_ns = clocks or LiveClocks(window), now_ns
        self.ended = False
        self.frontiers = frontiers.frontiers()
        self.silent = frontiers.silent(now_ns)
        self._window = window
        self._arrivals: Mapping[str, int] = frontiers.arrivals()
        self._losses: dict[str, Gaps] = {}
        self._touching: dict[str, list[str]] = {}
        self._changes = window.changes

    def absence(self, resource: str, start: Access, end: Access, *, unreturned: bool = False) -> Absence:
        """Whether everything that was done to a resource from the call of `start` to the return of `end` is known."""
        missing: list[str] = []
        waiting: list[str] = []
        for process_id in self._processes_of(resource):
            process = self._window.processes[process_id].process
            after, before = in_clock_of(process, start, start.start_ns), in_clock_of(process, end, end.end_ns)
            for gap in self._gaps(process_id).concerning(after, before):
                self._lack(process, gap, missing, waiting)
            if not self._is_complete(process_id, before, end, UNRETURNED_NS if unreturned else 0):
                self._rest(process, missing, waiting)
            if len(missing) >= LACKS_MAX:
                break
        return Absence(tuple(dict.fromkeys(missing))[:LACKS_MAX], tuple(dict.fromkeys(waiting)))

    def _processes_of(self, resource: str) -> list[str]:
        """Processes that touched a resource, in order; looked for once, since a queue has been touched often."""
        if self._changes != self._window.changes:
            self._touching.clear()
            self._changes = self._window.changes
        known = self._touching.get(resource)
        if known is None:
            known = self._touching[resource] = sorted(self._window.touching(resource))
        return known

    def clock_bounds(self) -> ClockBounds:
        """The bounds of clocks, of all that is kept."""
        return self._clocks.bounds(self._now_ns, self)

    @property
    def is_whole(self) -> bool:
        """Whether no access of any process is missing, as far as is known now."""
        return not any(self._gaps(process) for process in self._window.processes)

    def _gaps(self, process: str) -> Gaps:
        if process not in self._losses:
            self._losses[process] = Gaps(self._window.losses(process))
        return self._losses[process]

    def _lack(self, process: Process, gap: Gap, missing: list[str], waiting: list[str]) -> None:
        frontier = self.frontiers.get(process.id, 0)
        if gap.strand is None or process.id in self.silent or frontier == FRONTIER_END or frontier > gap.before_ns:
            missing.append(gap.text)
        else:
            waiting.append(process.id)

    def _is_complete(self, process: str, before_ns: int | None, end: Access, later_ns: int) -> bool:
        frontier = self.frontiers.get(process)
        if frontier is None:
            return False
        if frontier == FRONTIER_END:
            return True
        if before_ns is not None:
            return frontier > before_ns + later_ns
        return self._arrivals.get(process, 0) - later_ns > self._window.loaded_ns(end.name) > 0

    def _rest(self, process: Process, missing: list[str], waiting: list[str]) -> None:
        if process.id in self.silent:
            missing.append(f"the rest of {who(process)}: its record ends before this write")
        else:
            waiting.append(process.id)
