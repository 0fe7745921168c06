"""Is there a path from one access to another? A lazy search backwards over the edges between strands.

Only edges between strands are kept, by the strand that they lead into. A search starts at the later access and knows
for each strand the latest number that reaches it. Each end of an edge has a rank, the length of the longest path to
it: a path only ever climbs, so what ranks no lower than the target is never searched for, and edges that start below
the source are never followed. Edges that run in a circle tell of broken capture; then, and where there are very many,
there are no ranks, and the limit alone ends a search. A search that spends its limit answers `UNKNOWN`, never "no".

Source: analysis.md 3.2 (method and measurements).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

__all__ = ["RANKED_MAX", "SEARCH_LIMIT", "Answer", "Edge", "Into", "Paths"]

SEARCH_LIMIT: Final = 4096
"""Edges that one search may follow."""
RANKED_MAX: Final = 250_000
"""Edges that are ranked: a rank costs some hundred bytes."""

_Point = tuple[str, int]
"""A strand, and the number of an access at which an edge starts or ends."""


class Answer(Enum):
    """What a search can say."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Edge(NamedTuple):
    """From up to `source_seq` of a strand, into its own strand at `seq`."""

    seq: int
    source: str
    source_seq: int
    type: str


Into = Mapping[str, Sequence[Edge]]
"""Edges by the strand that they lead into, ascending."""

_by_seq = attrgetter("seq")


class _Ranks(NamedTuple):
    """How long the longest path to each end of an edge is.

    Attributes:
        of_source: of each edge's start, parallel to the edges into a strand.
        highest: of the ends of edges into a strand, each with those before it, parallel to them.
        starts: by strand the numbers at which edges start, ascending, and their ranks.
    """

    of_source: dict[str, list[int]]
    highest: dict[str, list[int]]
    starts: dict[str, tuple[list[int], list[int]]]


class Paths:
    """The paths over some edges.

    Attributes:
        into: the edges.
        steps: edges followed so far, by all searches. spent: searches that stopped at their limit.
    """

    def __init__(self, into: Into) -> None:
        self.into = into
        self.steps = 0
        self.spent = 0
        self._left_open: set[tuple[str, str]] = set()

    def search(self, strand: str, seq: int, to: str, to_seq: int) -> Answer:
        """Whether number `to_seq` of one strand comes after number `seq` of another. O(limit)."""
        if strand == to:
            return Answer.YES if seq < to_seq else Answer.NO
        if to not in self.into:
            return Answer.NO
        least = self._least(strand, seq, to, to_seq)
        if least is None:
            return Answer.NO
        ranks = self._ranks.of_source if self._ranks is not None else {}
        done: dict[str, int] = {}
        work = [(to, to_seq)]
        steps = 0
        while work:
            at, upto = work.pop()
            seen = done.get(at, -1)
            if upto <= seen:
                continue
            done[at] = upto
            edges, rank_of = self.into.get(at, ()), ranks.get(at)
            low, high = (bisect_right(edges, number, key=_by_seq) for number in (seen, upto))
            for place in range(high - 1, low - 1, -1):  # by place: a strand that joined thousands is not copied
                steps += 1
                if steps > SEARCH_LIMIT:
                    self.steps += steps
                    self.spent += 1
                    self._left_open.add((strand, to))
                    return Answer.UNKNOWN
                if rank_of is not None and rank_of[place] < least:
                    continue
                edge = edges[place]
                if edge.source == strand and edge.source_seq >= seq:
                    self.steps += steps
                    return Answer.YES
                work.append((edge.source, edge.source_seq))
        self.steps += steps
        return Answer.NO

    def is_left_open(self, one: str, other: str) -> bool:
        """Whether a search between two strands stopped at its limit: what they did may be ordered."""
        return bool(self._left_open) and not self._left_open.isdisjoint(((one, other), (other, one)))

    def _least(self, strand: str, seq: int, to: str, to_seq: int) -> int | None:
        """The rank at which a path from the one to the other starts; None: there can be none."""
        if self._ranks is None:
            return -1
        numbers, ranks = self._ranks.starts.get(strand, ([], []))
        first = bisect_left(numbers, seq)
        last = bisect_right(self.into[to], to_seq, key=_by_seq)
        if first == len(numbers) or last == 0 or ranks[first] >= self._ranks.highest[to][last - 1]:
            return None
        return ranks[first]

    @cached_property
    def _ranks(self) -> _Ranks | None:
        """The ranks; None where the edges run in a circle, or are too many."""
        if sum(map(len, self.into.values())) > RANKED_MAX:
            return None
        rank = _ranked(self.into)
        if rank is None:
            return None
        of_source = {to: [rank[e.source, e.source_seq] for e in edges] for to, edges in self.into.items()}
        highest = {to: [rank[to, e.seq] for e in edges] for to, edges in self.into.items()}  # they only grow
        numbers: dict[str, set[int]] = defaultdict(set)
        for edges in self.into.values():
            for edge in edges:
                numbers[edge.source].add(edge.source_seq)
        starts = {
            strand: (in_order := sorted(own), [rank[strand, number] for number in in_order])
            for strand, own in numbers.items()
        }
        return _Ranks(of_source, highest, starts)


def _ranked(into: Into) -> dict[_Point, int] | None:
    """The length of the longest path to each end of an edge; None where a path leads back to itself. Linear."""
    following: dict[_Point, list[_Point]] = defaultdict(list)
    points: dict[str, set[int]] = defaultdict(set)
    for to, edges in into.items():
        for edge in edges:
            points[to].add(edge.seq)
            points[edge.source].add(edge.source_seq)
            following[edge.source, edge.source_seq].append((to, edge.seq))
    for strand, numbers in points.items():
        in_order = sorted(numbers)
        for one, other in pairwise(in_order):
            following[strand, one].append((strand, other))
    return _levels(((strand, number) for strand, own in points.items() for number in own), following)


def _levels(points: Iterable[_Point], following: Mapping[_Point, Sequence[_Point]]) -> dict[_Point, int] | None:
    """Kahn's algorithm, which is left with points on its hands where there is a circle."""
    rank = dict.fromkeys(points, 0)
    waiting: dict[_Point, int] = defaultdict(int)
    for targets in following.values():
        for point in targets:
            waiting[point] += 1
    work = [point for point in rank if not waiting.get(point)]
    done = 0
    while work:
        point = work.pop()
        done += 1
        for after in following.get(point, ()):
            rank[after] = max(rank[after], rank[point] + 1)
            waiting[after] -= 1
            if waiting[after] == 0:
                work.append(after)
    return rank if done == len(rank) else None
