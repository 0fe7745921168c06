"""One live analysis: takes what arrived, judges what it changes, writes what follows. Steps, without a thread.

Each step reads one portion of rows or judges one portion of dirty resources, so that none is long. Dirty is what a
new access touches; what waits for a process whose frontier moved, or that fell silent; and what a process touched that
speaks again, or of which a loss came to light. Dirty resources are judged by the one evaluator over a view of the kept
history, findings and defended accesses are written, and only then the checkpoint. After a start the kept history is
read again and all of it is dirty: work that was interrupted is repeated, and repeating it changes nothing.

Source: analysis.md 4 and 9. What the kept history is stands in `window`, how complete it is in `live_coverage`, what
differs where several analyzers share the store in `ranges`, `outlines` and `conflicts`.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final

from noclobber.declarations import Declarations
from noclobber_analyzer.access import Access, Mark
from noclobber_analyzer.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from noclobber_analyzer.clock import SECOND_NS, Clock
from noclobber_analyzer.columnar import Stored, decoded
from noclobber_analyzer.conflicts import Conflicts
from noclobber_analyzer.cursor import (
    Batch,
    Cursor,
    Feed,
    Store,
    batch_of,
    came_between,
    notes_between,
    opened_ns,
    portions,
)
from noclobber_analyzer.declared import NOTHING_DECLARED, as_declared
from noclobber_analyzer.elsewhere import Hint, form_of_finding
from noclobber_analyzer.evaluate import Evaluation, defended_as
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.frontiers import Frontiers
from noclobber_analyzer.hints import Hints, turned
from noclobber_analyzer.history import History
from noclobber_analyzer.issues import Head
from noclobber_analyzer.judging import Judge, Judging
from noclobber_analyzer.ledger import Ledger
from noclobber_analyzer.live_clocks import LiveClocks
from noclobber_analyzer.live_coverage import LiveCoverage
from noclobber_analyzer.live_latent import LatentWatch
from noclobber_analyzer.live_limits import KEPT_NS, Limits, Totals
from noclobber_analyzer.outlines import Outlines
from noclobber_analyzer.ranges import Share
from noclobber_analyzer.reach import Reach
from noclobber_analyzer.reconcile import reconcile
from noclobber_analyzer.rows import StoredSpan
from noclobber_analyzer.sieve import Sieve
from noclobber_analyzer.standing import Defences, Standing
from noclobber_analyzer.views import View, view_of
from noclobber_analyzer.window import Window

__all__ = ["KEPT_NS", "Judge", "Limits", "Stream", "Totals"]

PORTIONS_MAX: Final = 2
"""Portions read before anything is judged, where much waits."""
PROCESSES_MAX: Final = 10_000
"""Processes known at most before those that ended or fell silent, and of which nothing is kept, are forgotten."""
CHECKPOINT_EVERY_NS: Final = 5 * SECOND_NS
MS_NS: Final = 1_000_000
ROW_BITS: Final = 40
REACH_ROUNDS: Final = 16
"""How often a view is widened to follow what a finding affected: each leads at least one resource further."""

log = logging.getLogger("noclobber.analyzer")


class Stream:
    """One live analysis over a store; used by one thread.

    Args:
        store: holds everything.
        judge: the evaluator.
        clock: wall time.
        name: of this analyzer, for its checkpoint; where several share the store, each one's stands in its leases.
        limits: bounds.
        declarations: names that owners gave their resources, what is to be ignored, which rows are tasks.
        sifts: whether what needs no judgement is passed over; where others share the store it is not, since what is
            passed over hands on no conflicts.
        share: the resources that are this one's to judge, where others share the store; None: all.

    Attributes:
        saved: the checkpoint that was written last; None before the first one, and since ranges were taken over.
        feed: what reads on, and how far it has read.
    """

    def __init__(
        self,
        store: Store,
        judge: Judge,
        clock: Clock,
        name: str,
        limits: Limits,
        *,
        declarations: Declarations = NOTHING_DECLARED,
        sifts: bool = True,
        share: Share | None = None,
    ) -> None:
        self.totals = Totals()
        self._sifts = sifts and share is None and not any(each.invariant for each in declarations.declared)
        self.window = Window(limits.accesses_max)
        self.frontiers = Frontiers()
        self.waiting: dict[str, frozenset[str]] = {}
        self.silent: frozenset[str] = frozenset()
        self.behind_ns = 0
        self._store, self._clock, self._name, self._limits = store, clock, name, limits
        self._judging = Judging(judge, self.window, self.totals)
        self._declarations = declarations
        self.saved: Checkpoint | None = None
        self._opened_from_ns = 0
        self.share, self._is_shared = share or Share(store), share is not None
        self._outlines = Outlines(self.share, self.window, self._declared)
        self._conflicts = Conflicts(store, share.owner, self._reaches_others, limits.kept_ns) if share else None
        self.feed = self._feed_from(Cursor())
        self._ledger = Ledger(store)
        self._standing = Standing(store, self._ledger)
        self._defences = Defences(store)
        self._sieve = Sieve(self.window)
        self._clocks = LiveClocks(self.window)
        self._reach = Reach()
        self._latent = LatentWatch(store, self._ledger, self.window, declarations, limits.latent_every_ns)
        self._dirty: dict[str, None] = {}
        self._hints = Hints(store, self.share.own, share.owner if share else "")
        self._pressing: set[str] = set()
        self._late: set[str] = set()
        self._newest_ns = self._settled_ns = 0
        self._checkpoint_at_ns = 0
        self._unwritten = False

    @property
    def dirty(self) -> int:
        """Resources that are to be judged."""
        return len(self._dirty)

    @property
    def latent_skipped(self) -> int:
        """Resources at which nobody looked for what luck kept apart: too much belongs to them."""
        return self._latent.skipped

    def open(self, checkpoint: Checkpoint | None = None) -> None:
        """Go on where the last analyzer of this name was, or from a checkpoint: read its kept history again."""
        checkpoint = checkpoint or read_checkpoint(self._store, self._name)
        now_ns = self._clock.now_ns()
        self.frontiers.deaf_until(now_ns)
        if checkpoint is not None:
            self._opened_from_ns = checkpoint.kept_from_ns
            self.feed = self._feed_from(checkpoint.cursor)
            self.window.begin_cut({name: checkpoint.gone_ns.get(name, 0) for name in checkpoint.cut})
            notes = notes_between(self._store, checkpoint.kept_from_ns, checkpoint.cursor)
            for portion in portions(notes, self._limits.batch_rows_max):
                self._take(batch_of(self._store, portion, more=True, read=self._outlines.read), now_ns)
            self._settle(now_ns)
            self._evict()
            if checkpoint.cut:
                self.window.trimmed.update(self.window.resources)  # of which, the last analyzer knew
        self._dirty = dict.fromkeys(self.share.own(self.window.resources))
        self._defences.read(self.window.horizon_ns)
        log.info("live analysis begins with %d accesses in the kept history", len(self.window))

    def _feed_from(self, cursor: Cursor) -> Feed:
        """What reads on from there; not ahead where ranges, and with them what is read whole, may change meanwhile."""
        return Feed(self._store, cursor, self._limits.batch_rows_max, self._outlines.read, ahead=not self._is_shared)

    def take_over(self, ranges: frozenset[int]) -> None:
        """Judge all that is kept of some ranges: whoever had them may not have come to do so."""
        self.saved = None
        self._unwritten = True
        self._dirty.update(dict.fromkeys(self.share.own(self.window.resources, ranges)))
        self._defences.read(self.window.horizon_ns)

    def give_up(self) -> None:
        """Ranges have gone to others: what is theirs is neither judged nor waited for."""
        self._dirty = dict.fromkeys(self.share.own(self._dirty))
        self.waiting = {name: self.waiting[name] for name in self.share.own(self.waiting)}

    def covers(self, checkpoint: Checkpoint) -> bool:
        """Whether all that arrived after a checkpoint is kept here, or still to be read."""
        partly_ns = self.window.arrivals.partly_ns
        partly_ns += MS_NS if partly_ns else 0  # of that segment itself some may be gone
        begun_ns = max(self._opened_from_ns, partly_ns)
        return not came_between(self._store, checkpoint.cursor, begun_ns)

    def deaf(self) -> None:
        """The store could not be read for a while: nobody was silent meanwhile."""
        self.frontiers.deaf_until(self._clock.now_ns())

    def step(self) -> tuple[bool, list[Head]]:
        """Judge a portion of what is dirty, else read on; returns whether there is more to do, and what was written."""
        left_over = bool(self._dirty)
        if not left_over:
            self._pull()
        self._sort_dirty()
        written = self._judge_some() if self._dirty else []
        if not self._dirty:
            self._evict()
            self.checkpoint()
        if not (left_over or self._dirty or self.behind_ns or written):
            written = self._look_for_luck()
        return left_over or bool(self._dirty) or self.behind_ns > 0, written

    def checkpoint(self, *, now: bool = False) -> None:
        """Write how far all is done, every few seconds, or `now`."""
        now_ns = self._clock.now_ns()
        if not self._unwritten or self._dirty or not (now or now_ns - self._checkpoint_at_ns >= CHECKPOINT_EVERY_NS):
            return
        gone_ns = self.window.cut()
        checkpoint = Checkpoint(self.feed.cursor, self.window.horizon_ns, list(gone_ns), gone_ns)
        if 0 in self.share.ranges:
            write_checkpoint(self._store, self._name, checkpoint, now_ns)
        self.saved = checkpoint
        self._checkpoint_at_ns, self._unwritten = now_ns, False

    # -- what arrived ------------------------------------------------------------------------------------------------

    def _pull(self) -> bool:
        """Read on, several portions if much waits; returns whether anything had arrived."""
        rows = 0
        while (batch := self.feed.pull()) is not None:
            now_ns = self._clock.now_ns()
            self._unwritten = True
            rows += len(batch.rows)
            self._take(batch, now_ns)
            self.behind_ns = max(1, now_ns - max(batch.noted_ns.values())) if batch.more else 0
            if not batch.more or rows >= PORTIONS_MAX * self._limits.batch_rows_max:
                break
        now_ns = self._clock.now_ns()
        if batch is None:
            self.behind_ns = 0
        elif batch.more:
            self.frontiers.deaf_until(now_ns)
        self._settle(now_ns)
        return batch is not None

    def _take(self, batch: Batch, now_ns: int) -> None:
        """Take accesses and marks; marks say nothing of segments that are not read, so these are noted first."""
        for segment in batch.segments:
            self.frontiers.loaded(segment)
        opened = [opened_ns(number) for _, number in batch.segments]
        self._newest_ns = max(self._newest_ns, *opened)
        self.window.arrivals.begin(min(opened), max(opened), max(batch.noted_ns.values()))
        marks = [row for row in batch.rows if isinstance(row.item, Mark)]
        for row in sorted(marks, key=itemgetter(2)):
            assert isinstance(row.item, Mark)
            self.frontiers.saw(row.item, row.place[:2], now_ns)
        concerned = self._taken(batch.rows, now_ns)
        self._soil(concerned)
        self._press(self._hints.bearing_on(concerned))
        accesses = ((row.item.key, row.place) for row in batch.rows if isinstance(row.item, Access))
        self.window.arrivals.arrange({key: segment << ROW_BITS | row for key, (_, segment, row, *_) in accesses})
        self._soil(self.window.measure())
        self._soil(self._sieve.settle())
        for process in self._late:
            self._soil(self.window.of_process(process))
        self._late.clear()

    def _taken(self, rows: Sequence[Stored], now_ns: int) -> dict[str, None]:
        """Take accesses; the resources whose verdicts they may change."""
        frontiers = self.frontiers.frontiers()
        concerned: dict[str, None] = {}
        heard: set[str] = set()
        self.totals.rows += len(rows)
        for row in rows:
            access = row.item
            if access is None:
                self.totals.unreadable += 1
            elif not isinstance(access, Mark) and (found := self._add(access, row)):
                for name in found:
                    concerned[name] = None
                process = access.process.id
                heard.add(process)
                if access.end_ns < frontiers.get(process, 0):
                    self.totals.late += 1
                    self._late.add(process)  # it may close a gap that a mark told of
        for process in heard:
            self.frontiers.heard(process, now_ns)
        return concerned

    def _declared(self, row: StoredSpan) -> Access | Mark | None:
        item = decoded(row).item
        return as_declared(item, self._declarations) if isinstance(item, Access) else item

    def _add(self, access: Access, row: Stored) -> Iterable[str]:
        """Take an access; the resources whose verdicts it may change, none if it says nothing new."""
        window = self.window
        if self._declarations.declared:
            access = as_declared(access, self._declarations)
        again = window.has(access)
        if not again and window.is_past(access):
            self.totals.late_unchecked += 1
            return ()
        concerned = self._outlines.add(access, row) if self._is_shared else window.add(access)
        if concerned:
            self._sieve.add(access, again=again)
            self.totals.accesses += 1
            if self._reach:
                concerned = concerned | self._reach.of(access)
        return concerned

    def _settle(self, now_ns: int) -> None:
        """Let marks count, notice who fell silent, and find what that makes ready."""
        settled = self.frontiers.settle(now_ns)
        for mark in settled.marks:
            if self.window.mark(mark):
                self._soil(self.window.of_process(mark.process.id))
        silent = self.frontiers.silent(now_ns)
        for process in self.silent - silent:
            self._soil(self.window.of_process(process))
        moved = settled.moved | (silent - self.silent)
        self._soil(name for name, processes in self.waiting.items() if processes & moved)
        self.silent, self._settled_ns = silent, now_ns
        if self._clocks.asked:
            self._soil(self._clocks.outdated(now_ns, LiveCoverage(self.window, self.frontiers, now_ns, self._clocks)))
        if self._conflicts is not None and not self.share.is_all:
            self._soil(self._conflicts.hear(now_ns))
            self._press(self._hints.hear(now_ns, self._limits.kept_ns))

    def _press(self, resources: Iterable[str]) -> None:
        """Have one's own resources judged, whether or not they seem to need it."""
        own = self.share.own(resources)
        self._pressing.update(own)
        self._soil(own)

    def _soil(self, resources: Iterable[str]) -> None:
        self._dirty.update(dict.fromkeys(self.share.own(resources)))

    def _reaches_others(self, unit: str) -> bool:
        touched_by_it = self.window.of_unit(unit)
        return len(self.share.own(touched_by_it)) < len(touched_by_it)

    # -- what follows ------------------------------------------------------------------------------------------------

    def _sort_dirty(self) -> None:
        """Let go of what needs no judgement, though what was defended there is told."""
        if not self._dirty:
            return
        now_ns = self._clock.now_ns()
        self._standing.refresh(self.window.horizon_ns)
        quiet = [name for name in self._dirty if self._is_quiet(name)]
        self._defences.add([defended_as(*each) for name in quiet for each in self._sieve.defended(name)], now_ns)
        self.totals.quiet += len(quiet)
        self._latent.note(quiet, now_ns)
        for name in quiet:
            del self._dirty[name]
            self.waiting.pop(name, None)

    def _is_quiet(self, name: str) -> bool:
        if (
            not self._sifts
            or self.window.set_clocks
            or name in self._pressing
            or name in self.waiting
            or self._standing.has(name)
        ):
            return False
        return not self._sieve.needs_judgement(name)

    def _judge_some(self) -> list[Head]:
        """Judge a portion of what is dirty and write what follows; what failed to be written stays dirty."""
        now_ns = self._clock.now_ns()
        names = frozenset(list(self._dirty)[: self._limits.resources_max])
        self._standing.refresh(self.window.horizon_ns)
        # whoever fell silent since that was last looked at is not silent here: else nobody would judge it anew later
        coverage = LiveCoverage(self.window, self.frontiers, self._settled_ns, self._clocks)
        judged, evaluation = self._evaluated(names, coverage)
        written, changed = self._write(judged, evaluation, now_ns)
        self._remember(judged, evaluation)
        self._follow(judged, evaluation, changed, now_ns)
        self._hand_on(judged, evaluation, now_ns)
        return written

    def _evaluated(self, names: frozenset[str], coverage: LiveCoverage) -> tuple[frozenset[str] | None, Evaluation]:
        """What is made of some resources; the resources that were judged, None: all.

        A finding names what came of it, which may lie outside the view: then the view is widened and judged again.
        """
        asked = names | {access.resource for f in self._standing.of(names).values() for access in f.affected.accesses}
        asked |= self._conflicts.beside(names) if self._conflicts is not None else frozenset()
        for _ in range(REACH_ROUNDS):
            view = self._filled(asked)
            judged = None if view.resources is None else names
            if judged is None and not self.share.is_all:
                judged = frozenset(self.share.own(self.window.resources))
            evaluation = self._judging.safely(view, judged, names, coverage)
            reached = {access.resource for f in evaluation.findings for access in f.affected.accesses} - asked
            if judged is None or not reached:
                break
            asked |= reached
        return judged, evaluation

    def _filled(self, asked: Iterable[str]) -> View:
        """The view around some resources, with all accesses in it whole."""
        view = view_of(self.window, asked, self._limits.whole_max)
        while True:
            fetched, concerned = self._outlines.fill(self._store, view.accesses)
            if not fetched:
                return view
            self._soil(concerned)
            view = view_of(self.window, asked, self._limits.whole_max)

    def _follow(
        self, judged: frozenset[str] | None, evaluation: Evaluation, changed: Sequence[Finding], now_ns: int
    ) -> None:
        """Have others judged of which the last judgement would have said something, or whose accesses it accuses."""
        if judged is None:
            return
        hints, found = self._hints, {finding.id for finding in evaluation.findings}
        asked = hints.ask(evaluation.elsewhere, self._stands, self.window.changes, now_ns)
        self._press(asked | hints.answer(judged, found, now_ns) | hints.tell(changed, judged, now_ns))

    def _stands(self, hint: Hint) -> bool:
        finding = self._standing.of((hint.resource,)).get(hint.finding)
        return finding is not None and form_of_finding(finding) == hint.form

    def _hand_on(self, judged: frozenset[str] | None, evaluation: Evaluation, now_ns: int) -> None:
        """Tell others of the conflicts at one's own resources; judge again what a new ring runs through."""
        if self._conflicts is not None:
            own = (edge for edge in evaluation.edges if judged is None or edge.resource in judged)
            self._conflicts.tell(own, now_ns, alone=self.share.is_all)
            self._soil(self._conflicts.closed(now_ns))

    def _write(
        self, judged: frozenset[str] | None, evaluation: Evaluation, now_ns: int
    ) -> tuple[list[Head], list[Finding]]:
        """Write what follows from a judgement; the revisions, and the findings that accuse others than before."""
        standing = self._standing.of(judged)
        found = [
            each for each in evaluation.findings if each.id in standing or not self._judging.rests_on_the_past(each)
        ]
        changes = reconcile(
            replace(evaluation, findings=found),
            standing,
            holds=self._judging.holds_firmly,
            because=self._judging.because,
            discredited=self._judging.discredited,
        )
        for name in changes.contradicted:
            self.totals.contradicted += 1
            log.error(
                "a bug: the certain finding %s on %s was not found again; it stays", name, standing[name].resource
            )
        heads = self._ledger.write(changes.found, changes.gone, now_ns)
        self._standing.wrote(heads)
        self._reach.follow(changes.found, self.window.get)
        whole = self.window.resources if judged is None else judged
        self._defences.write(evaluation.defended, [n for n in whole if n not in self.window.trimmed], now_ns)
        self.totals.written += len(heads)
        self.totals.retracted += sum(head.status == "retracted" for head in heads)
        changed = [finding for finding in changes.found if turned(standing.get(finding.id), finding)]
        return heads, [*changed, *(standing[name] for name in changes.gone)]

    def _look_for_luck(self) -> list[Head]:
        """With nothing else to do: what nearly happened."""
        now_ns = self._clock.now_ns()

        def around(names: Iterable[str]) -> History:
            return self._judging.history(self._filled(names), LiveCoverage(self.window, self.frontiers, now_ns))

        heads = self._latent.look(around, self._standing, now_ns)
        self._standing.wrote(heads)
        return heads

    def _remember(self, judged: frozenset[str] | None, evaluation: Evaluation) -> None:
        self._latent.note(self.window.resources if judged is None else judged, self._clock.now_ns())
        if judged is None:
            self.waiting.clear()
            self._dirty.clear()
            self._pressing.clear()
        for name in judged or ():
            self.waiting.pop(name, None)
            self._dirty.pop(name, None)
            self._pressing.discard(name)
        self._sieve.judged(self.window.resources if judged is None else judged)
        self.waiting.update({name: of for name, of in evaluation.waiting.items() if of})
        self._clocks.asked = (set() if judged is None else self._clocks.asked - judged) | evaluation.measured

    def _evict(self) -> None:
        gone = self.window.evict(self._newest_ns - self._limits.kept_ns)
        if not gone.keys and len(self.window.processes) < PROCESSES_MAX:
            return
        self._unwritten = True
        self._outlines.forget(gone.keys)
        self._standing.forget(gone.resources)
        self._sieve.forget(gone.resources)
        self._defences.forget(gone.keys, gone.resources)
        self._clocks.asked -= gone.resources
        self._reach.forget(gone.resources)
        for name in gone.resources:
            self.waiting.pop(name, None)
        self.frontiers.forget(self.window.forget_ended(self.frontiers.ended() | self.silent))
