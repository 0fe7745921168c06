"""Resources that raise no question: all that was done to them reads like one call after the other.

Most resources are touched in turn: each write names the state that it found as its base, each read returns what the
last write made, no call overlaps another, and versions and clocks tell the same order. No detector of one resource's
anomalies can propose anything there, so nobody has to lay such a resource out and ask them all. The test looks at each
access once and gives up at the first thing out of the ordinary: a transaction, a lock, a deletion, a part, a scan that
is no plain read, a version that does not follow. It may let too much through to the detectors and never too little;
findings with and without it are equal, by test.

Source: analysis.md 6 (conservative filters in front of one evaluator).
"""

from collections.abc import Sequence
from typing import Final

from noclobber.contract import Guard, Op, Outcome, VersionKind, WriteMode
from noclobber_analyzer.access import Access, Version
from noclobber_analyzer.clocks import before as clock_before
from noclobber_analyzer.clocks import slack_ns
from noclobber_analyzer.state import number

__all__ = ["is_quiet"]

CLOCKS_MAX: Final = 8
"""Clocks that do not compare, of one resource that is still called quiet."""


def is_quiet(name: str, accesses: Sequence[Access]) -> bool:
    """Whether no detector of `OF_STATE` can propose anything about a resource.

    Args:
        name: the resource.
        accesses: all to its state, in canonical order.
    """
    kind = accesses[0].version_kind
    if kind is None or kind is VersionKind.ORDERED:
        return False
    turns = _Turns(kind)
    return all(_is_plain(access, name, kind) and turns.fits(access) for access in accesses)


def _is_plain(access: Access, name: str, kind: VersionKind) -> bool:
    """Whether an access has nothing about it that needs a second look."""
    if (
        access.version_kind is not kind or access.txn_id is not None or access.resource != name
        or access.weak or access.partial or access.open or access.closed or access.part or access.locks
        or access.candidates or access.ttl_ms is not None or not access.verbatim
    ):  # fmt: skip
        return False
    if access.op is Op.READ:
        return access.outcome in _READ and access.scan is None
    plain_guard = access.guard is Guard.NONE or access.guard is Guard.VERSION
    return access.outcome is Outcome.OK and plain_guard and access.mode in _IN_PLACE and access.op is not Op.DELETE


_READ: Final = frozenset({Outcome.OK, Outcome.NOT_FOUND})
_IN_PLACE: Final = frozenset({WriteMode.OVERWRITE, WriteMode.INCREMENT})


class _Turns:
    """The state of one resource as a register that is used in turn.

    Each access is compared with what those before it left behind: the version that stands, who wrote and read what,
    and, for each clock, the last call. Numbers order themselves whatever the clocks say; all other versions must have
    been made and read on clocks that compare.
    """

    def __init__(self, kind: VersionKind) -> None:
        self._kind = kind
        self._stands: Version | None = None
        self._made: set[Version] = set()
        self._last: list[Access] = []
        self._seqs: dict[str, int] = {}
        self._wrote: set[str] = set()
        self._saw: dict[str, Version] = {}

    def fits(self, access: Access) -> bool:
        """Whether an access comes in its turn; it is taken into account."""
        if not self._comes_after_all(access) or access.seq <= self._seqs.get(access.strand, 0):
            return False
        self._seqs[access.strand] = access.seq
        return self._reads(access) if access.op is Op.READ else self._writes(access)

    def _reads(self, read: Access) -> bool:
        if read.read is None:
            return False
        if self._stands is None:
            self._begin(read.read)
        if read.read != self._stands:
            return False
        return read.unit_kind is None or self._saw.setdefault(read.unit, read.read) == read.read

    def _writes(self, write: Access) -> bool:
        made, before = write.written, write.base
        if made is None or (before is None and write.op is not Op.UPDATE):
            return False
        if self._stands is None:
            first = before if before is not None else self._before(made)
            if first is None:
                return False
            self._begin(first)
        if made in self._made or not self._follows(made):
            return False
        if before not in (None, self._stands) or write.overwritten not in (None, self._stands):
            return False
        if write.unit_kind is not None:
            if write.unit in self._wrote:
                return False
            self._wrote.add(write.unit)
        self._made.add(made)
        self._stands = made
        return True

    def _begin(self, version: Version) -> None:
        self._stands = version
        self._made.add(version)

    def _before(self, made: Version) -> Version | None:
        count = number(made) if self._kind is VersionKind.COUNTER else None
        return str(count - 1) if count else None

    def _follows(self, made: Version) -> bool:
        """Whether a number is the next one; other versions tell by their bases."""
        return self._kind is not VersionKind.COUNTER or self._before(made) == self._stands

    def _comes_after_all(self, access: Access) -> bool:
        """Whether every earlier access of a clock that compares had returned before this one was called."""
        process = access.process
        for at, last in enumerate(self._last):
            if last.process is process or slack_ns(last.process, process) is not None:
                if not clock_before(last, access):
                    return False
                self._last[at] = access
                return True
        if self._last and (self._kind is not VersionKind.COUNTER or len(self._last) >= CLOCKS_MAX):
            return False
        self._last.append(access)
        return True
