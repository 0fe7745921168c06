"""Happens-before as a graph that can be asked: was b made to wait for a, or could b know of a?

*Sync order* is program order, spawn, join, messages and locks: somebody was made to wait. *Know order* adds reads-from:
whoever read a version knew of the write, though nothing synchronised the two; it never makes a pair "synchronised".
No graph of all accesses is built. Only edges between strands are kept, and a question is answered by a lazy search
(`paths`). A search that spends its limit answers `UNKNOWN`, never "not ordered".

What the edges are stands in `edges`. Clocks are a separate witness (`clocks`): `before` tells which of the two spoke.
A write whose outcome is unknown may take effect at any time after its call, so nothing comes after it for sure.

Source: analysis.md 3 (method and measurements), contract 2.2. "Not ordered" proves concurrency only where the capture
is complete; that is decided by `coverage`.
"""

from bisect import bisect_right
from collections import defaultdict
from enum import Enum
from functools import cached_property
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.edges import edges_into
from noclobber_analyzer.history import History
from noclobber_analyzer.paths import Answer, Edge, Into, Paths

__all__ = ["Answer", "By", "Order"]

REASONS_MAX: Final = 64
"""Edges into a strand among which the one is looked for that made it wait: the last ones."""
WRITES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})


class By(Enum):
    """What puts one access before another."""

    SYNC = "sync"
    CLOCK = "clock"
    MEASURED = "measured"  # only by a measured bound of two clocks; `Order` never says so (see `Evidence`)


class Order:
    """The order of one history's accesses."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._sync = Paths(history.synchronised() if history.synchronised is not None else edges_into(history))

    @cached_property
    def _know(self) -> Paths:
        return Paths(_with_reads_from(self._history, self._sync.into))

    @cached_property
    def _without_locks(self) -> Paths:
        into = {strand: [edge for edge in edges if edge.type != "lock"] for strand, edges in self._sync.into.items()}
        return Paths(into)

    @property
    def steps(self) -> int:
        """Edges followed so far, by all searches."""
        return sum(paths.steps for paths in self._asked())

    @property
    def spent(self) -> int:
        """Searches that stopped at their limit."""
        return sum(paths.spent for paths in self._asked())

    def _asked(self) -> list[Paths]:
        """The paths that anybody has asked for; asking must not build them."""
        found = (self._sync, self.__dict__.get("_know"), self.__dict__.get("_without_locks"))
        return [paths for paths in found if paths is not None]

    def before(self, one: Access, other: Access) -> By | None:
        """What proves that `one` had taken effect before `other` was called; None: nothing does."""
        if one.open or (one.outcome is Outcome.UNKNOWN and one.op in WRITES):
            return None
        if one.strand == other.strand:
            return By.SYNC if one.seq < other.seq else None
        if clock_before(one, other):
            return By.CLOCK
        if clock_before(other, one):
            return None  # the other way round; a path against a clock would be broken capture
        return By.SYNC if self.path(one, other) is Answer.YES else None

    def path(self, one: Access, other: Access, *, know: bool = False, locks: bool = True) -> Answer:
        """Whether `other` comes after `one` in sync order (with `know` in know order, or not by locks). O(limit)."""
        paths = self._know if know else self._sync
        return (paths if locks else self._without_locks).search(one.strand, one.seq, other.strand, other.seq)

    def is_left_open(self, one: Access, other: Access) -> bool:
        """Whether a search between the strands of two accesses stopped at its limit: they may be ordered."""
        return any(paths.is_left_open(one.strand, other.strand) for paths in self._asked())

    def ordered(self, one: Access, other: Access) -> bool:
        """Whether sync order puts the two in some order."""
        return self.path(one, other) is Answer.YES or self.path(other, one) is Answer.YES

    def reason(self, one: Access, other: Access) -> str:
        """The type of the last edge between two strands on the path from `one`; program order within one."""
        if one.strand == other.strand:
            return "program"
        edges = self._sync.into.get(other.strand, ())
        upto = bisect_right(edges, other.seq, key=lambda edge: edge.seq)
        for place in range(upto - 1, max(-1, upto - 1 - REASONS_MAX), -1):
            edge = edges[place]
            if (
                edge.source == one.strand
                or self._sync.search(one.strand, one.seq, edge.source, edge.source_seq) is Answer.YES
            ):
                return edge.type
        return "order"


def _with_reads_from(history: History, into: Into) -> Into:
    """Sync edges and reads-from: the unique, not weak write of a version, to whoever read it on that resource.

    Of a part of a history only those from writes whose versions their commits told: the whole knows the others better.
    """
    known: dict[str, list[Edge]] = defaultdict(list, {strand: list(edges) for strand, edges in into.items()})
    for strand, seq, source, source_seq in history.read_from() if history.read_from is not None else ():
        known[strand].append(Edge(seq, source, source_seq, "reads-from"))
    for name, accesses in history.resources.items():
        if name in history.trimmed:
            continue  # another maker of a version may be among what is not here
        makers: dict[str, Access | None] = {}
        for access in accesses:
            if access.op in WRITES and access.written is not None and not access.weak:
                makers[access.written] = None if access.written in makers else access
        for access in accesses:
            if access.op is Op.READ and access.read is not None and not access.weak:
                maker = makers.get(access.read)
                if maker is None or (history.read_from is not None and maker.name not in history.completed):
                    continue
                if maker.strand != access.strand:
                    known[access.strand].append(Edge(access.seq, maker.strand, maker.seq, "reads-from"))
    for edges in known.values():
        edges.sort()
    return known
