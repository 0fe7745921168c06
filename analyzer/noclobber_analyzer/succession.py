"""Which version of a resource came after which, and what proves it.

Numbers order themselves. Chains and unique prints are ordered by what each write says that it replaced or was
computed from: whatever was made from a state came after it. The state that was there first, absent or made before
anybody was watching, comes before all that was written. Nothing here rests on clocks, and a resource whose versions
may begin again (it expires, it was deleted) has no order of numbers and no first state.

Source: detection.md 2.1 and 2.3, contract 2.3 (prior state).
"""

from bisect import bisect_right
from collections import defaultdict
from enum import IntEnum
from functools import cached_property
from itertools import islice
from typing import Final

from noclobber.contract import Op, Outcome, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clock_pairs import clock_of
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.fate import WRITE_OPS, Fate, Fates
from noclobber_analyzer.state import NUMBERS, State, conflicting_parts, number

__all__ = ["FOLLOWING_MAX", "Proof", "Succession"]

FOLLOWING_MAX: Final = 64
"""Writes after the first state, or computed from one version, that one question names; the rest are left out."""
NEXT_MAX: Final = 8
"""Numbers after a version that are tried for one that touches the same parts."""


class Proof(IntEnum):
    """What an order of versions rests on: content that only one write made, or versions of the store's own."""

    CONTENT = 1
    VERSION = 2


