"""How complete the record is, and which verdicts that weakens.

What was captured is evidence whatever else is missing; only a verdict that rests on an *absence* ("nobody else wrote
in between") needs the record to be complete there. Processes say how far they are complete (frontiers in marks), what
they had to drop, and number their accesses by strand, so that a hole shows. A `Gap` is such a lack with the time that
it covers; `Coverage.absence` says for one resource and one moment which gaps stand in the way and which processes
may still send something.

Source: contract 2.2 (complete up to), analysis.md 4 (frontiers, silent processes, files).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from noclobber.contract import CONTRACT_VERSION, FRONTIER_END
from noclobber_analyzer.access import Access, Mark, Process
from noclobber_analyzer.clock_bounds import ClockBounds

__all__ = [
    "LACKS_MAX", "UNRETURNED_NS", "Absence", "Coverage", "Gap", "Gaps", "Lack", "drops", "holes", "in_clock_of",
    "measure", "tail", "who",
]  # fmt: skip

UNRETURNED_NS: Final = 6_000_000_000
"""How far a process's frontier must be past a moment until each call that was under way then has returned, or was sent
open (after 5 s, contract 2): with a second for it to be noticed."""
UNENDED_NS: Final = 600_000_000_000
"""How far a process's frontier must be past a transaction's access until nobody waits for its end any more."""
LACKS_MAX: Final = 16
"""Lacks that one verdict names; any one of them lowers it, more of them lower it no further."""
LOOKED_AT_MAX: Final = 256
"""Gaps of one process that are looked at for one verdict, the latest first."""


class Lack(Enum):
    """How accesses went missing."""

    HOLE = "a number of a strand is missing"
    ORPHAN = "nothing of a strand's parent arrived"
    DROP = "the process had to drop them"
    TAIL = "the process counted more than arrived"


class Gap(NamedTuple):
    """Accesses that a process made and nobody captured.

    Attributes:
        process: whose. strand: on which strand; None: any of the process.
        after_ns, before_ns: they were made in between, as the process's clock recorded it.
        text: what is missing, for people.
        lost: how many; 0 where unknown.
        lack: how they went missing.
    """

    process: str
    strand: str | None
    after_ns: int
    before_ns: int
    text: str
    lost: int
    lack: Lack = Lack.HOLE


class Gaps:
    """The gaps of one process by time, so that a verdict looks only at those that may concern it."""

    def __init__(self, gaps: Iterable[Gap]) -> None:
        self._gaps = sorted(gaps, key=lambda gap: (gap.after_ns, gap.before_ns, gap.text))
        self._longest: list[int] = []
        for place, gap in enumerate(self._gaps):
            before = self._longest[-1] if place else 0
            self._longest.append(place if gap.before_ns >= self._gaps[before].before_ns else before)

    def __bool__(self) -> bool:
        return bool(self._gaps)

    def concerning(self, after_ns: int | None, before_ns: int | None) -> list[Gap]:
        """Gaps that may hide an access between two times, the latest first, up to a limit; None: at no known time.

        Any strand's gap counts, also that of one that is not known to have touched the resource: what was lost may
        have. Where the limit is reached the one that lasts longest is among them.
        """
        upto = len(self._gaps)
        if before_ns is not None:
            upto = bisect_right(self._gaps, before_ns, key=lambda gap: gap.after_ns)
        found: list[Gap] = []
        for place in range(upto - 1, -1, -1):
            longest = self._gaps[self._longest[place]]
            if after_ns is not None and longest.before_ns < after_ns:
                break  # all before it are over, too
            if upto - place > LOOKED_AT_MAX or len(found) >= LACKS_MAX - 1:
                return [*found, longest]
            if after_ns is None or self._gaps[place].before_ns >= after_ns:
                found.append(self._gaps[place])
        return found


class Absence(NamedTuple):
    """What stands between a verdict and the claim that nothing else happened; both empty: the record is complete.

    Attributes:
        missing: what will never be known, as things to mend.
        waiting: ids of processes that have not yet said that they are complete up to there.
    """

    missing: tuple[str, ...]
    waiting: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.missing and not self.waiting


class Coverage:
    """The state of the record of one history.

    Attributes:
        lost_spans: accesses known to have been made and not captured.
        partial: accesses that say of themselves that their capture is incomplete, and spans that could not be read.
        mixed_versions: contract versions other than ours, or all of them where there are several.
        unknown: sentences about what could not be judged, for the summary.
    """

    def __init__(self) -> None:
        self.lost_spans = 0
        self.partial = 0
        self.mixed_versions: tuple[str, ...] = ()
        self.unknown: list[str] = []
        self.gaps: list[Gap] = []
        self.frontiers: dict[str, int] = {}
        self.silent: frozenset[str] = frozenset()
        self.ended = True
        self._touching: Mapping[str, Collection[str]] = {}
        self._processes: dict[str, Process] = {}
        self._gaps_of: dict[str, Gaps] = {}
        self._wanting: dict[str, list[str]] = {}

    @property
    def is_whole(self) -> bool:
        """Whether no access of any process is known to be missing, whatever it touched."""
        return not self.gaps and not self.lost_spans

    def may_still_end(self, *accesses: Access) -> Absence:
        """What a verdict waits for that rests on transactions whose ends have not been captured: they may still come.

        Args:
            accesses: the last known of each transaction.
        """
        return Absence((), tuple(sorted({a.process.id for a in accesses if self._may_still_end(a)})))

    def _may_still_end(self, access: Access) -> bool:
        if self.ended or access.process.id in self.silent:
            return False
        frontier = self.frontiers.get(access.process.id, 0)
        return frontier != FRONTIER_END and frontier < access.end_ns + UNENDED_NS

    def clock_bounds(self) -> ClockBounds | None:
        """The bounds of clocks, where somebody else has measured them over more than one history holds."""
        return None

    def absence(self, resource: str, start: Access, end: Access, *, unreturned: bool = False) -> Absence:
        """Whether everything that was done to a resource from the call of `start` to the return of `end` is known.

        Only processes known to have touched the resource count; a first touch that comes later amends.

        Args:
            resource: what was done something to.
            start: the first access of that time.
            end: the last one.
            unreturned: whether calls count, too, that took effect in that time and returned later.
        """
        missing: list[str] = []
        waiting: list[str] = []
        for process_id in self._wanting_at(resource):
            process = self._processes[process_id]
            after, before = in_clock_of(process, start, start.start_ns), in_clock_of(process, end, end.end_ns)
            if process_id in self._gaps_of:
                missing += [gap.text for gap in self._gaps_of[process_id].concerning(after, before)]
            later_ns = UNRETURNED_NS if unreturned and before is not None else 0
            self._frontier(process, before and before + later_ns, missing, waiting)
            if len(missing) >= LACKS_MAX:
                break
        return Absence(tuple(dict.fromkeys(missing))[:LACKS_MAX], tuple(waiting))

    def _wanting_at(self, resource: str) -> list[str]:
        """The processes that touched a resource and of whose record anything is missing, or may still come."""
        known = self._wanting.get(resource)
        if known is None:
            known = self._wanting[resource] = [
                name
                for name in sorted(self._touching.get(resource, {}))
                if name in self._gaps_of
                or self.frontiers.get(name, FRONTIER_END if self.ended else None) != FRONTIER_END
            ]
        return known

    def _frontier(self, process: Process, until_ns: int | None, missing: list[str], waiting: list[str]) -> None:
        frontier = self.frontiers.get(process.id)
        if frontier is None or frontier == FRONTIER_END:
            if frontier is None and not self.ended:
                waiting.append(process.id)
            return
        if until_ns is not None and frontier > until_ns:
            return
        if self.ended or process.id in self.silent:
            missing.append(f"the rest of {who(process)}: its record ends before this write")
        else:
            waiting.append(process.id)


def measure(
    strands: Mapping[str, Sequence[Access]],
    touching: Mapping[str, Collection[str]],
    processes: Mapping[str, Process],
    marks: Iterable[Mark],
    *,
    whole: bool,
    ended: bool,
    frontiers: Mapping[str, int] | None = None,
    silent: Iterable[str] = (),
    unreadable: int = 0,
) -> Coverage:
    """Find out how complete a history is.

    Args:
        strands: accesses by strand, ascending by `seq`.
        touching: for each resource, ids of the processes that touched it.
        processes: by id.
        marks: all marks seen.
        whole: the history starts where its processes started (files); else strands may begin anywhere (a window).
        ended: no more will come (files).
        frontiers: by process, where somebody else has worked them out; else the greatest of the marks.
        silent: processes that have stopped speaking.
        unreadable: spans that could not be decoded.
    """
    coverage = Coverage()
    coverage.ended, coverage.silent = ended, frozenset(silent)
    coverage._touching = touching
    coverage._processes = dict(processes)
    by_process: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        by_process[mark.process.id].append(mark)
    coverage.frontiers = dict(frontiers or {p: max(m.frontier_ns for m in ms) for p, ms in by_process.items()})
    received: dict[str, int] = defaultdict(int)
    for name, accesses in strands.items():
        received[accesses[0].process.id] += len(accesses)
        coverage.gaps += holes(name, accesses, whole=whole)
    coverage.gaps += _orphans(strands)
    gaps_of: dict[str, list[Gap]] = defaultdict(list)
    for gap in coverage.gaps:
        gaps_of[gap.process].append(gap)
    for process_id, own in by_process.items():
        more = drops(processes[process_id], own)
        if whole:
            more += tail(processes[process_id], own, received[process_id], gaps_of[process_id])
        gaps_of[process_id] += more
        coverage.gaps += more
    coverage._gaps_of = {name: Gaps(gaps) for name, gaps in gaps_of.items() if gaps}
    coverage.lost_spans = _lost(gaps_of)
    coverage.partial = unreadable + sum(a.partial for accesses in strands.values() for a in accesses)
    coverage.mixed_versions = _versions(processes.values())
    coverage.unknown = _sentences(coverage, processes, by_process, unreadable)
    return coverage


def holes(strand: str, accesses: Sequence[Access], *, whole: bool) -> list[Gap]:
    """Numbers of a strand that are missing between its accesses, and before the first where the record is whole."""
    gaps = []
    before_seq, before_ns = (0, 0) if whole else (accesses[0].seq - 1, 0)
    for access in accesses:
        count = access.seq - before_seq - 1
        if count > 0:
            text = f"{count} lost span{'s' * (count > 1)} of strand {strand} (seq {before_seq + 1} to {access.seq - 1})"
            gaps.append(Gap(access.process.id, strand, before_ns, access.end_ns, text, count))
        before_seq, before_ns = max(access.seq, before_seq), access.start_ns
    return gaps


def _orphans(strands: Mapping[str, Sequence[Access]]) -> list[Gap]:
    """Strands whose parent is said to have made accesses of which none was captured."""
    first = {name: accesses[0] for name, accesses in strands.items() if accesses[0].strand_parent}
    return [
        Gap(
            a.process.id,
            a.strand,
            0,
            a.end_ns,
            f"the spans of strand {a.strand_parent}",
            a.strand_parent_seq,
            Lack.ORPHAN,
        )
        for a in first.values()
        if a.strand_parent and a.strand_parent_seq and a.strand_parent not in strands
    ]


def drops(process: Process, marks: Sequence[Mark]) -> list[Gap]:
    """What a process says that it had to drop, each since the mark before."""
    gaps, before, before_ns = [], 0, 0
    for mark in sorted(marks, key=lambda m: (m.time_ns, m.dropped)):
        if mark.dropped > before:
            text = f"{mark.dropped - before} accesses that {who(process)} had to drop"
            gaps.append(Gap(process.id, None, before_ns, mark.time_ns, text, mark.dropped - before, Lack.DROP))
            before = mark.dropped
        before_ns = mark.time_ns
    return gaps


def tail(process: Process, marks: Sequence[Mark], received: int, known: Sequence[Gap]) -> list[Gap]:
    """Accesses that the process counted and that no hole shows: lost at the end of a strand."""
    sent = max((mark.accesses or 0) for mark in marks)
    count = sent - received - sum(gap.lost for gap in known if gap.process == process.id and gap.strand is not None)
    if count <= 0:
        return []
    last = max(mark.time_ns for mark in marks)
    return [
        Gap(process.id, None, 0, last, f"{count} of the {sent} accesses that {who(process)} sent", count, Lack.TAIL)
    ]


def _lost(gaps_of: Mapping[str, Sequence[Gap]]) -> int:
    """Dropped accesses took sequence numbers, so they show as holes too: the greater number of the two counts."""
    total = 0
    for gaps in gaps_of.values():
        by_strand = sum(gap.lost for gap in gaps if gap.strand is not None)
        total += max(by_strand, sum(gap.lost for gap in gaps if gap.strand is None))
    return total


def _versions(processes: Iterable[Process]) -> tuple[str, ...]:
    found = sorted({process.contract for process in processes if process.contract})
    return () if found in ([], [CONTRACT_VERSION]) else tuple(found)


def _sentences(
    coverage: Coverage, processes: Mapping[str, Process], marks: Mapping[str, Sequence[Mark]], unreadable: int
) -> list[str]:
    said = []
    if unreadable:
        said.append(f"{unreadable} spans of noclobber's lack what every access must have, and were left out")
    unmarked = [process for name, process in processes.items() if name not in marks]
    if unmarked and coverage.ended:
        names = ", ".join(who(process) for process in sorted(unmarked, key=lambda p: p.id)[:3])
        rest = f" and {len(unmarked) - 3} more" if len(unmarked) > 3 else ""
        said.append(
            f"no frontier stands behind {names}{rest}: the end of the input was taken for the end of the record"
        )
    if coverage.mixed_versions and coverage.mixed_versions != (CONTRACT_VERSION,):
        said.append(f"spans speak contract {', '.join(coverage.mixed_versions)}: what is not understood was left out")
    return said


def in_clock_of(process: Process, access: Access, time_ns: int) -> int | None:
    """A time of an access, on the clock of a process; None if the two clocks do not compare."""
    if access.process.id == process.id:
        return time_ns if access.process.clock == process.clock else None  # that was set (`clock_steps`)
    if process.clock is not None and process.clock == access.process.clock:
        return time_ns - access.process.clock_offset_ns + process.clock_offset_ns
    if process.clock is None and access.process.clock is None and process.host and process.host == access.process.host:
        return time_ns
    return None


def who(process: Process) -> str:
    """A process as people know it."""
    name = process.service or "a process"
    return f"{name} (pid {process.pid})" if process.pid is not None else f"{name} ({process.id[:8]})"
