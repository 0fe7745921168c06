"""From a call in the agent's thread to a span on its way: ring, drain, marks.

A hook calls `begin` and `end`. `end` puts the call into the ring first and reads its end clock after that; the drain
reads its own clock first and empties the ring after that. So whatever ended before the drain's clock is in its hands,
without a lock: that clock is the *frontier* which the mark in the same export states. Exports are acknowledged in
order, so a mark vouches only for what arrived. A ring that is full drops and counts; the hole in `seq` shows where.

What a verdict may conclude from marks stands in the contract, 2.2; this module only keeps them true.
"""

import atexit
import os
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Final

from opentelemetry import context as otel

from noclobber import clock, declarations, strands, versions
from noclobber.access import Access, AttributeValue, Build, Call
from noclobber.bases import Bases
from noclobber.contract import FRONTIER_END, Attr, Op
from noclobber.describing import Describing
from noclobber.guard import GUARD
from noclobber.in_hand import InHand
from noclobber.otlp import Span
from noclobber.own_thread import OwnThread
from noclobber.settings import Settings
from noclobber.strands import Strand

__all__ = ["Recorder", "Sink", "active", "begin", "end", "start", "stop", "swap"]

OPEN_AFTER_NS: Final = 5_000_000_000
"""A call that still waits after so long is sent open."""
MARK_IDLE_NS: Final = 1_000_000_000
SPANS_MAX: Final = 2000
"""Spans in one export."""
SITE_DEPTH_MAX: Final = 40
SITES_MAX: Final = 50_000
"""Functions of which it is remembered whether they are a library's."""
now_ns = clock.now_ns

_active: "Recorder | None" = None


def active() -> "Recorder | None":
    """The process's recorder; None where noclobber is off."""
    return _active


def start(settings: Settings, sink: "Sink | None" = None) -> "Recorder":
    """Switch recording on, once; returns the process's recorder.

    Args:
        settings: how.
        sink: where spans go; the settings' collector and file where None.
    """
    if _active is None:
        from noclobber.keys import load_key

        versions.use_key(load_key(settings.key))
        recorder = Recorder(settings, sink)
        swap(recorder)
        recorder.run()
        return recorder
    return _active


def swap(recorder: "Recorder | None") -> "Recorder | None":
    """Make `recorder` the process's; returns the one before."""
    global _active
    before, _active = _active, recorder
    return before


def begin(library: str) -> Call | None:
    """Note that a call begins, for those who stand in the program's own code: never raises; None where it is off."""
    try:
        return None if _active is None else _active.begin(library)
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
    recorder = swap(None)
    if recorder is not None:
        recorder.shutdown(recorder.settings.shutdown_timeout_s if timeout_s is None else timeout_s)


class Sink:
    """Where finished spans go: a collector, a file, a test's list."""

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:
        """Take one export; False where it had to be refused."""
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether everything before was acknowledged."""
        return True

    @property
    def refused(self) -> int:
        """Accesses that were taken, and then lost for good."""
        return 0

    def flush(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Whether everything was acknowledged within `timeout_s`."""
        return True

    def close(self, timeout_s: float) -> None:
        """Hand over what is left."""

    def abandon(self) -> None:
        """In a forked child, where another sink takes over: let go of what is the parent's."""


