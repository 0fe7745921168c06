"""Happens-before as a graph that can be asked: was b made to wait for a, or could b know of a?

*Sync order* is program order, spawn, join, messages and locks: somebody was made to wait. *Know order* adds reads-from:
whoever read a version knew of the write, though nothing synchronised the two; it never makes a pair "synchronised".
No graph of all accesses is built. Only edges between strands are kept, by the strand that they lead into, and a
question is answered by a lazy search backwards over strands, which knows for each strand the latest number that
reaches the target. A search that spends its limit answers `UNKNOWN`, never "not ordered".

Clocks are a separate witness (`clocks`): `before` tells which of the two spoke. A write whose outcome is unknown may
take effect at any time after its call, so nothing comes after it for sure.

Source: analysis.md 3 (method and measurements), contract 2.2. "Not ordered" proves concurrency only where the capture
is complete; that is decided by `coverage`.
"""

from bisect import bisect_right
from collections import defaultdict
from enum import Enum
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.history import History

__all__ = ["SEARCH_LIMIT", "Answer", "By", "Order"]

SEARCH_LIMIT: Final = 4096
"""Edges that one search may follow."""
WRITES: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})


_ALONE: Final = frozenset({Op.READ, Op.SCAN, Op.EFFECT, Op.MODEL, *WRITES})
"""Operations that make nobody wait."""


class Answer(Enum):
    """What a search can say."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class By(Enum):
    """What puts one access before another."""

    SYNC = "sync"
    CLOCK = "clock"


class _Edge(NamedTuple):
    """From up to `source_seq` of a strand, into its own strand at `seq`."""

    seq: int
    source: str
    source_seq: int
    type: str


_by_seq = attrgetter("seq")


class Order:
    """The order of one history's accesses.

    Attributes:
        steps: edges followed so far, by all searches.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._into: dict[str, list[_Edge]] = defaultdict(list)
        self._known: dict[str, list[_Edge]] | None = None
        self.steps = 0
        for edge in _sync_edges(history):
            self._into[edge[0]].append(edge[1])
        for edges in self._into.values():
            edges.sort()

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
        edges = self._edges(know=know) if locks else self._without_locks
        return self._search(one.strand, one.seq, other.strand, other.seq, edges)

    @cached_property
    def _without_locks(self) -> dict[str, list[_Edge]]:
        return {strand: [edge for edge in edges if edge.type != "lock"] for strand, edges in self._into.items()}

    def ordered(self, one: Access, other: Access) -> bool:
        """Whether sync order puts the two in some order."""
        return self.path(one, other) is Answer.YES or self.path(other, one) is Answer.YES

    def _edges(self, *, know: bool) -> dict[str, list[_Edge]]:
        if not know:
            return self._into
        if self._known is None:
            self._known = _with_reads_from(self._history, self._into)
        return self._known

    def _search(self, strand: str, seq: int, to: str, to_seq: int, into: dict[str, list[_Edge]]) -> Answer:
        if strand == to:
            return Answer.YES if seq < to_seq else Answer.NO
        done: dict[str, int] = {}
        work = [(to, to_seq)]
        steps = 0
        while work:
            at, upto = work.pop()
            seen = done.get(at, -1)
            if upto <= seen:
                continue
            done[at] = upto
            edges = into.get(at, ())
            low, high = (bisect_right(edges, number, key=_by_seq) for number in (seen, upto))
            for edge in reversed(edges[low:high]):
                steps += 1
                if edge.source == strand and edge.source_seq >= seq:
                    self.steps += steps
                    return Answer.YES
                if steps > SEARCH_LIMIT:
                    self.steps += steps
                    return Answer.UNKNOWN
                work.append((edge.source, edge.source_seq))
        self.steps += steps
        return Answer.NO

    def reason(self, one: Access, other: Access) -> str:
        """The type of the last edge between two strands on the path from `one`; program order within one."""
        if one.strand == other.strand:
            return "program"
        for edge in reversed(self._into.get(other.strand, ())):
            if edge.seq <= other.seq and (
                edge.source == one.strand
                or self._search(one.strand, one.seq, edge.source, edge.source_seq, self._into) is Answer.YES
            ):
                return edge.type
        return "order"


def _sync_edges(history: History) -> list[tuple[str, _Edge]]:
    edges: list[tuple[str, _Edge]] = []
    sends: dict[str, list[Access]] = defaultdict(list)
    receives: list[Access] = []
    locks: dict[str, list[Access]] = defaultdict(list)
    for access in history.accesses:
        if access.op in _ALONE and access.strand_parent is None and not access.links:
            continue
        if access.strand_parent and access.strand_parent_seq is not None:
            edges.append((access.strand, _Edge(access.seq, access.strand_parent, access.strand_parent_seq, "spawn")))
        if access.op is Op.SPAWN and access.strand_other:
            edges.append((access.strand_other, _Edge(0, access.strand, access.seq, "spawn")))
        elif access.op is Op.JOIN and access.strand_other and access.strand_other_seq is not None:
            edges.append((access.strand, _Edge(access.seq, access.strand_other, access.strand_other_seq, "join")))
        elif access.message is not None and access.op is Op.SEND:
            sends[access.message.id].append(access)
        elif access.message is not None and access.op is Op.RECEIVE:
            receives.append(access)
        elif access.op in (Op.LOCK, Op.UNLOCK) and access.lock is not None and access.outcome is Outcome.OK:
            locks[access.resource].append(access)
        for trace_id, span_id, kind in access.links:
            source = history.by_name.get((trace_id, span_id))
            if source is not None and source.strand != access.strand:
                edges.append((access.strand, _Edge(access.seq, source.strand, source.seq, kind or "message")))
    edges += _message_edges(sends, receives)
    for accesses in locks.values():
        edges += _lock_edges(accesses)
    return edges


def _message_edges(sends: dict[str, list[Access]], receives: list[Access]) -> list[tuple[str, _Edge]]:
    """A message is received after it was sent; with several sends of one id nobody knows after which."""
    edges = []
    for receive in receives:
        assert receive.message is not None
        sent = sends.get(receive.message.id, ())
        if len(sent) == 1 and sent[0].strand != receive.strand:
            edges.append((receive.strand, _Edge(receive.seq, sent[0].strand, sent[0].seq, "message")))
    return edges


def _lock_edges(accesses: list[Access]) -> list[tuple[str, _Edge]]:
    """Whoever takes the next fencing token was made to wait for the unlock of the one before."""
    unlocks: dict[int, Access] = {}
    tokens: dict[int, Access] = {}
    for access in accesses:
        token = access.lock.token if access.lock else None
        if token is not None and token.isdigit() and not (access.lock and access.lock.shared):
            if access.op is Op.UNLOCK:
                unlocks[int(token)] = access
            else:
                tokens.setdefault(int(token), access)
    edges = []
    for one, following in pairwise(sorted(tokens)):
        unlock, lock = unlocks.get(one), tokens[following]
        if unlock is not None and unlock.strand != lock.strand and not clock_before(lock, unlock):
            edges.append((lock.strand, _Edge(lock.seq, unlock.strand, unlock.seq, "lock")))
    return edges


def _with_reads_from(history: History, into: dict[str, list[_Edge]]) -> dict[str, list[_Edge]]:
    """Sync edges and reads-from: the unique, not weak write of a version, to whoever read it on that resource."""
    known = defaultdict(list, {strand: list(edges) for strand, edges in into.items()})
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
                if maker is not None and maker.strand != access.strand:
                    known[access.strand].append(_Edge(access.seq, maker.strand, maker.seq, "reads-from"))
    for edges in known.values():
        edges.sort()
    return known
