"""Up to where is each process complete: what its marks say, once they count.

A mark says that every access of its process that ended before its frontier has been acknowledged. It counts once,
for every collector, the segment that was open there when the mark was first seen has been loaded: what was
acknowledged before the mark was sent lies in such a segment, and no clocks are compared. One collector loads in
order, so with a single one a mark counts as soon as it is read; another one that loads nothing for a while has
nothing, or is cut off.

A process without a mark for 10 s that did not end in order is silent: verdicts that would wait for it are given one
grade lower, and amended when it speaks again. Between clocks that do not compare a frontier says nothing about the
time of a foreign access; there three marks in a row do: if the first stands in a segment opened after that access
was loaded and the third one's frontier is past the second one's own time, the second was made after the first was
acknowledged, so everything before that access is here.

Source: analysis.md 4. What a frontier means for a verdict is decided in `coverage`.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.access import Mark
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.cursor import SegmentId, opened_ns

__all__ = ["Frontiers", "Settled"]

SILENT_NS = 10 * SECOND_NS
MARKS_KEPT = 8
"""Marks of a process that wait for other collectors, at most; of more the oldest count for nothing."""


@dataclass(slots=True)
class _Speaker:
    heard_ns: int = 0
    frontier_ns: int | None = None
    waiting: list[tuple[Mark, SegmentId, int]] = field(default_factory=list)
    last: list[tuple[int, int, int]] = field(default_factory=list)
    arrived_ns: int = 0


class Settled(NamedTuple):
    """What came to count.

    Attributes:
        marks: those that count from now on, in cursor order for each process.
        moved: processes that are complete further than before.
    """

    marks: list[Mark]
    moved: set[str]


class Frontiers:
    """How far each process is complete, fed with marks in cursor order.

    Args:
        silent_ns: without a mark for this long a process is silent.
    """

    def __init__(self, silent_ns: int = SILENT_NS) -> None:
        self._silent_ns = silent_ns
        self._speakers: dict[str, _Speaker] = defaultdict(_Speaker)
        self._loaded: dict[str, int] = {}
        self._reading_since_ns = 0

    def deaf_until(self, now_ns: int) -> None:
        """Until now marks may have been sent that could not be read: nobody was silent before."""
        self._reading_since_ns = max(now_ns, self._reading_since_ns)

    def loaded(self, segment: SegmentId) -> None:
        """A segment has been read."""
        name, number = segment
        self._loaded[name] = max(number, self._loaded.get(name, 0))

    def heard(self, process: str, now_ns: int) -> None:
        """An access of a process has been read: from now on it has to speak."""
        speaker = self._speakers[process]
        speaker.heard_ns = speaker.heard_ns or now_ns

    def saw(self, mark: Mark, segment: SegmentId, now_ns: int) -> None:
        """A mark has been read; `now_ns` is wall time."""
        speaker = self._speakers[mark.process.id]
        speaker.heard_ns = now_ns
        speaker.waiting = [*speaker.waiting, (mark, segment, now_ns)][-MARKS_KEPT:]

    def settle(self, now_ns: int) -> Settled:
        """Let marks count whose time has come."""
        settled = Settled([], set())
        for process, speaker in self._speakers.items():
            counting = [entry for entry in speaker.waiting if self._counts(entry, now_ns)]
            speaker.waiting = [entry for entry in speaker.waiting if entry not in counting]
            for mark, segment, _ in counting:
                settled.marks.append(mark)
                if self._advance(speaker, mark, segment):
                    settled.moved.add(process)
        return settled

    def _counts(self, entry: tuple[Mark, SegmentId, int], now_ns: int) -> bool:
        _, (own, _), seen_ns = entry
        others = (number for name, number in self._loaded.items() if name != own)
        return now_ns - seen_ns >= self._silent_ns or all(opened_ns(number) > seen_ns for number in others)

    def _advance(self, speaker: _Speaker, mark: Mark, segment: SegmentId) -> bool:
        before = (speaker.frontier_ns, speaker.arrived_ns)
        speaker.frontier_ns = max(mark.frontier_ns, speaker.frontier_ns or 0)
        speaker.last = [*speaker.last, (opened_ns(segment[1]), mark.time_ns, mark.frontier_ns)][-3:]
        if len(speaker.last) == 3 and speaker.last[2][2] > speaker.last[1][1]:
            speaker.arrived_ns = max(speaker.arrived_ns, speaker.last[0][0])
        return before != (speaker.frontier_ns, speaker.arrived_ns)

    def frontiers(self) -> dict[str, int]:
        """By process: every access that ended before is here; `FRONTIER_END`: all are."""
        return {name: of.frontier_ns for name, of in self._speakers.items() if of.frontier_ns is not None}

    def arrivals(self) -> Mapping[str, int]:
        """By process: whatever it did before an access that was loaded before this wall time is here."""
        return {name: of.arrived_ns for name, of in self._speakers.items() if of.arrived_ns}

    def silent(self, now_ns: int) -> frozenset[str]:
        """Processes that have stopped speaking, and did not end in order."""
        return frozenset(
            name
            for name, of in self._speakers.items()
            if of.frontier_ns != FRONTIER_END and now_ns - max(of.heard_ns, self._reading_since_ns) >= self._silent_ns
        )

    def ended(self) -> frozenset[str]:
        """Processes of which nothing more comes."""
        return frozenset(name for name, of in self._speakers.items() if of.frontier_ns == FRONTIER_END)

    def forget(self, processes: set[str]) -> None:
        """Drop processes of which nothing is kept any more."""
        for process in processes:
            self._speakers.pop(process, None)