class Recorder:
    """Records the accesses of one process.

    Attributes:
        settings: how it was set up.
        dropped: accesses that are lost for good: the ring was full, or they could not be described.
        accesses: accesses exported so far.
    """

    def __init__(self, settings: Settings, sink: Sink | None = None, ids: random.Random | None = None) -> None:
        self.settings = settings
        self.declarations = declarations.Declarations.from_settings(settings)
        self._given_sink = sink
        self._given_ids = ids
        self._ring_max = settings.ring_max
        self._sites: dict[CodeType, bool] = {}
        self._reset()

    def _reset(self) -> None:
        self._ring: deque[Call] = deque()
        self._bases = Bases()
        self._in_hand = InHand()
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
        self._thread: threading.Thread | None = None
        self._dropping = threading.Lock()  # only ever taken where something is dropped
        self.dropped = 0
        self.accesses = 0

    # -- in the agent's thread ------------------------------------------------------------------------------------

    def begin(self, library: str, count: int = 1) -> Call:
        """Note that a call of `library` begins, which will be `count` accesses."""
        call = Call()
        strand = call.strand = strands.current()
        call.library = library
        call.count = count
        call.seq = strand.seq + 1
        strand.seq += count
        call.more = ()
        call.context = otel.get_current()
        call.site = self._site(sys._getframe(1))
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
            self._drop(call)
            return
        ring.append(call)
        call.end_ns = now_ns()

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
        if len(self._ring) >= 2 * self._ring_max:
            child.lose(0)
            return
        call = Call()
        call.strand, call.library, call.count, call.seq, call.more = child, "", 0, 0, ()
        call.context = call.site = call.error = call.build = None
        call.locks, call.span_id, call.facts = (), 0, parent
        call.start_ns = call.end_ns = now_ns()
        self._ring.append(call)

    def _drop(self, call: Call) -> None:
        """A call is lost: it is counted, and what its strand knew before it is trusted no more."""
        self._waiting.discard(call)
        call.strand.lose(call.seqs[-1])
        with self._dropping:
            self.dropped += len(call.seqs)

    def _site(self, frame: FrameType | None) -> tuple[CodeType, int] | None:
        sites = self._sites
        for _ in range(SITE_DEPTH_MAX):
            if frame is None:
                return None
            code = frame.f_code
            own = sites.get(code)
            if own is None:
                own = not _in_library(code.co_filename)
                if len(sites) < SITES_MAX:  # a program may make code without end
                    sites[code] = own
            if own:
                return code, frame.f_lineno
            frame = frame.f_back
        return None

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
            with _opening:
                from noclobber.sinks import sink_for

                self._sink = sink_for(self.settings)

    def _round(self, *, ending: bool) -> None:
        now = now_ns()
        spans = self._spans(self._take())
        if not self._held_back:
            self._frontier = now
        while len(spans) > SPANS_MAX:
            self._send(spans[:SPANS_MAX])
            del spans[:SPANS_MAX]
        self._count_refused()
        waiting = self._open_spans(now)
        if ending or spans or waiting or self._is_due(now):
            frontier = FRONTIER_END if ending else self._frontier + clock.OFFSET_NS
            mark = self._describing.mark(now_ns(), frontier, self.accesses + len(spans), self.dropped)
            self._send(spans, (*waiting, mark))
            self._last_mark = now

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
        return calls

    def _spans(self, calls: Sequence[Call]) -> list[Span]:
        spans: list[Span] = []
        for call in calls:
            with GUARD:
                spans += self._of_call(call)
                continue
            self._drop(call)  # it could not be described: a hole, and counted
        return spans

    def _of_call(self, call: Call) -> list[Span]:
        self._waiting.discard(call)
        if not call.count:
            self._bases.spawned(call.facts, call.strand)
            self._in_hand.spawned(call.facts)
            return []
        accesses = self._described(call)
        if accesses[0].op is Op.JOIN:
            self._bases.joined(call.strand, call.facts[0])
        self._in_hand.follow(call, accesses)
        self._bases.resolve(call, accesses)
        return [self._describing.span(call, seq, access) for seq, access in zip(call.seqs, accesses, strict=True)]

    def _described(self, call: Call) -> list[Access]:
        assert call.build is not None
        accesses = call.build(call)
        if len(accesses) != len(call.seqs):
            raise ValueError(f"{call.library}: {len(accesses)} accesses for {len(call.seqs)} numbers")
        if call.locks:
            locks = tuple(map(self.declarations.named, call.locks))
            for access in accesses:
                access.attributes.setdefault(Attr.LOCKS, locks)
        return [self.declarations.applied(access) for access in accesses]

    def _open_spans(self, now: int) -> list[Span]:
        """Calls that still wait, once they have waited long: sent now, and again under the same id at their end."""
        spans: list[Span] = []
        for call in list(self._waiting):
            if call.end_ns or call.span_id or call.build is None or now - call.start_ns <= OPEN_AFTER_NS:
                continue
            with GUARD:
                access = self._described(call)[0]
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


def _in_library(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith(("<", _STANDARD_LIBRARY, _OWN))


_STANDARD_LIBRARY: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120  a prefix, compared as text
_OWN: Final = os.path.dirname(__file__) + os.sep  # noqa: PTH120


_opening = threading.Lock()
"""Held while the drain imports what it sends with: a child forked meanwhile would have half a module for good."""
_kept_from_opening = False
FORK_WAIT_S: Final = 1.0


def _before_fork() -> None:
    global _kept_from_opening  # noqa: PLW0603  one a process
    _kept_from_opening = _opening.acquire(timeout=FORK_WAIT_S)


def _after_fork_in_parent() -> None:
    if _kept_from_opening:
        _opening.release()


def _after_fork_in_child() -> None:
    """A child is a new process: its own id, strands, ring and threads. What its parent had in hand stays there."""
    global _opening  # noqa: PLW0603  one a process
    _opening = threading.Lock()  # the parent's
    recorder = _active
    strands.reset_after_fork()
    if recorder is not None:
        with GUARD:
            recorder.begin_again()
            _end_with_multiprocessing(recorder)


def _end_with_multiprocessing(recorder: Recorder) -> None:
    """A child of `multiprocessing` leaves through finalizers of its own, never through `atexit`."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(recorder, lambda _: util.Finalize(None, _at_exit, exitpriority=-1000))


def _at_exit() -> None:
    with GUARD:
        stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
