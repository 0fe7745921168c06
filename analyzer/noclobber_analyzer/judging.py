"""One judgement of live analysis: a part of the kept history laid out, and what may be said of what it finds.

The evaluator judges a view as it judges a file. An error in it costs one resource its verdict, not all. What is found
at the edge of the kept history may only seem so, since what stood beside it has just fallen out; what is not found
again is told with what arrived since.

Source: analysis.md 9 (frames, late data). Which resources are judged, and when, is decided in `stream`.
"""

import logging
from collections.abc import Iterable
from typing import Final, Protocol

from noclobber.contract import Kind
from noclobber_analyzer.access import Process
from noclobber_analyzer.belonging import touched
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.clock_steps import apart
from noclobber_analyzer.evaluate import Evaluation
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History
from noclobber_analyzer.ledger import access_names
from noclobber_analyzer.live_coverage import LiveCoverage
from noclobber_analyzer.live_limits import Totals
from noclobber_analyzer.views import View
from noclobber_analyzer.window import Name, Window

__all__ = ["Judge", "Judging"]

KNOWN: Final = frozenset({"victim", "either", "newer", "stale_read"})
"""Roles of a lost update or stale write that show what was replaced, or where the base came from."""

log = logging.getLogger("noclobber.analyzer")


class Judge(Protocol):
    """`evaluate.evaluate`, or what a test puts in its place."""

    def __call__(self, history: History, *, resources: frozenset[str] | None = None) -> Evaluation:
        """Judge a history."""
        ...


class Judging:
    """Judges views of a window.

    Args:
        judge: the evaluator.
        window: what is kept.
        totals: what is counted.
    """

    def __init__(self, judge: Judge, window: Window, totals: Totals) -> None:
        self._judge, self._window, self._totals = judge, window, totals

    def safely(
        self, view: View, judged: frozenset[str] | None, names: frozenset[str], coverage: LiveCoverage
    ) -> Evaluation:
        """Judge together; if that raises, one by one, so that one resource costs only itself its verdicts."""
        self._totals.judgements += 1
        history = self.history(view, coverage)
        try:
            return self._judge(history, resources=judged)
        except Exception:
            log.exception("judging %d resources failed; judging each by itself", len(names))
        together = Evaluation()
        for name in sorted(judged or {name for access in view.accesses for name in touched(access)}):
            try:
                one = self._judge(history, resources=frozenset({name}))
            except Exception:
                self._totals.failed += 1
                together.waiting[name] = frozenset()
                log.exception("judging %s failed: it has no verdict until something new touches it", name)
                continue
            together.findings.extend(one.findings)
            together.defended.extend(one.defended)
            together.waiting.update(one.waiting)
        return together

    def history(self, view: View, coverage: LiveCoverage) -> History:
        """The part of the kept history that is judged."""
        window, accesses = self._window, view.accesses
        if window.set_clocks:
            accesses = apart(accesses, window.set_clocks, window.captured)
        accesses = sorted(accesses, key=lambda a: (a.start_ns, a.span_id, a.trace_id))
        processes: dict[str, Process] = {access.process.id: access.process for access in view.accesses}
        history = History(accesses, processes, coverage, window.captured)
        history.trimmed = window.trimmed
        if view.resources is not None:
            history.read_from, history.size = window.read_from, len(window)
            history.synchronised = window.edges.into
            history.has_prints = window.has_prints
        return history

    def holds_firmly(self, names: Iterable[Name]) -> bool:
        """Whether all these accesses are kept, and none is about to fall out."""
        known = list(names)
        return self._window.holds(known) and not self._window.at_edge(known)

    def rests_on_the_past(self, finding: Finding) -> bool:
        """Whether what is not seen may just have fallen out: the accesses around the oldest ones, and old makers."""
        if self._window.at_edge(access_names(finding)):
            return True
        if finding.resource not in self._window.trimmed:
            return False
        if finding.kind in (Kind.LOST_UPDATE, Kind.STALE_WRITE):
            return all(access.role not in KNOWN for access in finding.accesses)
        return finding.kind in (Kind.UNKNOWN_WRITER, Kind.GARBAGE_READ)

    def discredited(self, finding: Finding) -> bool:
        """Whether an access of a finding goes by a clock that was set while it was read."""
        wrong = self._window.set_clocks
        kept = (self._window.get((each.trace_id, each.span_id)) for each in finding.accesses) if wrong else ()
        return any(access is not None and clock_of(access.process) in wrong for access in kept)

    def because(self, finding: Finding) -> str:
        """What has arrived since a finding was written."""
        if self.discredited(finding):
            return "judged anew without the times of a clock that was set back while it was read, it does not hold"
        own = {(access.trace_id, access.span_id) for access in finding.accesses}
        known_ns = max((self._window.loaded_ns(name) for name in own), default=0)
        later = [
            access
            for access in self._window.accesses_of(finding.resource)
            if access.name not in own and self._window.loaded_ns(access.name) > known_ns
        ]
        if not later:
            return "judged anew with a more complete record, it does not hold"
        latest = max(later, key=lambda a: (self._window.loaded_ns(a.name), a.start_ns, a.span_id))
        others = f" and {len(later) - 1} more" if len(later) > 1 else ""
        return f"judged anew with a {latest.op} by {latest.agent} that arrived later (span {latest.span_id}){others}"
