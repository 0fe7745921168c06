"""From a call in the agent's thread to a span on its way: ring, drain, marks.

A hook calls `begin` and `end`. `end` puts the call into the ring first and reads its end clock after that; the drain
reads its own clock first and empties the ring after that. So whatever ended before the drain's clock is in its hands,
without a lock: that clock is the *frontier* which the mark in the same export states. Exports are acknowledged in
order, so a mark vouches only for what arrived. A ring that is full drops and counts; the hole in `seq` shows where.

What a verdict may conclude from marks stands in the contract, 2.2; this module only keeps them true.
"""

import logging
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final

from noclobber import clock, declarations, forks, scope, strands, versions
from noclobber.access import UNREAD, Build, Call
from noclobber.budget import OVERSPENT, Budget
from noclobber.contract import FRONTIER_END, Attr
from noclobber.describing import Describing, accesses_of
from noclobber.guard import GUARD
from noclobber.otlp import Span
from noclobber.own_thread import OwnThread
from noclobber.scope import Enclosed
from noclobber.settings import Settings
from noclobber.sink import Sink
from noclobber.sites import Site, Sites
from noclobber.stages import Stages
from noclobber.strands import Strand

if TYPE_CHECKING:
    from noclobber.pacing.pacer import Pacer

__all__ = ["Recorder", "Sink", "active", "begin", "end", "start", "stop", "swap"]

OPEN_AFTER_NS: Final = 5_000_000_000
"""A call that still waits after so long is sent open."""
MARK_IDLE_NS: Final = 1_000_000_000
SPANS_MAX: Final = 2000
"""Spans in one export."""
log = logging.getLogger("noclobber")
now_ns = clock.now_ns


_active: "Recorder | None" = None
_resting: "Recorder | None" = None
"""One that has switched itself off: it goes on to say so."""
asks: bool = False
"""Whether anybody wants a store to be asked what a write replaces: a variable, since it is looked at at each call."""


def active() -> "Recorder | None":
    """The process's recorder; None where noclobber is off."""
    if _active is None and _resting is not None:
        _resting.passed += 1  # by threads side by side it may miss some, never all
    return _active


def begun(library: str) -> Call | None:
    """Note that a call of `library` begins which is one access; None where it is off, or part of a call that is noted.

    For the hottest hooks, from their own frame: all that `Recorder.begin` does, in one function. May raise.
    """
    recorder = _active
    if recorder is None:
        active()  # which counts it where recording has switched itself off
        return None
    strand, context = strands.current(), scope.running()
    if strand.suppressed or (context and isinstance(scope.current(context), Enclosed)):
        return None
    call = Call()
    call.strand = strand
    call.library = library
    call.count = 1
    call.seq = strand.seq = strand.seq + 1
    call.more = ()
    call.context = context
    call._scope = UNREAD
    call.locks = strand.locks
    call.error = call.facts = call.build = None
    call.span_id = call.end_ns = 0
    frame = sys._getframe(2)
    code = frame.f_code
    call.site = (code, frame.f_lasti) if recorder._sites.own.get(code.co_filename) else recorder._sites.of(frame)
    call.start_ns = now_ns()
    return call


def ended(call: Call, build: Build, facts: object) -> None:
    """The twin of `begun`."""
    recorder = _active or active()
    if recorder is None:
        return
    call.facts = facts
    call.build = build
    ring = recorder._ring
    if len(ring) < recorder._ring_max:
        ring.append(call)
        call.end_ns = now_ns()
    else:
        recorder._otherwise(call)


def recording() -> "Recorder | None":
    """The recorder, if the running code's calls are to be recorded.

    They are not where they are part of a call that is: one of this strand, or one that has started this thread or task.
    """
    recorder = active()
    if recorder is None or strands.current().suppressed:
        return None
    return None if isinstance(scope.current(), Enclosed) else recorder


