"""Blast radius: who later came to know what a finding spoilt, and what they made of it.

From the corrupted version it closes forward: whoever read it; writes that were computed from what they read; messages,
effects and strands that came later in the reader's unit; whoever received those messages; the versions so made, again.
It stops at its limit and says so. A version that is not unique leads nowhere: nobody can say that it was this one.
All findings of one evaluation share a second limit, so that a thousand of them in one chain cost no square of it.

Source: detection.md 6.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final

from noclobber.contract import BaseSource, Kind, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.finding import Affected, AffectedAccess
from noclobber_analyzer.verdict import Candidate

__all__ = ["ACCESSES_MAX", "ALL_MAX", "LEAST_MAX", "Aftermath", "reaches_outside"]

ACCESSES_MAX: Final = 2_000
"""Accesses that are told of one finding."""
ALL_MAX: Final = 200_000
"""Accesses that are told of all findings of one evaluation together."""
LEAST_MAX: Final = 16
"""Accesses that are told of one finding even then."""
_CARRIES: Final = frozenset({Op.SEND, Op.EFFECT, Op.SPAWN})
ROOTS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.LOST_UPDATE: ("overwriter", "either"),
    Kind.DIRTY_READ: ("dirty_read",),
    Kind.STALE_WRITE: ("stale_write",),
    Kind.BLIND_OVERWRITE: ("overwriter",),
    Kind.FORK: ("child",),
    Kind.DOUBLE_CLAIM: ("claim",),
    Kind.DIRTY_WRITE: ("overwriter",),
    Kind.WRITE_SKEW: ("overwriter",),
    Kind.READ_YOUR_WRITES: ("stale_read",),
    Kind.MONOTONIC_READS: ("stale_read",),
    Kind.WRITES_FOLLOW_READS: ("stale_read",),
    Kind.CAUSAL_VIOLATION: ("stale_read",),
    Kind.STALE_READ: ("stale_read",),
    Kind.GARBAGE_READ: ("garbage_read",),
    Kind.READ_SKEW: ("reader",),
    Kind.INTERMEDIATE_READ: ("intermediate_read",),
    Kind.NON_REPEATABLE_READ: ("first_read",),
    Kind.PHANTOM_READ: ("first_scan",),
    Kind.DUPLICATE_DELIVERY: ("applied",),
    Kind.OUT_OF_ORDER: ("applied",),
    Kind.LOCK_VIOLATION: ("violation",),
    Kind.CHECK_THEN_ACT: ("act",),
}


class Aftermath:
    """Answers for the findings of one evaluation what came of them."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._told = 0
        self._known: set[str] = set()
        self._carriers: dict[tuple[str, str], list[Access]] = defaultdict(list)
        self._writes: dict[tuple[str, str, str], list[Access]] = defaultdict(list)

    def of(self, candidate: Candidate) -> Affected:
        """Accesses and agents that later read what came of a candidate."""
        limit = min(ACCESSES_MAX, max(LEAST_MAX, ALL_MAX - self._told))
        cone = _Cone(self._evidence, self, {access.name for access, _ in candidate.roles}, limit)
        for access, role in candidate.roles:
            if role in ROOTS.get(candidate.kind, ()):
                cone.root(access)
        found = cone.closed()
        self._told += len(found.accesses)
        return found

    def carriers(self, read: Access) -> Iterator[Access]:
        """What the reader's strand later did in its unit that may carry on what it read, in its order."""
        place = (read.unit, read.strand)
        if read.unit not in self._known:
            self._known.add(read.unit)
            for access in self._evidence.history.units.get(read.unit, ()):
                if access.op in _CARRIES:
                    self._carriers[access.unit, access.strand].append(access)
                elif access.op is Op.WRITE and access.base is not None:
                    self._writes[access.unit, access.strand, access.base].append(access)
        carried, written = self._carriers.get(place, ()), self._writes.get((*place, read.read or ""), ())
        return merge(_after(read, carried), _after(read, written), key=lambda a: (a.seq, a.span_id))


def _after(read: Access, own: Sequence[Access]) -> Iterator[Access]:
    """Those of a strand's accesses that came later, one by one: a unit that never ends is not copied."""
    for place in range(bisect_right(own, read.seq, key=lambda a: a.seq), len(own)):
        yield own[place]


def reaches_outside(found: Affected) -> bool:
    """Whether something that can't be taken back came of it."""
    return any(access.op == Op.EFFECT for access in found.accesses)


class _Cone:
    """A forward search over reads, bases, units and messages."""

    def __init__(self, evidence: Evidence, aftermath: Aftermath, own: set[tuple[str, str]], limit: int) -> None:
        self._evidence, self._aftermath, self._limit = evidence, aftermath, limit
        self._seen = own
        self._work: deque[tuple[Access, str]] = deque()
        self._found: list[tuple[Access, str]] = []
        self._stopped: str | None = None

    def root(self, access: Access) -> None:
        self._work.append((access, "strong"))

    def closed(self) -> Affected:
        while self._work and self._stopped is None:
            access, strength = self._work.popleft()
            if access.op in (Op.WRITE, Op.UPDATE) and access.written is not None:
                self._readers(access, strength)
            elif access.op in (Op.READ, Op.SCAN, Op.RECEIVE):
                self._consequences(access, strength)
            elif access.op is Op.SEND and access.message is not None:
                self._receivers(access, strength)
        accesses = tuple(
            AffectedAccess(a.trace_id, a.span_id, a.resource, a.agent, a.strand, str(a.op), strength)
            for a, strength in self._found
        )
        agents = tuple(sorted({a.agent for a, _ in self._found}))
        return Affected(accesses, agents, self._stopped)

    def _add(self, access: Access, strength: str) -> None:
        if access.name in self._seen:
            return
        if len(self._found) >= self._limit:
            self._stopped = f"more than {self._limit} accesses came of it"
            return
        self._seen.add(access.name)
        self._found.append((access, strength))
        self._work.append((access, strength))

    def _readers(self, write: Access, strength: str) -> None:
        state = self._evidence.state(write.resource)
        version = write.written or ""
        if not state.is_unique(version):
            return
        for read in state.readers.get(version, ()):
            if self._stopped is not None:
                return
            self._add(read, strength)
        for other in state.by_base.get(version, ()):
            if self._stopped is not None:
                return
            if other is not write:
                self._add(other, strength if other.base_source is BaseSource.EXPLICIT else "weak")

    def _consequences(self, read: Access, strength: str) -> None:
        for later in self._aftermath.carriers(read):
            if self._stopped is not None:
                return
            if later.op in _CARRIES:
                self._add(later, "weak")
            else:
                self._add(later, strength if later.base_source is BaseSource.EXPLICIT else "weak")

    def _receivers(self, send: Access, strength: str) -> None:
        assert send.message is not None
        for other in self._evidence.received(send.message.id):
            self._add(other, strength)
