"""The live analyzer: a thread that keeps a `Stream` going, survives the store, and tells who has to know.

It steps as long as there is something to do, then waits to be woken by the loader, or for a moment: processes fall
silent without a row telling so. Between two steps it rests as long as the last one took, so that it takes no more than
half of a core from those who share it, unless it is behind. Errors of the store are said once and tried again, later
each time; what was read stays, and what could not be written stays dirty. After each step issues are brought up to
date, and who sends alerts is woken if that wrote anything.

Several analyzers may share a store (`leases`): then each judges its ranges, from where whoever had them had come, and
the owner of the first range keeps the issues.

Source: analysis.md 9, house.md (complete, then judged).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Final

from noclobber.declarations import Declarations
from noclobber_analyzer.checkpoint import Checkpoint, earlier
from noclobber_analyzer.clock import SECOND_NS, SYSTEM, Clock
from noclobber_analyzer.cursor import Store
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.garbage import Garbage
from noclobber_analyzer.issue_log import DEFAULT_POLICY, IssueKeeper
from noclobber_analyzer.issues import Head, Policy
from noclobber_analyzer.leases import RENEW_NS, Leases
from noclobber_analyzer.ranges import Share
from noclobber_analyzer.stream import Judge, Limits, Stream

__all__ = ["LiveAnalyzer"]

POLL_S: Final = 0.5
"""How long it waits without being woken: others load too, and processes fall silent."""
REST_MAX_S: Final = 0.5
REST_BEHIND_S: Final = 0.02
"""How long it rests at most while more waits than it has read: what is loaded meanwhile has to be loaded, too."""
PAUSE_MAX_S: Final = 10.0
ISSUES_EVERY_NS: Final = SECOND_NS
REPORT_EVERY_NS: Final = 60 * SECOND_NS
STUCK_S: Final = 120.0
"""A step that takes longer is no step any more: its leases are not renewed meanwhile."""
NO_LIMITS: Final = Limits()

log = logging.getLogger("noclobber.analyzer")


class LiveAnalyzer:
    """Analyses what arrives in a store, on a thread of its own.

    Args:
        store: holds everything.
        on_found: called after something was written to the log of issues, in the analyzer's thread.
        dashboard: where pages are, for links; "": no links.
        judge: in place of the evaluator (tests).
        clock: wall time.
        name: of this analyzer; its checkpoint goes by it.
        limits: what bounds memory and passes.
        declarations: what owners know of their resources; what they permit is defended.
        leases: on ranges, where several share the store; their group's name then goes for `name`. None: all is ours.
        policy: when an issue is told again.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_found: Callable[[], None] = lambda: None,
        dashboard: str = "",
        judge: Judge | None = None,
        clock: Clock = SYSTEM,
        name: str = "live",
        limits: Limits = NO_LIMITS,
        declarations: Declarations = NOTHING_DECLARED,
        leases: Leases | None = None,
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        judge = judge or partial(evaluate, declarations=declarations)
        self._leases = leases
        self._share = Share(store, (), leases.owner) if leases is not None else None
        name = leases.group if leases is not None else name
        self._new_stream = partial(
            Stream, store, judge, clock, name, limits, declarations=declarations, share=self._share
        )
        self._stream = self._new_stream()
        self._keeper = IssueKeeper(store, clock, policy, base_url=dashboard)
        self._on_found = on_found
        self._clock = clock
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="noclobber-analyzer", daemon=True)
        self._opened = False
        self._gained: frozenset[int] = frozenset()
        self._since: Checkpoint | None = None
        self._turned_s = 0.0
        self._last_error = ""
        self._pause_s = 0.0
        self._issues_at_ns = 0
        self._reported_at_ns = 0
        self._step_s = 0.0
        self._garbage = Garbage()

    @property
    def leads(self) -> bool:
        """Whether it keeps the issues; of several that share a store one does."""
        return self._share is None or 0 in self._share.ranges

    def start(self) -> None:
        """Go on where the last analyzer was."""
        self._thread.start()
        if self._leases is not None:
            threading.Thread(target=self._beat, name="noclobber-leases", daemon=True).start()

    def wake(self) -> None:
        """Something was loaded: look now."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Read and judge what is there, write the checkpoint, end; returns whether that was done in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def stats(self) -> dict[str, object]:
        """What an operator asks; for people and metrics."""
        stream = self._stream
        return {
            "behind_seconds": stream.behind_ns / SECOND_NS,
            "kept_accesses": len(stream.window),
            "evicted_accesses": stream.window.evicted,
            "dirty_resources": stream.dirty,
            "waiting_resources": len(stream.waiting),
            "silent_processes": sorted(stream.silent),
            "step_seconds": round(self._step_s, 4),
            "ranges": sorted(self._share.ranges) if self._share is not None else "all",
            "last_error": self._last_error,
            **asdict(stream.totals),
        }

    def _run(self) -> None:
        self._garbage.begin()
        try:
            self._keep_going()
        finally:
            self._garbage.end()

    def _keep_going(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            begun = self._turned_s = time.monotonic()
            busy = self._guarded(self._turn)
            self._step_s = time.monotonic() - begun
            self._garbage.collect()
            if self._pause_s:
                self._stopping.wait(self._pause_s)
                continue
            self._stopping.wait(min(self._step_s, REST_BEHIND_S if self._stream.behind_ns else REST_MAX_S))
            if not busy:
                self._wake.wait(POLL_S)
        self._guarded(self._finish)

    def _turn(self) -> bool:
        if self._leases is not None:
            self._keep(self._leases)
        elif not self._opened:
            self._stream.open()
            self._opened = True
        if not self._opened:
            return False
        busy, written = self._stream.step()
        self._tell(written)
        self._report()
        return busy

    def _keep(self, leases: Leases) -> None:
        """Renew the leases, and let the stream follow them."""
        assert self._share is not None
        if leases.is_due:
            turn = leases.turn(self._stream.saved if not self._gained else None)
            self._share.ranges = frozenset(leases.held)
            self._gained = (self._gained | turn.taken) & self._share.ranges
            self._since = earlier(self._since, turn.since) if self._since and turn.since else turn.since or self._since
            if turn.lost and self._opened:
                self._stream.give_up()
        if self._gained:
            self._take_over(self._gained, self._since)
            self._gained, self._since = frozenset(), None

    def _take_over(self, ranges: frozenset[int], since: Checkpoint | None) -> None:
        """Judge what others had not come to; what is no longer kept of that is read again."""
        log.info("%d ranges taken over", len(ranges))
        if self._opened and (since is None or self._stream.covers(since)):
            self._stream.take_over(ranges)
            return
        stream = self._new_stream()
        stream.totals = self._stream.totals
        stream.open(since)
        self._stream, self._opened = stream, True

    def _beat(self) -> None:
        """Renew the leases while a step is long."""
        assert self._leases is not None
        said = ""
        while not self._stopping.wait(RENEW_NS / SECOND_NS):
            try:
                if time.monotonic() - self._turned_s < STUCK_S:
                    self._leases.renew()
                said = ""
            except Exception as error:
                if str(error) != said:
                    said = str(error)
                    log.exception("the leases on ranges can't be renewed; trying again")

    def _finish(self) -> bool:
        """One last look; what is left is taken up by the next analyzer."""
        if self._opened:
            _, written = self._stream.step()
            self._stream.checkpoint(now=True)
            self._stream.feed.close()
            self._issues_at_ns = 0
            self._tell(written)
        if self._leases is not None:
            self._leases.leave(self._stream.saved if not self._gained else None)
        return False

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Do `work`, whatever the store does: say an error once, and try again later each time."""
        try:
            busy = work()
        except Exception as error:
            text = str(error) or type(error).__name__
            self._pause_s = min(max(0.5, self._pause_s * 2), PAUSE_MAX_S)
            if text != self._last_error:
                log.exception("live analysis waits and tries again")
            self._last_error = text
            return False
        if self._last_error:
            log.info("live analysis goes on")
            self._stream.deaf()
        self._pause_s, self._last_error = 0.0, ""
        return busy

    def _tell(self, written: Sequence[Head]) -> None:
        """Bring the issues up to date."""
        if not self.leads:
            return
        if written:
            self._keeper.noticed(written)
        now_ns = self._clock.now_ns()
        if not written and now_ns - self._issues_at_ns < ISSUES_EVERY_NS:
            return
        self._issues_at_ns = now_ns
        quiet_proves_nothing = bool(self._stream.behind_ns or self._stream.dirty or self._stream.silent)
        if self._keeper.turn(hold_resolved=quiet_proves_nothing):
            self._on_found()

    def _report(self) -> None:
        now_ns = self._clock.now_ns()
        if now_ns - self._reported_at_ns < REPORT_EVERY_NS:
            return
        totals = self._stream.totals
        if totals.rows and self._reported_at_ns:
            log.info(
                "%d accesses taken, %d kept, %d judgements, %d revisions written, %d resources wait, %.1f s behind",
                totals.accesses,
                len(self._stream.window),
                totals.judgements,
                totals.written,
                len(self._stream.waiting),
                self._stream.behind_ns / SECOND_NS,
            )
        self._reported_at_ns = now_ns