def start(settings: Settings, sink: Sink | None = None) -> "Recorder":
    """Switch recording on, once; returns the process's recorder.

    Args:
        settings: how.
        sink: where spans go; the settings' collector and file where None.
    """
    if _resting is not None:
        return _resting
    if _active is None:
        from noclobber.keys import load_key

        versions.use_key(load_key(settings.key))
        recorder = Recorder(settings, sink)
        swap(recorder)
        recorder.run()
        forks.hand_over_at_sigterm(_at_exit, settings.shutdown_timeout_s + 0.3)
        return recorder
    return _active


def swap(recorder: "Recorder | None") -> "Recorder | None":
    """Make `recorder` the process's; returns the one before."""
    global _active, _resting, asks  # noqa: PLW0603  one a process
    before, _active, _resting = _active, recorder, None
    asks = recorder is not None and recorder.may_ask
    return before


def begin(library: str) -> Call | None:
    """Note that a call begins, for those who stand in the program's own code: never raises; None where it is off."""
    try:
        recorder = active()
        return None if recorder is None else recorder.begin(library)
    except Exception as error:
        GUARD.caught(error)
        return None


def end(call: Call, build: Build, facts: object, error: BaseException | None = None) -> None:
    """Note that `call` returned, or raised `error`; never raises."""
    with GUARD:
        if _active is not None:
            call.error = error
            _active.end(call, build, facts)


def stop(timeout_s: float | None = None) -> None:
    """Switch recording off, after everything was handed over or `timeout_s` ran out."""
    resting = _resting
    recorder = swap(None) or resting
    if recorder is not None:
        recorder.shutdown(recorder.settings.shutdown_timeout_s if timeout_s is None else timeout_s)


