"""What a window knows of one strand and of one process: their accesses in order, and what is missing between them.

Source: analysis.md 4 (holes, drops) and 9 (what fell out of the kept history).
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from operator import attrgetter

from noclobber_analyzer.access import Access, Mark, Process
from noclobber_analyzer.clock_steps import runs_backwards
from noclobber_analyzer.coverage import Gap, holes

__all__ = ["ProcessLine", "StrandLine"]

_by_seq = attrgetter("seq", "key")


@dataclass(slots=True)
class StrandLine:
    """One strand.

    Attributes:
        accesses: those that are kept, by `seq`. gaps: the holes between them.
        cut: whether its beginning fell out.
        torn_seq: the greatest number of those that fell out and were not its first;
            0: none did.
        of: the process whose accesses these are.
        called_ns: the latest call that came in its turn. backwards: whether its times contradict its numbers.
    """

    accesses: list[Access] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    cut: bool = False
    torn_seq: int = 0
    of: "ProcessLine | None" = None
    called_ns: int = 0
    backwards: bool = False

    def add(self, access: Access) -> bool:
        """Take an access; returns whether holes and times have to be looked at anew."""
        if self.accesses and self.accesses[-1].seq + 1 == access.seq:
            self.accesses.append(access)
            start_ns = access.start_ns
            if start_ns >= self.called_ns:
                self.called_ns = start_ns
                return False
            return not self.backwards and access.end_ns < self.called_ns
        insort(self.accesses, access, key=_by_seq)
        return True

    def drop(self, access: Access) -> None:
        """Let an access go."""
        if self.accesses and self.accesses[0] is access:
            del self.accesses[0]
            return
        self.torn_seq = max(self.torn_seq, access.seq)
        at = bisect_left(self.accesses, _by_seq(access), key=_by_seq)
        if at < len(self.accesses) and self.accesses[at] is access:
            del self.accesses[at]

    def cut_off(self) -> None:
        """Its beginning fell out: before what is left nothing is missing any more."""
        self.cut = True
        if self.gaps or (self.accesses and self.accesses[0].seq < self.torn_seq):
            self.measure()
        self.torn_seq = 0

    def measure(self) -> bool:
        """Find the holes anew, and whether times run backwards; returns whether the holes changed."""
        before, self.torn_seq = self.gaps, 0
        self.gaps = holes(self.accesses[0].strand, self.accesses, whole=not self.cut) if self.accesses else []
        self.called_ns = max((access.start_ns for access in self.accesses), default=0)
        self.backwards = self.backwards or runs_backwards(self.accesses)
        return before != self.gaps


@dataclass(slots=True)
class ProcessLine:
    """What is known of one process: its strands, how many accesses it sent, and what its marks say of losses.

    Once accesses of it fell out (`cut`), a strand that begins in the middle proves no loss, and neither does a count.
    `gone_ns` is the latest return of those that did: what comes with an earlier one has lost its neighbours.
    """

    process: Process
    strands: set[str] = field(default_factory=set)
    received: int = 0
    marks: list[Mark] = field(default_factory=list)
    cut: bool = False
    gone_ns: int = 0
