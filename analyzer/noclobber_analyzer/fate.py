"""What became of a write: applied, not applied, or two worlds, and from when on others could see it.

A call's own outcome is not the whole story: inside a transaction its end decides, and an `abort` with a savepoint's
path takes back just what was written under that path. An outcome `unknown`, a commit that may have gone through, an
end that nobody captured leave two worlds: the write was applied in one of them. Whoever read its version decides.

Source: contract 2.3, detection.md 2.2.
"""

from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import before
from noclobber_analyzer.history import History

__all__ = ["WRITE_OPS", "Fate", "Fates"]

WRITE_OPS: Final = frozenset({Op.WRITE, Op.DELETE, Op.UPDATE})
_FAILED: Final = frozenset({Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND, Outcome.ERROR})


class Fate(Enum):
    """Which worlds a write is part of."""

    APPLIED = "applied"
    UNDECIDED = "undecided"
    UNAPPLIED = "unapplied"


class Fates:
    """The fates of one history's accesses."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ends: dict[str, Access | None] = {}
        self._aborted: dict[tuple[str, str], list[Access]] = defaultdict(list)
        self._known: dict[bytes, Fate] = {}
        for name, accesses in history.transactions.items():
            self._ends[name] = _end(accesses)
            for access in accesses:
                if access.op is Op.ABORT and access.savepoint:
                    self._aborted[name, access.savepoint].append(access)

    @cached_property
    def _read_versions(self) -> dict[tuple[str, str], list[Access]]:
        return _read_by_others(self._history)

    def of(self, access: Access) -> Fate:
        """The fate of one access."""
        if access.outcome is Outcome.OK and access.txn_id is None:
            return Fate.APPLIED
        known = self._known.get(access.key)
        if known is None:
            known = self._known[access.key] = self._judge(access)
        return known

    def end_of(self, access: Access) -> Access | None:
        """The commit or abort of the access's transaction, None if it has none or none was captured."""
        return self._ends.get(access.txn_id) if access.txn_id else None

    def seen_from(self, access: Access) -> Access:
        """The access at whose call, at the earliest, others can see this one: its commit, else itself."""
        end = self.end_of(access)
        return end if end is not None and end.op is Op.COMMIT else access

    def taken_back_by(self, access: Access) -> Access | None:
        """The abort, or the failed commit, that took a write back; None if none did."""
        for path in _paths(access.savepoint) if access.txn_id and self._aborted else ():
            for abort in self._aborted.get((access.txn_id or "", path), ()):
                if abort.outcome is Outcome.OK and _comes_after(abort, access):
                    return abort
        end = self.end_of(access)
        if end is not None and (end.op is Op.ABORT or end.outcome in (Outcome.REJECTED, Outcome.ERROR)):
            return end
        return None

    def serializable_rejected(self, access: Access) -> bool:
        """Whether the store refused to commit the access's serializable transaction: then it is part of no finding."""
        end = self.end_of(access)
        return end is not None and end.outcome is Outcome.REJECTED and access.isolation == "serializable"

    def _judge(self, access: Access) -> Fate:
        if access.outcome in _FAILED:
            lied = access.outcome is Outcome.ERROR and self._was_read(access)
            return Fate.UNDECIDED if lied else Fate.UNAPPLIED
        if access.txn_id:
            if self.taken_back_by(access) is not None:
                return Fate.UNAPPLIED
            end = self.end_of(access)
            if end is None:
                return Fate.UNDECIDED  # its abort may still come: what was read of it may have been dirty
            if end.outcome is Outcome.UNKNOWN:
                dirty = (access.isolation or "") == "read_uncommitted"
                return Fate.APPLIED if self._was_read(access) and not dirty else Fate.UNDECIDED
        if access.outcome is Outcome.UNKNOWN:
            return Fate.APPLIED if self._was_read(access) else Fate.UNDECIDED
        return Fate.APPLIED

    def _was_read(self, access: Access) -> bool:
        if access.op not in WRITE_OPS or access.written is None or access.weak:
            return False
        return any(
            read.strand != access.strand and read.part == access.part and not before(read, access)
            for read in self._read_versions.get((access.resource, access.written), ())
        )


def _end(accesses: list[Access]) -> Access | None:
    """The last commit or whole abort; a commit that was told twice counts once, the later one."""
    ends = [a for a in accesses if a.op is Op.COMMIT or (a.op is Op.ABORT and not a.savepoint)]
    return max(ends, key=lambda a: (a.seq, a.end_ns)) if ends else None


def _comes_after(abort: Access, access: Access) -> bool:
    return abort.seq > access.seq if abort.strand == access.strand else abort.start_ns > access.start_ns


def _paths(savepoint: str | None) -> Iterator[str]:
    """A savepoint's path, and those of the savepoints around it, the innermost first."""
    path = savepoint
    while path:
        yield path
        path = path.rpartition("/")[0]


def _read_by_others(history: History) -> dict[tuple[str, str], list[Access]]:
    """For each version of a resource that exactly one write made: the reads that got it."""
    makers: dict[tuple[str, str], int] = defaultdict(int)
    for access in history.accesses:
        if access.op in WRITE_OPS and access.written is not None:
            makers[access.resource, access.written] += 1
    readers: dict[tuple[str, str], list[Access]] = defaultdict(list)
    for resource, accesses in history.resources.items():
        for access in accesses:
            if access.op is Op.READ and access.read is not None and makers.get((resource, access.read)) == 1:
                readers[resource, access.read].append(access)
    return readers
