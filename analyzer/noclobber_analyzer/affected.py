"""Blast radius: who later came to know what a finding spoilt, and what they made of it.

From the corrupted version it closes forward: whoever read it; writes that were computed from what they read; messages,
effects, strands and writes without a base of their own that came later in the reader's unit or step; whoever received
those messages, and what they did with them; the versions so made, again. Each entry says what it follows from and how.
What a version or a message carries is strong; that a unit acted because of what it had read is weak.

It stops at its limit, and at a version that several writes made, since nobody can say that it was this one; it says so.
The first effect is what left the system first: it can't be taken back. (First by recorded time, which only names it.)

Source: detection.md 6.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from noclobber.contract import BaseSource, Kind, Op
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.finding import Affected, AffectedAccess
from noclobber_analyzer.verdict import Candidate, Name

__all__ = ["ACCESSES_MAX", "ALL_MAX", "LEAST_MAX", "affected", "reaches_outside"]

ACCESSES_MAX: Final = 2_000
"""Accesses that are told of one finding."""
ALL_MAX: Final = 200_000
"""Accesses that are told of all findings of one evaluation together: a chain of a thousand costs no square of it."""
LEAST_MAX: Final = 16
"""Accesses that are told of one finding even then."""
LATER_MAX: Final = 256
"""Accesses of a strand after a read among which its consequences are looked for."""
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
    Kind.INTERLEAVED_WRITES: ("piece", "between"),
    Kind.INVARIANT_VIOLATION: ("broke",),
}
_READS: Final = frozenset({Op.READ, Op.SCAN, Op.RECEIVE})
_GOES_ON: Final = frozenset({Op.SEND, Op.EFFECT, Op.SPAWN})


class _Step(NamedTuple):
    """An access that is reached, how sure that is, and from where."""

    access: Access
    strength: str
    after: str
    how: str


def affected(candidate: Candidate, evidence: Evidence) -> Affected:
    """Accesses and agents that later read what came of a candidate."""
    limit = min(ACCESSES_MAX, max(LEAST_MAX, ALL_MAX - evidence.told_affected))
    cone = _Cone(evidence, {access.name for access, _ in candidate.roles}, limit)
    for access, role in candidate.roles:
        if role in ROOTS.get(candidate.kind, ()):
            cone.root(access)
    found = cone.closed()
    evidence.told_affected += len(found.accesses)
    return found


def reaches_outside(found: Affected) -> bool:
    """Whether something that can't be taken back came of it."""
    return any(access.op == Op.EFFECT for access in found.accesses)


class _Cone:
    """A forward search over reads, bases, units, messages and strands."""

    def __init__(self, evidence: Evidence, own: set[Name], limit: int) -> None:
        self._evidence, self._limit = evidence, limit
        self._seen = own
        self._work: deque[tuple[Access, str]] = deque()
        self._found: list[_Step] = []
        self._full = False
        self._common: set[tuple[str, str]] = set()

    def root(self, access: Access) -> None:
        self._work.append((access, "strong"))
        if access.op in WRITE_OPS and access.unit_kind is not None:
            self._add_later(access, "unit")  # what its author did next rested on the same decision

    def closed(self) -> Affected:
        while self._work and not self._full:
            access, strength = self._work.popleft()
            if access.op in WRITE_OPS and access.written is not None:
                self._readers(access, strength)
            elif access.op in _READS:
                self._consequences(access, strength)
            elif access.op is Op.SEND and access.message is not None:
                for receipt in self._evidence.received(access.message.id):
                    self._add(receipt, strength, access, "message")
            elif access.op is Op.SPAWN and access.strand_other is not None:
                for started in self._evidence.history.captured(access.strand_other)[:LATER_MAX]:
                    if self._is_consequence(started):
                        self._add(started, "weak", access, "spawn")
        return Affected(
            accesses=tuple(_entry(step) for step in self._found),
            agents=tuple(sorted({step.access.agent for step in self._found})),
            stopped=self._stopped(),
            first_effect=self._first_effect(),
        )

    def _first_effect(self) -> str:
        """Named only within a unit: that a bare strand acted later need not be because of what it had read."""
        effects = [s.access for s in self._found if s.access.op is Op.EFFECT and s.access.unit_kind is not None]
        return min(effects, key=lambda a: (a.start_ns, a.span_id)).span_id if effects else ""

    def _stopped(self) -> str | None:
        if self._full:
            return f"more than {self._limit} accesses came of it"
        if self._common:
            many = f"{len(self._common)} versions" if len(self._common) > 1 else "a version"
            return f"{many} that others made as well, or that are too common to follow, may have carried it on"
        return None

    def _add(self, access: Access, strength: str, after: Access, how: str) -> None:
        if access.name in self._seen:
            return
        if len(self._found) >= self._limit:
            self._full = True
            return
        self._seen.add(access.name)
        self._found.append(_Step(access, strength, after.span_id, how))
        self._work.append((access, strength))

    def _readers(self, write: Access, strength: str) -> None:
        state = self._evidence.state(write.resource)
        version = write.written or ""
        readers = state.readers.get(version, ())[: ACCESSES_MAX + 1]
        based = [other for other in state.by_base.get(version, ())[: ACCESSES_MAX + 1] if other is not write]
        if not state.is_unique(version):
            if any(each.strand != write.strand for each in (*readers, *based)):
                self._common.add((write.resource, version))
            return
        for read in readers:
            self._add(read, strength, write, "read")
        for other in based:
            self._add(other, strength if other.base_source is BaseSource.EXPLICIT else "weak", write, "base")

    def _consequences(self, read: Access, strength: str) -> None:
        based = self._evidence.state(read.resource).by_base.get(read.read, []) if read.read else []
        for write in based[: ACCESSES_MAX + 1]:
            if write.strand == read.strand and write.seq > read.seq and write.unit == read.unit:
                self._add(write, strength if write.base_source is BaseSource.EXPLICIT else "weak", read, "base")
        self._add_later(read, "message" if read.op is Op.RECEIVE else "unit")

    def _add_later(self, access: Access, how: str) -> None:
        for later in self._later(access):
            if self._is_consequence(later):
                self._add(later, "weak", access, how)

    def _later(self, access: Access) -> Iterator[Access]:
        """What the strand did after an access in the same unit or step."""
        for later in self._evidence.history.onward(access, LATER_MAX):
            if (later.step or later.unit) == (access.step or access.unit) or later.unit == access.unit:
                yield later

    def _is_consequence(self, access: Access) -> bool:
        """Whether it may rest on what its unit had read; what was computed from something else says so itself."""
        if access.op in _GOES_ON:
            return self._evidence.fates.of(access) is not Fate.UNAPPLIED
        blind = access.op is Op.WRITE and access.base is None and access.unit_kind is not None
        return blind and self._evidence.fates.of(access) is not Fate.UNAPPLIED


def _entry(step: _Step) -> AffectedAccess:
    access = step.access
    return AffectedAccess(
        trace_id=access.trace_id,
        span_id=access.span_id,
        resource=access.resource,
        agent=access.agent,
        strand=access.strand,
        op=str(access.op),
        strength=step.strength,
        start_ns=access.start_ns,
        after=step.after,
        how=step.how,
    )