class Succession:
    """The order of one resource's versions.

    `whole` says that no access is known to be lost: else what nobody made is rather a lost write's than prior state.
    """

    def __init__(self, state: State, fates: Fates, *, whole: bool) -> None:
        self._state, self._fates, self._whole = state, fates, whole
        self.applied = [w for w in state.writes if fates.of(w) is Fate.APPLIED]
        kinds = {a.version_kind for a in (*self.applied, *state.reads)}
        self.kind = next(iter(kinds)) if len(kinds) == 1 else None
        if self.kind is VersionKind.CHAIN and any(_is_put(w) for w in self.applied):
            self.kind = None  # a tree: an older version is read by its name, and nothing supersedes it

    def applied_near(self, read: Access, count: int) -> list[Access]:
        """Applied writes whose calls were recorded nearest before and after a read's, so many of each."""
        middle = bisect_right(self.applied, read.start_ns, key=lambda w: w.start_ns)
        return self.applied[max(0, middle - count) : middle + count]

    def maker(self, read: Access) -> Access | None:
        """The one applied write that made what was read; None where nobody or several may have."""
        makers = self._state.makers.get(read.read or "", ())
        if len(makers) != 1 or read.weak or makers[0].weak or makers[0].version_kind is not read.version_kind:
            return None
        if self.kind in NUMBERS and (self._state.may_expire or read.read in self._state.taken_back):
            return None  # the number may be of another life, or was used again after a write that was taken back
        return makers[0] if self._fates.of(makers[0]) is Fate.APPLIED else None

    def proof(self) -> Proof:
        """What its versions prove at most."""
        return Proof.CONTENT if self.kind is VersionKind.FINGERPRINT else Proof.VERSION

    def following(self, version: Version, read: Access) -> list[tuple[Access, Proof]]:
        """Applied writes that made a later version than the one that was read: the next one, where it is known."""
        if self.kind is None or (self.kind in NUMBERS and self._state.may_expire):
            return []
        if self.kind in NUMBERS:
            return [(write, Proof.VERSION) for write in self._next(version, read)]
        known = not read.weak and len(self._state.makers.get(version, ())) <= 1
        linked = self._from.get(version, ()) if known and (version in self.first or version != self.kind.absent) else ()
        found = [
            (write, self.proof())
            for write in linked[:FOLLOWING_MAX]
            if conflicting_parts(write, read) and not self._came_again(version, write)
        ]
        if version in self.first:
            names = {write.span_id for write in linked}
            later = (w for w in self.applied if w.written != version and w.span_id not in names)
            found += [
                (write, Proof.CONTENT) for write in islice(later, FOLLOWING_MAX) if conflicting_parts(write, read)
            ]
        return found

    def is_older(self, one: Version, other: Version) -> Proof | None:
        """What proves that a version came before another; None where nothing does."""
        if one == other or self.kind is None:
            return None
        if self.kind in NUMBERS:
            low, high = number(one), number(other)
            known = low is not None and high is not None and low < high and not self._state.may_expire
            return Proof.VERSION if known else None
        unique = self._state.is_unique(one) and self._state.is_unique(other)
        if unique and one in self._state.ancestors(other) and other not in self._state.ancestors(one):
            return self.proof()
        first = other not in self.first and one in self.first and bool(self._state.makers.get(other))
        return Proof.CONTENT if first else None

    def _came_again(self, version: Version, write: Access) -> bool:
        """Whether a version was made only after a write that was computed from it: it was there before, too."""
        makers = self._state.makers.get(version, ())
        if self.kind is not VersionKind.FINGERPRINT or not makers or makers[0].end_ns <= write.start_ns:
            return False
        return write.written in self._state.ancestors(version)

    @cached_property
    def is_told(self) -> bool:
        """Whether every write tells what it made, in a way that compares with what is read."""
        return all(w.written is not None and w.verbatim for w in self._state.writes)

    @cached_property
    def first(self) -> frozenset[Version]:
        """Versions that came before all others: absent, and what was there before or was inserted where nothing was."""
        absent = self.kind.absent if self.kind is not None else None
        if self._state.may_expire or absent is None:
            return frozenset()
        inserted = [w for w in self.applied if w.written is not None and absent in (w.overwritten, w.base)]
        if inserted:
            sole = len(inserted) == 1 and self._state.is_unique(inserted[0].written or "")
            return frozenset({absent, inserted[0].written or ""}) if sole else frozenset({absent})
        prior = self._prior()
        return frozenset({absent} if prior is None else {absent, prior})

    def _prior(self) -> Version | None:
        """The one version that no captured write made and that was read before any of them had returned."""
        made = {a.written for a in self._state.accesses if a.op in WRITE_OPS}
        unmade = [version for version in self._state.readers if version not in made]
        if not self._whole or len(unmade) != 1 or any(w.written is None for w in self.applied):
            return None
        first: dict[str, Access] = {}  # of each clock: nobody knows which of them was the first of all
        for read in sorted(self._state.readers[unmade[0]], key=lambda r: (local_ns(r.process, r.start_ns), r.span_id)):
            first.setdefault(clock_of(read.process), read)
        if any(read.outcome is Outcome.NOT_FOUND for read in first.values()):
            return None
        there = ((write, first.get(clock_of(write.process))) for write in self.applied)
        return None if any(r is not None and _returned_before(w, r) for w, r in there) else unmade[0]

    @cached_property
    def _from(self) -> dict[Version, list[Access]]:
        """Applied writes by the versions that they replaced or were computed from."""
        found: dict[Version, list[Access]] = defaultdict(list)
        for write in self.applied:
            if write.written is not None and write.op is not Op.DELETE:
                for version in {write.overwritten, write.base} - {None, write.written}:
                    found[version or ""].append(write)
        return found

    @cached_property
    def _numbers(self) -> tuple[list[int], dict[int, list[Access]]]:
        by_number: dict[int, list[Access]] = defaultdict(list)
        for write in self.applied:
            made = number(write.written)
            if made is not None:
                by_number[made].append(write)
        return sorted(by_number), by_number

    def _next(self, version: Version, read: Access) -> list[Access]:
        got = number(version)
        if got is None:
            return []
        numbers, by_number = self._numbers
        first = bisect_right(numbers, got)
        for following in numbers[first : first + NEXT_MAX]:
            makers = by_number[following]
            if len(makers) > 1:
                return []  # a fork: which of them was the next nobody can tell
            if conflicting_parts(makers[0], read):
                return makers
        return []


def _is_put(write: Access) -> bool:
    """Whether a write put a child beside its parent and replaced nothing."""
    parent = write.base not in (None, VersionKind.CHAIN.absent)
    return write.mode is WriteMode.INSERT and parent and write.overwritten is None


def _returned_before(write: Access, read: Access) -> bool:
    if write.strand == read.strand:
        return write.seq < read.seq
    return clock_before(write, read)
