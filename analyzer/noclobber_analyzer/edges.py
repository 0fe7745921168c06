"""The edges between strands that synchronisation makes: who was made to wait for whom.

Spawn and join, messages, locks with fencing tokens, links. An edge follows from one access, or from the few of a
*group*: the sends and receipts of one message, the holds of one lock, an access and those that link to it. A whole
history makes all of them at once (`edges_into`); a window keeps them while accesses come and go, and makes only the
groups anew that something has come to or gone from (`Edges`), so that a judgement of a part of it costs nothing for
all the rest. Both make them by the same rules.

Source: contract 2.2 (causality), analysis.md 3.1. Whether a path leads over them is asked in `paths`.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access, key_of
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.history import History
from noclobber_analyzer.paths import Edge, Into

__all__ = ["ALONE", "Edges", "edges_into"]

ALONE: Final = frozenset({Op.READ, Op.SCAN, Op.EFFECT, Op.MODEL, Op.WRITE, Op.DELETE, Op.UPDATE})
"""Operations that make nobody wait."""
_CANONICAL: Final = attrgetter("start_ns", "span_id", "trace_id")

Led = tuple[str, Edge]
"""An edge, and the strand that it leads into."""
Group = tuple[str, str]
"""What makes some edges together: a message, a lock; an access by itself, or by its links."""


def edges_into(history: History) -> Into:
    """The edges of a whole history by the strand that they lead into, ascending."""
    into: dict[str, list[Edge]] = defaultdict(list)
    groups: dict[Group, list[Access]] = defaultdict(list)
    for access in history.accesses:
        if access.op in ALONE and access.strand_parent is None and not access.links:
            continue
        for strand, edge in _of_access(access):
            into[strand].append(edge)
        for group in _groups(access):
            groups[group].append(access)
        for trace_id, span_id, kind in access.links:
            for strand, edge in _of_link(access, history.by_name.get((trace_id, span_id)), kind):
                into[strand].append(edge)
    for group, accesses in groups.items():
        for strand, edge in _of_group(group, accesses):
            into[strand].append(edge)
    for edges in into.values():
        edges.sort()
    return into


class Edges:
    """The edges of accesses that come and go.

    Args:
        kept: gives a kept access by its key.

    Attributes:
        linking: by key, the accesses that link to one.
    """

    def __init__(self, kept: Callable[[bytes], Access | None]) -> None:
        self._kept = kept
        self._into: dict[str, list[Edge]] = {}
        self._members: dict[Group, dict[bytes, Access]] = defaultdict(dict)
        self.linking: dict[bytes, dict[bytes, Access]] = defaultdict(dict)
        self._made: dict[Group, list[Led]] = {}
        self._stale: dict[Group, None] = {}
        self._unlinked: dict[bytes, None] = {}

    def pass_by(self, key: bytes) -> None:
        """An access came or went that makes no edge by itself."""
        if key in self.linking:
            self._unlinked.update(dict.fromkeys(self.linking[key]))

    def add(self, access: Access) -> None:
        """Take an access."""
        key = access.key
        self.pass_by(key)
        if access.op in ALONE and access.strand_parent is None and not access.links:
            return
        self._put(_own("own", key), list(_of_access(access)))
        for group in _groups(access):
            self._members[group][key] = access
            self._stale[group] = None
        for trace_id, span_id, _ in access.links:
            self.linking[key_of(trace_id, span_id)][key] = access
            self._unlinked[key] = None

    def drop(self, access: Access) -> None:
        """Let an access go."""
        key = access.key
        self.pass_by(key)
        if access.op in ALONE and access.strand_parent is None and not access.links:
            return
        self._take_back(_own("own", key))
        for group in _groups(access):
            members = self._members[group]
            members.pop(key, None)
            self._stale[group] = None
        for trace_id, span_id, _ in access.links:
            linked = key_of(trace_id, span_id)
            linking = self.linking[linked]
            linking.pop(key, None)
            if not linking:
                del self.linking[linked]
            self._take_back(_own("link", key))

    def into(self) -> Into:
        """The edges by the strand that they lead into, ascending; they stay this object's own."""
        for group in self._stale:
            self._take_back(group)
            members = self._members.get(group)
            if not members:
                self._members.pop(group, None)
            elif len(members) > 1:
                self._put(group, list(_of_group(group, sorted(members.values(), key=_CANONICAL))))
        for key in self._unlinked:
            access, group = self._kept(key), _own("link", key)
            self._take_back(group)
            if access is not None:
                links = (_of_link(access, self._kept(key_of(trace, span)), kind) for trace, span, kind in access.links)
                self._put(group, [led for of in links for led in of])
        self._stale.clear()
        self._unlinked.clear()
        return self._into

    def _put(self, key: Group, made: list[Led]) -> None:
        if not made:
            return
        self._made[key] = made
        for strand, edge in made:
            edges = self._into.setdefault(strand, [])
            if not edges or edges[-1] < edge:
                edges.append(edge)
            else:
                insort(edges, edge)

    def _take_back(self, key: Group) -> None:
        for strand, edge in self._made.pop(key, ()):
            edges = self._into[strand]
            del edges[bisect_left(edges, edge)]
            if not edges:
                del self._into[strand]


def _own(of: str, key: bytes) -> Group:
    return of, key.hex()


def _of_access(access: Access) -> Iterator[Led]:
    """What one access says by itself: who started its strand, whom it started, for whom it waited."""
    if access.strand_parent and access.strand_parent_seq is not None:
        yield access.strand, Edge(access.seq, access.strand_parent, access.strand_parent_seq, "spawn")
    if access.op is Op.SPAWN and access.strand_other:
        yield access.strand_other, Edge(0, access.strand, access.seq, "spawn")
    elif access.op is Op.JOIN and access.strand_other and access.strand_other_seq is not None:
        yield access.strand, Edge(access.seq, access.strand_other, access.strand_other_seq, "join")


def _of_link(access: Access, source: Access | None, kind: str) -> Iterator[Led]:
    """A link to an access of another strand."""
    if source is not None and source.strand != access.strand:
        yield access.strand, Edge(access.seq, source.strand, source.seq, kind or "message")


def _groups(access: Access) -> Iterator[Group]:
    if access.message is not None and (access.op is Op.SEND or access.op is Op.RECEIVE):
        yield "message", access.message.id
    elif (access.op is Op.LOCK or access.op is Op.UNLOCK) and access.lock and access.outcome is Outcome.OK:
        yield "lock", access.resource


def _of_group(group: Group, accesses: Sequence[Access]) -> Iterable[Led]:
    return _of_message(accesses) if group[0] == "message" else _of_lock(accesses)


def _of_message(accesses: Sequence[Access]) -> Iterator[Led]:
    """A message is received after it was sent; with several sends of one id nobody knows after which."""
    sent = [access for access in accesses if access.op is Op.SEND]
    for receive in accesses if len(sent) == 1 else ():
        if receive.op is Op.RECEIVE and sent[0].strand != receive.strand:
            yield receive.strand, Edge(receive.seq, sent[0].strand, sent[0].seq, "message")


def _of_lock(accesses: Sequence[Access]) -> Iterator[Led]:
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
    for one, following in pairwise(sorted(tokens)):
        unlock, lock = unlocks.get(one), tokens[following]
        if unlock is not None and unlock.strand != lock.strand and not clock_before(lock, unlock):
            yield lock.strand, Edge(lock.seq, unlock.strand, unlock.seq, "lock")
