"""Is there a path from one access to another? A lazy search backwards over the edges between strands.

Only edges between strands are kept, by the strand that they lead into. A search starts at the later access and knows
for each strand the latest number that reaches it. Each end of an edge has a rank, the length of the longest path to
it: a path only ever climbs, so what ranks no lower than the target is never searched for, and edges that start below
the source are never followed. Ranks are made once searches have followed many edges, or one has spent its limit. Edges
that run in a circle tell of broken capture; then, and where there are very many, there are no ranks, and the limit
alone ends a search. A search that spends its limit answers `UNKNOWN`, never "no".

Source: analysis.md 3.2 (method and measurements).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

__all__ = ["RANKED_AFTER", "RANKED_MAX", "SEARCH_LIMIT", "Answer", "Edge", "Into", "Paths"]

SEARCH_LIMIT: Final = 4096
"""Edges that one search may follow."""
RANKED_AFTER: Final = 10_000
"""Edges that searches follow before it is worth while to rank them all."""
RANKED_MAX: Final = 250_000
"""Edges that are ranked: a rank takes some ten bytes, and more while it is made."""


_Point = tuple[str, int]
"""A strand and a number of it."""


class Answer(Enum):
    """What a search can say."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Edge(msgspec.Struct, frozen=True, order=True, gc=False):
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

    of_source: Mapping[str, Sequence[int]]
    highest: Mapping[str, Sequence[int]]
    starts: Mapping[str, tuple[Sequence[int], Sequence[int]]]


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
        ends = _Ends(self.into)
        rank = _levels(ends)
        if rank is None:
            return None
        of_source, highest, at = {}, {}, 0
        for to, edges in self.into.items():
            own = slice(at, at + len(edges))
            of_source[to] = array("i", map(rank.__getitem__, ends.sources[own]))
            highest[to] = array("i", map(rank.__getitem__, ends.targets[own]))  # they only grow
            at += len(edges)
        starting = sorted(set(ends.sources))
        starts = {}
        for strand, numbers in ends.numbers.items():
            first = ends.first[strand]
            low, high = (bisect_left(starting, place) for place in (first, first + len(numbers)))
            own_starts = starting[low:high]
            starts[strand] = ([numbers[p - first] for p in own_starts], array("i", (rank[p] for p in own_starts)))
        return _Ranks(of_source, highest, starts)


class _Ends:
    """Where edges start and end: each end has a place in one row, strand after strand, ascending.

    Attributes:
        numbers: of each strand's ends. first: the place of a strand's first end. total: all places.
        sources, targets: the places of each edge's ends, in the order in which the edges are kept.
    """

    def __init__(self, into: Into) -> None:
        numbers: dict[str, set[int]] = defaultdict(set)
        for to, edges in into.items():
            own = numbers[to]
            for edge in edges:
                own.add(edge.seq)
                numbers[edge.source].add(edge.source_seq)
        self.numbers = {strand: sorted(own) for strand, own in numbers.items()}
        self.first: dict[str, int] = {}
        self.total = 0
        for strand, ordered in self.numbers.items():
            self.first[strand] = self.total
            self.total += len(ordered)
        self.sources, self.targets = array("i"), array("i")
        for to, edges in into.items():
            for edge in edges:
                self.sources.append(self._place(edge.source, edge.source_seq))
                self.targets.append(self._place(to, edge.seq))

    def _place(self, strand: str, number: int) -> int:
        return self.first[strand] + bisect_left(self.numbers[strand], number)


def _levels(ends: _Ends) -> Sequence[int] | None:
    """For each end the length of the longest path to it; None where a path leads back to itself.

    Kahn's algorithm, which is left with ends on its hands where there is a circle. Linear. From an end lead the edges
    that start there, and its strand.
    """
    total = ends.total
    waiting, out = (array("i", bytes(4 * total)) for _ in range(2))
    for source, target in zip(ends.sources, ends.targets, strict=True):
        out[source] += 1
        waiting[target] += 1
    upto = array("i", accumulate(out))  # the targets of each end stand together, up to there; filled from behind
    lead = array("i", bytes(4 * len(ends.sources)))
    for source, target in zip(ends.sources, ends.targets, strict=True):
        upto[source] -= 1
        lead[upto[source]] = target
    last = {ends.first[strand] + len(numbers) - 1 for strand, numbers in ends.numbers.items()}
    for place in range(total - 1):
        waiting[place + 1] += place not in last
    rank = array("i", bytes(4 * total))
    work = [place for place, others in enumerate(waiting) if not others]
    done = 0
    while work:
        at = work.pop()
        done += 1
        least = rank[at] + 1
        following = lead[upto[at] : upto[at] + out[at]]
        if at not in last:
            following.append(at + 1)
        for after in following:
            rank[after] = max(rank[after], least)
            waiting[after] -= 1
            if not waiting[after]:
                work.append(after)
    return rank if done == total else None
