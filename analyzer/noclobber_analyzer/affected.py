"""Blast radius: who later came to know what a finding spoilt, and what they made of it.

From the corrupted version it closes forward: whoever read it; writes that were computed from what they read; messages,
effects and strands that came later in the reader's unit; whoever received those messages; the versions so made, again.
It stops at its limit and says so. A version that is not unique leads nowhere: nobody can say that it was this one.

Source: detection.md 6.
"""

from collections import deque
from typing import Final

from noclobber.contract import BaseSource, Kind, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.finding import Affected, AffectedAccess
from noclobber_analyzer.verdict import Candidate

__all__ = ["ACCESSES_MAX", "affected", "reaches_outside"]

ACCESSES_MAX: Final = 2_000
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


def affected(candidate: Candidate, evidence: Evidence) -> Affected:
    """Accesses and agents that later read what came of a candidate."""
    cone = _Cone(evidence, {access.name for access, _ in candidate.roles})
    for access, role in candidate.roles:
        if role in ROOTS.get(candidate.kind, ()):
            cone.root(access)
    return cone.closed()


def reaches_outside(found: Affected) -> bool:
    """Whether something that can't be taken back came of it."""
    return any(access.op == Op.EFFECT for access in found.accesses)


class _Cone:
    """A forward search over reads, bases, units and messages."""

    def __init__(self, evidence: Evidence, own: set[tuple[str, str]]) -> None:
        self._evidence = evidence
        self._seen = own
        self._work: deque[tuple[Access, str]] = deque()
        self._found: list[tuple[Access, str]] = []
        self._stopped: str | None = None

    def root(self, access: Access) -> None:
        self._work.append((access, "strong"))

    def closed(self) -> Affected:
        while self._work:
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
        if len(self._found) >= ACCESSES_MAX:
            self._stopped = f"more than {ACCESSES_MAX} accesses came of it"
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
            self._add(read, strength)
        for other in state.writes:
            if other.base == version and other is not write:
                self._add(other, strength if other.base_source is BaseSource.EXPLICIT else "weak")

    def _consequences(self, read: Access, strength: str) -> None:
        for later in self._evidence.history.units.get(read.unit, ()):
            if later.strand != read.strand or later.seq <= read.seq:
                continue
            if later.op in (Op.SEND, Op.EFFECT, Op.SPAWN):
                self._add(later, "weak")
            elif later.op is Op.WRITE and later.base is not None and later.base == read.read:
                self._add(later, strength if later.base_source is BaseSource.EXPLICIT else "weak")

    def _receivers(self, send: Access, strength: str) -> None:
        assert send.message is not None
        for other in self._evidence.received(send.message.id):
            self._add(other, strength)
