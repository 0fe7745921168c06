"""Is there a path from one access to another? A lazy search backwards over the edges between strands.

Only edges between strands are kept, by the strand that they lead into. A search starts at the later access and knows
for each strand the latest number that reaches it. Each end of an edge has a rank, the length of the longest path to
it: a path only ever climbs, so what ranks no lower than the target is never searched for, and edges that start below
the source are never followed. Ranks are made once searches have followed many edges, or one has spent its limit. Edges
that run in a circle tell of broken capture; then, and where there are very many, there are no ranks, and the limit
alone ends a search. A search that spends its limit answers `UNKNOWN`, never "no".

Source: analysis.md 3.2 (method and measurements).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from itertools import count, pairwise
from operator import attrgetter
from typing import Final, NamedTuple

__all__ = ["RANKED_AFTER", "RANKED_MAX", "SEARCH_LIMIT", "Answer", "Edge", "Into", "Paths"]

SEARCH_LIMIT: Final = 4096
"""Edges that one search may follow."""
RANKED_AFTER: Final = 10_000
"""Edges that searches follow before it is worth while to rank them all."""
RANKED_MAX: Final = 250_000
"""Edges that are ranked: a rank costs some hundred bytes."""


_Point = tuple[str, int]
"""A strand and a number of it."""


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
        if self.steps <= RANKED_AFTER:
            answer = self._walk((strand, seq), (to, to_seq), -1, {})
            if answer is not Answer.UNKNOWN:
                return answer
        ranks = self._ranks
        least = self._least(ranks, (strand, seq), (to, to_seq)) if ranks is not None else -1
        if least is None:
            return Answer.NO
        answer = self._walk((strand, seq), (to, to_seq), least, ranks.of_source if ranks is not None else {})
        if answer is Answer.UNKNOWN:
            self.spent += 1
            self._left_open.add((strand, to))
        return answer

    def _walk(self, source: _Point, target: _Point, least: int, ranks: Mapping[str, Sequence[int]]) -> Answer:
        """Follow edges backwards, those that start below a rank left out."""
        strand, seq = source
        done: dict[str, int] = {}
        work = [target]
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

    def _least(self, ranks: _Ranks, source: _Point, target: _Point) -> int | None:
        """The rank at which a path from the one to the other starts; None: there can be none."""
        (strand, seq), (to, to_seq) = source, target
        numbers, own = ranks.starts.get(strand, ([], []))
        first = bisect_left(numbers, seq)
        last = bisect_right(self.into[to], to_seq, key=_by_seq)
        if first == len(numbers) or last == 0 or own[first] >= ranks.highest[to][last - 1]:
            return None
        return own[first]

    @cached_property
    def _ranks(self) -> _Ranks | None:
        """The ranks; None where the edges run in a circle, or are too many."""
        if sum(map(len, self.into.values())) > RANKED_MAX:
            return None
        ends = _ends(self.into)
        rank = _levels(self.into, ends)
        if rank is None:
            return None
        starts: dict[str, set[int]] = defaultdict(set)
        of_source: dict[str, list[int]] = {}
        highest: dict[str, list[int]] = {}
        for to, edges in self.into.items():
            own = ends[to]
            of_source[to] = [rank[ends[edge.source][edge.source_seq]] for edge in edges]
            highest[to] = [rank[own[edge.seq]] for edge in edges]  # they only grow
            for edge in edges:
                starts[edge.source].add(edge.source_seq)
        in_order = {strand: sorted(numbers) for strand, numbers in starts.items()}
        ranked = {strand: (own, [rank[ends[strand][seq]] for seq in own]) for strand, own in in_order.items()}
        return _Ranks(of_source, highest, ranked)


def _ends(into: Into) -> dict[str, dict[int, int]]:
    """The numbers at which edges start or end, by strand, ascending; each with a place of its own in one row."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for to, edges in into.items():
        numbers[to].update(edge.seq for edge in edges)
        for edge in edges:
            numbers[edge.source].add(edge.source_seq)
    place = count()
    return {strand: {number: next(place) for number in sorted(own)} for strand, own in numbers.items()}


def _levels(into: Into, ends: Mapping[str, Mapping[int, int]]) -> list[int] | None:
    """For each end the length of the longest path to it; None where a path leads back to itself.

    Kahn's algorithm, which is left with ends on its hands where there is a circle. Linear.
    """
    total = sum(map(len, ends.values()))
    following: list[list[int]] = [[] for _ in range(total)]
    waiting = [0] * total
    for own in ends.values():
        for one, other in pairwise(own.values()):
            following[one].append(other)
            waiting[other] += 1
    for to, edges in into.items():
        own = ends[to]
        for edge in edges:
            target = own[edge.seq]
            following[ends[edge.source][edge.source_seq]].append(target)
            waiting[target] += 1
    rank = [0] * total
    work = [place for place, others in enumerate(waiting) if not others]
    done = 0
    while work:
        at = work.pop()
        done += 1
        least = rank[at] + 1
        for after in following[at]:
            rank[after] = max(rank[after], least)
            waiting[after] -= 1
            if not waiting[after]:
                work.append(after)
    return rank if done == total else None
