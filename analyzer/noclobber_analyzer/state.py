"""One resource, laid out so that a detector can ask it: who made this version, what lies between a base and a write.

Versions compare only inside one life, within one kind, over the same parts and, for prints, on comparable sides: what
a store was sent and what it returned may differ where it is not verbatim. `differ` and `same` answer with three values
in one place, so that no detector compares versions by hand.

Source: detection.md 2.1 to 2.4 (notation, lives, sides), contract 2 (`version.*`).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cached_property
from operator import attrgetter
from typing import Final, NamedTuple

from noclobber.contract import ABSENT, ABSENT_NUMBER, Op, Outcome, VersionKind
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.fate import WRITE_OPS, Fate, Fates
from noclobber_analyzer.history import History
from noclobber_analyzer.timeline import Timeline

__all__ = ["NUMBERS", "Side", "Sighting", "State", "conflicting_parts", "differ", "is_foreign", "number"]

_by_seq = attrgetter("seq")

NUMBERS: Final = frozenset({VersionKind.COUNTER, VersionKind.ORDERED})
DIGITS_MAX: Final = 100
"""Digits of a version that is taken for a number."""
OWN_MAX: Final = 256
"""Writes of one strand between two of its accesses that one question names: those nearest to the later one."""
NUMBERED_MAX: Final = 128
"""Writes between two numbers that one question names: the last ones."""


class Side(Enum):
    """Where a version was seen: in what the store was sent, or in what it returned."""

    REQUEST = "request"
    REPLY = "reply"


class Sighting(NamedTuple):
    """A version, the access that tells of it, and the side on which it was seen."""

    version: Version | None
    by: Access
    side: Side


def is_foreign(one: Access, other: Access) -> bool:
    """Whether an access is of another strand, or of another transaction."""
    if one.strand != other.strand:
        return True
    return bool(one.txn_id and other.txn_id and one.txn_id != other.txn_id)


def conflicting_parts(one: Access, other: Access) -> bool:
    """Whether two accesses touch common parts; no part is the whole."""
    return not one.part or not other.part or not set(one.part).isdisjoint(other.part)


def number(version: Version | None) -> int | None:
    """A version as a number, None where it is none."""
    return int(version) if version is not None and version.isdecimal() and len(version) <= DIGITS_MAX else None


class State:
    """The state of one resource.

    Attributes:
        name: the resource.
        accesses: all that touched it, in canonical order.
        writes: those that may have changed it (applied or undecided).
        reads: those that got it.
    """

    def __init__(self, name: str, accesses: Sequence[Access], history: History, fates: Fates) -> None:
        self.name = name
        self.accesses = accesses
        self._history, self._fates = history, fates
        self.writes = [a for a in accesses if a.op in WRITE_OPS and fates.of(a) is not Fate.UNAPPLIED]
        self.reads = [a for a in accesses if a.op is Op.READ and a.outcome in (Outcome.OK, Outcome.NOT_FOUND)]

    @cached_property
    def makers(self) -> dict[Version, list[Access]]:
        """For each version, the writes that (may have) made it."""
        found: dict[Version, list[Access]] = {}
        for write in self.writes:
            if write.written is not None:
                found.setdefault(write.written, []).append(write)
        return found

    @cached_property
    def readers(self) -> dict[Version, list[Access]]:
        """For each version, the reads that got it."""
        found: dict[Version, list[Access]] = {}
        for read in self.reads:
            if read.read is not None:
                found.setdefault(read.read, []).append(read)
        return found

    @cached_property
    def _common(self) -> frozenset[Version | None]:
        """Versions that are said to be too common to name one state."""
        made = {write.written for write in self.writes if write.weak}
        return frozenset(made | {read.read for read in self.reads if read.weak})

    @cached_property
    def writers(self) -> frozenset[str]:
        """The strands that may have changed it."""
        return frozenset(write.strand for write in self.writes)

    @cached_property
    def unnamed(self) -> bool:
        """Whether some writes made versions that nobody knows."""
        return any(write.written is None for write in self.writes)

    @cached_property
    def taken_back(self) -> frozenset[Version | None]:
        """Versions that stood there only until their transaction, or savepoint, was rolled back."""
        back = (a for a in self.accesses if a.txn_id and a.op in WRITE_OPS)
        return frozenset(a.written for a in back if self._fates.taken_back_by(a) is not None)

    @cached_property
    def may_expire(self) -> bool:
        """Whether it may vanish by itself, or was deleted: then numbers and `absent` may come again."""
        return any(
            a.ttl_ms is not None or (a.op is Op.DELETE and self._fates.of(a) is not Fate.UNAPPLIED)
            for a in self.accesses
        )

    @cached_property
    def _of_strand(self) -> dict[str, list[Access]]:
        found: dict[str, list[Access]] = {}
        for access in self.accesses:
            found.setdefault(access.strand, []).append(access)
        for own in found.values():
            own.sort(key=_by_seq)
        return found

    @property
    def is_shared(self) -> bool:
        """Whether several strands or transactions touched it and one of them wrote."""
        first = self.accesses[0] if self.accesses else None
        return bool(self.writes) and any(first is not None and is_foreign(first, a) for a in self.accesses)

    def is_unique(self, version: Version) -> bool:
        """Whether at most one captured write made this version and nothing says that it is too common."""
        if version in (ABSENT, ABSENT_NUMBER) and self.may_expire:
            return False  # nothing is there once in each life
        return len(self.makers.get(version, ())) <= 1 and version not in self._common

    def base_of(self, write: Access) -> Access | None:
        """The access that a write's base came from, if it was captured: only its time and its place are asked.

        Where no versions are recorded at all it is the last read of the same unit: time is all that there is.
        """
        at = self._history.at(write.base_strand, write.base_seq)
        if at is not None and self._touches(at):
            return at
        if write.base_seq is not None and at is None:
            return None  # that one is lost: another that got the same content is not it
        strand = write.base_strand or write.strand
        if write.base is None and write.version_kind is None:
            own: Sequence[Access] = self._looks.get((strand, write.unit), ())
        elif write.base is None:
            own = self._of_strand.get(strand, ())
        else:
            own = self._sightings.get((strand, write.base), ())
        upto = bisect_left(own, write.seq, key=lambda a: a.seq) if strand == write.strand else len(own)
        return own[upto - 1] if upto else None

    @cached_property
    def _looks(self) -> dict[tuple[str, str], list[Access]]:
        """The reads of each strand in each unit."""
        found: dict[tuple[str, str], list[Access]] = defaultdict(list)
        for strand, own in self._of_strand.items():
            for access in own:
                if access.op is Op.READ and access.outcome is Outcome.OK:
                    found[strand, access.unit].append(access)
        return found

    @cached_property
    def _sightings(self) -> dict[tuple[str, Version], list[Access]]:
        """Where each strand got or made each version."""
        found: dict[tuple[str, Version], list[Access]] = defaultdict(list)
        for strand, own in self._of_strand.items():
            for access in own:
                for version in {access.read if access.op is Op.READ else None, access.written} - {None}:
                    found[strand, version or ""].append(access)
        return found

    def _touches(self, access: Access) -> bool:
        members = access.scan.resources if access.scan else ()
        return access.resource == self.name or self.name in members

    def own_between(self, base: Access | None, write: Access) -> list[Access]:
        """What the write's own strand did to the resource after it got the base: the last of it, up to a limit."""
        own = self._own_writes.get(write.strand, [])
        upto = bisect_left(own, write.seq, key=lambda a: a.seq)
        after = bisect_right(own, self.base_seq_of(base, write) or 0, key=lambda a: a.seq)
        return own[max(after, upto - OWN_MAX) : upto]

    @cached_property
    def _own_writes(self) -> dict[str, list[Access]]:
        """What each strand may have changed, whatever came of it, ascending by `seq`."""
        return {strand: [a for a in own if a.op in WRITE_OPS] for strand, own in self._of_strand.items()}

    def by_strand(self) -> Iterable[list[Access]]:
        """The accesses of each strand, ascending by `seq`."""
        return self._of_strand.values()

    @cached_property
    def untaken(self) -> frozenset[Version | None]:
        """Versions that such writes made or would have made."""
        return frozenset(a.written for a in self.unapplied)

    @cached_property
    def by_replaced(self) -> dict[Version, list[Access]]:
        """Writes by the versions that they replaced or were computed from."""
        found: dict[Version, list[Access]] = defaultdict(list)
        for write in self.writes:
            for version in {write.overwritten, write.base} - {None}:
                found[version or ""].append(write)
        return found

    @cached_property
    def last_of(self) -> dict[str, tuple[int, int]]:
        """Of each transaction's writes the greatest `seq`, and the last call."""
        found: dict[str, tuple[int, int]] = {}
        for write in self.writes:
            if write.txn_id:
                seq, start = found.get(write.txn_id, (0, 0))
                found[write.txn_id] = max(seq, write.seq), max(start, write.start_ns)
        return found

    def is_contended(self, access: Access) -> bool:
        """Whether another strand or transaction wrote here, too."""
        if len(self.writers) > (access.strand in self.writers):
            return True
        return bool(access.txn_id) and len(self._transactions) > (access.txn_id in self._transactions)

    @cached_property
    def _transactions(self) -> frozenset[str]:
        """The transactions that wrote."""
        return frozenset(write.txn_id for write in self.writes if write.txn_id)

    @cached_property
    def unapplied(self) -> list[Access]:
        """Writes that were not applied, or were taken back."""
        return [a for a in self.accesses if a.op in WRITE_OPS and self._fates.of(a) is Fate.UNAPPLIED]

    def is_own_version(self, read: Access) -> bool:
        """Whether a read in a transaction got what that transaction itself had made: others need not be able to."""
        first = self._first_made.get((read.strand, read.txn_id, read.read)) if read.txn_id else None
        return first is not None and first < read.seq

    @cached_property
    def _first_made(self) -> dict[tuple[str, str | None, Version | None], int]:
        """When a strand's transaction first made a version, by the strand's numbers."""
        found: dict[tuple[str, str | None, Version | None], int] = {}
        for own in self._own_writes.values():
            for access in own:
                found.setdefault((access.strand, access.txn_id, access.written), access.seq)
        return found

    def own_after(self, access: Access) -> list[Access]:
        """What the access's own strand may have changed of the resource later: the next of it, up to a limit."""
        own = self._own_writes.get(access.strand, [])
        first = bisect_right(own, access.seq, key=lambda a: a.seq)
        return own[first : first + OWN_MAX]

    @staticmethod
    def base_seq_of(base: Access | None, write: Access) -> int | None:
        """The number, on the write's own strand, after which it went on from its base; None: nobody knows."""
        if base is not None:
            return base.seq if base.strand == write.strand else None
        return write.base_seq if write.base_strand in (None, write.strand) else None

    @cached_property
    def timeline(self) -> Timeline:
        """The writes by time."""
        return Timeline(self.writes, self._fates)

    @cached_property
    def first_read_of(self) -> dict[str, int]:
        """The number of each strand's first read."""
        found: dict[str, int] = {}
        for read in self.reads:
            found[read.strand] = min(found.get(read.strand, read.seq), read.seq)
        return found

    @property
    def is_cut(self) -> bool:
        """Whether a search by time left writes out."""
        timeline = self.__dict__.get("timeline")  # asking must not build it
        return isinstance(timeline, Timeline) and timeline.cut

    @cached_property
    def by_base(self) -> dict[Version, list[Access]]:
        """Writes by the version that they were computed from."""
        found: dict[Version, list[Access]] = defaultdict(list)
        for write in self.writes:
            if write.base is not None:
                found[write.base].append(write)
        return found

    @cached_property
    def _numbered(self) -> list[tuple[int, str, Access]]:
        made = ((number(write.written), write) for write in self.writes)
        return sorted((n, write.span_id, write) for n, write in made if n is not None)

    def numbered_between(self, low: int, high: int) -> list[tuple[int, Access]]:
        """Writes that made a number above `low`, up to `high`, ascending: the last of them, up to a limit."""
        last = bisect_left(self._numbered, (high + 1,))
        first = max(bisect_left(self._numbered, (low + 1,)), last - NUMBERED_MAX)
        return [(n, write) for n, _, write in self._numbered[first:last]]

    @cached_property
    def _lockers(self) -> dict[str, set[str]]:
        """Strands that wrote under each lock, its token set aside."""
        found: dict[str, set[str]] = defaultdict(set)
        for write in self.writes:
            for lock in write.locks:
                found[lock.partition("#")[0]].add(write.strand)
        return found

    def shares_lock(self, write: Access) -> bool:
        """Whether another strand wrote here under a lock that this write held."""
        return any(self._lockers[lock.partition("#")[0]] - {write.strand} for lock in write.locks)

    def foreign_around(self, base: Access | None, write: Access) -> Iterable[Access]:
        """Writes of others that conflict with a write and may lie between its base and it."""
        near = self.timeline.around(base, write)
        return (w for w in near if w is not write and is_foreign(w, write) and conflicting_parts(w, write))

    def base_seen(self, write: Access) -> "Sighting":
        """A write's base as it was seen: it has the side of the access that it came from; unknown: a request."""
        came_from = self.base_of(write)
        side = Side.REPLY if came_from is not None and came_from.op is Op.READ else Side.REQUEST
        return Sighting(write.base, came_from or write, side)

    def same_content(self, one: Access, other: Access) -> bool:
        """Whether two writes made equal content, as far as their prints or numbers tell."""
        if one.content_written is not None and one.content_written == other.content_written:
            return True
        kinds = {one.version_kind, other.version_kind}
        return kinds == {VersionKind.FINGERPRINT} and one.written is not None and one.written == other.written

    def ancestors(self, version: Version, limit: int = 64) -> set[Version]:
        """Versions that this one was computed from, step by step, as far as unique makers tell."""
        seen: set[Version] = set()
        while len(seen) < limit:
            makers = self.makers.get(version, ())
            if len(makers) != 1 or makers[0].base is None or makers[0].base in seen:
                break
            version = makers[0].base
            seen.add(version)
        return seen


def differ(one: Sighting, other: Sighting) -> bool:
    """Whether two versions prove two states; False also where nobody knows.

    Prints compare under one key, over the same parts, and between a request and anything only where the store returns
    just what it is sent.
    """
    if one.version is None or other.version is None or one.version == other.version:
        return False
    kind = one.by.version_kind
    if kind is None or kind is not other.by.version_kind:
        return False
    if kind is not VersionKind.FINGERPRINT:
        return True
    if one.by.process.key_id != other.by.process.key_id or one.by.part != other.by.part:
        return False
    both_replies = one.side is Side.REPLY and other.side is Side.REPLY
    return both_replies or (one.by.verbatim and other.by.verbatim)