class Recorder:
    """Records the accesses of one process.

    Attributes:
        settings: how it was set up. declarations: what owners know. may_ask: whether some resource is exact.
        dropped: accesses that are lost for good: the ring was full, or they could not be described.
        passed: calls that it let pass unseen since it switched itself off, at least one where there were any.
        accesses: accesses exported so far.
    """

    def __init__(self, settings: Settings, sink: Sink | None = None, ids: random.Random | None = None) -> None:
        self.settings = settings
        self.declare(declarations.Declarations.from_settings(settings))
        self._given_sink = sink
        self._given_ids = ids
        self.pace(None)
        self._sites = Sites()
        self._reset()

    def _reset(self) -> None:
        self._ring: deque[Call] = deque()
        self._stopping = False
        self._wake = threading.Event()
        self._drained = threading.Condition()
        self._rounds = 0
        self._frontier = 0
        self._last_mark = 0
        self._held_back = False
        self._refused = 0
        self._waiting: set[Call] = set()
        self._sink = self._given_sink
        self._describing = Describing(self.settings, self._given_ids)
        self._stages = Stages(self._describing, self._drop)
        self._thread: threading.Thread | None = None
        self._dropping = threading.Lock()  # only ever taken where something is dropped
        self.dropped = 0
        self.passed = 0
        self.accesses = 0
        self._budget = Budget(self.settings.cpu_budget)

    def declare(self, declared: declarations.Declarations) -> None:
        """Go by `declared` from now on."""
        global asks  # noqa: PLW0603  one a process
        self.declarations = declared
        self.may_ask = bool(self.settings.exact or any(each.exact for each in declared.declared))
        if _active is self:
            asks = self.may_ask

    # -- in the agent's thread ------------------------------------------------------------------------------------

    def begin(self, library: str, count: int = 1, strand: Strand | None = None) -> Call:
        """Note that a call of `library` begins, which will be `count` accesses of the running strand."""
        call = Call()
        if strand is None:
            strand = strands.current()
        call.strand = strand
        call.library = library
        call.count = count
        seq = strand.seq
        call.seq = seq + 1
        strand.seq = seq + count
        call.more = ()
        call.context = scope.running()
        call._scope = UNREAD
        call.site = self._sites.of(sys._getframe(1))
        call.locks = strand.locks
        call.error = call.facts = call.build = None
        call.span_id = call.end_ns = 0
        call.start_ns = now_ns()
        return call

    def end(self, call: Call, build: Build, facts: object = None) -> None:
        """Note that `call` returned; `build` will say what it was."""
        call.facts = facts
        call.build = build
        ring = self._ring
        if len(ring) >= self._ring_max:
            self._otherwise(call)
            return
        ring.append(call)
        call.end_ns = now_ns()

    def pace(self, pacer: "Pacer | None") -> None:
        """Let `pacer` see every call that ends, and hold its strand; None: nobody. Costs nothing where nobody does."""
        self.pacer = pacer
        self._otherwise: Callable[[Call], None] = self._drop if pacer is None else partial(pacer.ended, self)
        self._ring_max = self.settings.ring_max if pacer is None else -1  # no room: each call goes the longer way

    def fail(self, call: Call, error: BaseException, build: Build, facts: object = None) -> None:
        """Note that `call` raised."""
        call.error = error
        self.end(call, build, facts)

    def more(self, call: Call, count: int) -> None:
        """Take further numbers for a call that turns out to be more accesses."""
        first = call.strand.take(count)
        call.more = (*call.more, *range(first, first + count))

    def waits(self, call: Call) -> None:
        """`call` may wait long (a lock, a message, a join): send it open if it does."""
        self._waiting.add(call)

    def edge(self, library: str, build: Build, facts: object = None) -> None:
        """Record something that takes no time of its own: a join."""
        call = self.begin(library)
        self.end(call, build, facts)

    def note_spawn(self, parent: Strand, child: Strand) -> None:
        """Tell the drain, in ring order, that `child` starts with what `parent` knows now; no access, no span."""
        if len(self._ring) >= 2 * self.settings.ring_max:
            child.lose(0)
            return
        call = Call()
        call.strand, call.library, call.count, call.seq, call.more = child, "", 0, 0, ()
        call.context = call.site = call.error = call.build = None
        call.locks, call.span_id, call.facts = (), 0, parent
        call.start_ns = call.end_ns = now_ns()
        self._ring.append(call)

    def _site(self, frame: FrameType | None) -> Site | None:
        return self._sites.of(frame)

    def _drop(self, call: Call) -> None:
        """A call is lost: it is counted, and what its strand knew before it is trusted no more."""
        self._waiting.discard(call)
        call.strand.lose(call.seqs[-1])
        with self._dropping:
            self.dropped += len(call.seqs)

    # -- the drain -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start the drain's thread; without it whoever calls `flush` drains."""
        self._thread = OwnThread(target=self._drain, name="noclobber drain", daemon=True)
        self._thread.start()

    def begin_again(self) -> None:
        """In a forked child: nothing that the parent recorded, and threads of its own."""
        sink = self._sink
        self._reset()
        if sink is not None and sink is not self._given_sink:
            sink.abandon()
        self.run()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything that ended before this call was acknowledged within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        if self._thread is None:
            self._one_round()
        with self._drained:
            wanted = self._rounds + 2  # the round that may be under way has read its clock already
            while self._thread is not None and self._rounds < wanted:
                self._wake.set()
                if not self._drained.wait(max(0.0, deadline - time.monotonic())):
                    return False
        return self._sink is not None and self._sink.flush(max(0.0, deadline - time.monotonic()))

    def shutdown(self, timeout_s: float) -> None:
        """Hand over everything, the last mark included, in `timeout_s` at most."""
        deadline = time.monotonic() + timeout_s
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        else:
            self._one_round()
        if self._sink is not None:
            self._sink.close(max(0.0, deadline - time.monotonic()))

    def _drain(self) -> None:
        strands.current().suppressed += 1
        while True:
            self._wake.wait(self.settings.flush_interval_s)
            self._wake.clear()
            ending = self._stopping
            self._one_round()
            with self._drained:
                self._rounds += 1
                self._drained.notify_all()
            if ending:
                return

    def _one_round(self) -> None:
        with GUARD:
            self._open_sink()
            self._round(ending=self._stopping)

    def _open_sink(self) -> None:
        if self._sink is None:
            with forks.opening():
                from noclobber.sinks import sink_for

                self._sink = sink_for(self.settings)

    def _round(self, *, ending: bool) -> None:
        now = now_ns()
        spans = self._stages.spans(self._take(), self.declarations)
        if not self._held_back:
            self._frontier = now
        while len(spans) > SPANS_MAX:
            self._send(spans[:SPANS_MAX])
            del spans[:SPANS_MAX]
        self._count_refused()
        waiting = self._open_spans(now)
        if ending or spans or waiting or self._is_due(now):
            frontier = FRONTIER_END if ending else self._frontier + clock.OFFSET_NS
            resting, dropped = self._budget.taken is not None, self.dropped + self.passed
            mark = self._describing.mark(now_ns(), frontier, self.accesses + len(spans), dropped, partial=resting)
            self._send(spans, (*waiting, mark))
            self._last_mark = now
        self._mind_budget(now)

    def _mind_budget(self, now: int) -> None:
        """Switch recording off where it takes too much of the process."""
        if (
            _active is self
            and self._thread is not None
            and self._budget.is_spent(now, self.accesses, self._sink.cpu_ns if self._sink else 0)
        ):
            _rest(self, self._budget.taken or 0.0)

    def _is_due(self, now: int) -> bool:
        """Whether an idle process should say that it is."""
        return now - self._last_mark >= MARK_IDLE_NS and self._sink is not None and self._sink.idle

    def _count_refused(self) -> None:
        """What the collector will never take was not acknowledged: it is dropped, and no longer among the accesses."""
        if self._sink is None:
            return
        news, self._refused = self._sink.refused - self._refused, self._sink.refused
        self.accesses -= news
        with self._dropping:
            self.dropped += news

    def _take(self) -> list[Call]:
        """All calls in the ring, up to one that has no end yet (its thread stands between two instructions)."""
        ring, calls = self._ring, []
        self._held_back = False
        while ring:
            if ring[0].end_ns == 0:
                self._held_back = True
                break
            calls.append(ring.popleft())
        if self._waiting:
            self._waiting.difference_update(calls)
        return calls

    def _open_spans(self, now: int) -> list[Span]:
        """Calls that still wait, once they have waited long: sent now, and again under the same id at their end."""
        spans: list[Span] = []
        for call in list(self._waiting):
            if call.end_ns or call.span_id or call.build is None or now - call.start_ns <= OPEN_AFTER_NS:
                continue
            with GUARD:
                access = accesses_of(call, self.declarations)[0]
                access.attributes[Attr.OPEN] = True
                spans.append(self._describing.span(call, call.seq, access, until_ns=now))
        return spans

    def _send(self, spans: Sequence[Span], more: Sequence[Span] = ()) -> None:
        """Hand over one export: finished accesses, and what is not counted as such (calls still open, the mark)."""
        with GUARD:
            if self._sink is not None and self._sink.send(self._describing.process, [*spans, *more], len(spans)):
                self.accesses += len(spans)
                return
        with self._dropping:
            self.dropped += len(spans)


def _rest(recorder: Recorder, taken: float) -> None:
    """`recorder` records no more; its drain goes on and says so in its marks."""
    global _resting  # noqa: PLW0603  one a process
    swap(None)
    _resting = recorder
    log.warning(OVERSPENT, taken * 100, recorder.settings.cpu_budget * 100)


def _fork() -> None:
    """A child is a new process: its own id, strands, ring and threads. What its parent had in hand stays there."""
    strands.reset_after_fork()
    if _resting is not None:
        swap(_resting)
    if _active is not None:
        with GUARD:
            _active.begin_again()
            forks.end_with_multiprocessing(_active, _at_exit)


def _at_exit() -> None:
    with GUARD:
        stop()


forks.watch(_fork, _at_exit)
