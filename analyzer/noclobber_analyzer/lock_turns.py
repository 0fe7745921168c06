"""Locks that raise no question: taken and given back in turn, under rising fencing tokens.

A lock is *in turn* if, in the order in which holds began and ended by one clock, each hold was given back by the strand
that had taken it before the next one began, within its lease, and each token is above the one before. Then no two holds
overlap, nobody gives back what is another's, no lease ran out, and no call waited in vain. An access that names such a
hold, by its token, and stands inside it in its strand's own order, came before every later hold; so no token that it
was written under had been superseded.

Every call counts at one moment: the taking when it returned, since it may have waited, the giving back when it was
called. What comes late is sorted in with the others of its lock when it is next asked about.

Source: contract 2 (`lock.*`), detection.md 3.7; analysis.md 9 (frames). What is not in turn is judged (`holds`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.holds import lock_name, lock_token, owner_of

__all__ = ["LockTurns"]

SORTED_MAX: Final = 512
"""Calls of one lock that are sorted again because one came late; of more it is judged."""
HOLDS_MAX: Final = 64
"""Holds of one lock that accesses are found inside: the last ones."""
MS_NS: Final = 1_000_000


@dataclass(slots=True)
class _Hold:
    """A hold: whose, from which number of its strand to which, and the last number that was found inside."""

    strand: str
    owner: str
    token: int
    since: int
    until_ns: int | None
    upto: int | None = None
    used: int = 0


@dataclass(slots=True)
class _Lock:
    """Where a lock stands; `fits` is False once something was out of turn.

    Attributes:
        clock: of all calls. last_ns: the moment of the last one. held: by whom it is held now.
        holds: the last ones, by token. inside: resources whose accesses named this lock.
        missed: those of them that named a hold which was not known.
    """

    fits: bool = True
    clock: str | None = None
    last_ns: int = -1 << 63
    highest: int = -1
    held: _Hold | None = None
    holds: dict[int, _Hold] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)


class LockTurns:
    """The locks of a window.

    Args:
        accesses_of: the kept accesses to a resource.
    """

    def __init__(self, accesses_of: Callable[[str], Iterable[Access]]) -> None:
        self._accesses_of = accesses_of
        self._locks: dict[str, _Lock] = {}
        self._late: dict[str, None] = {}
        self._asked_again: set[str] = set()

    def take(self, access: Access, *, again: bool = False) -> None:
        """Go on with a call to a lock."""
        lock = self._locks.setdefault(access.resource, _Lock())
        if again or _moment(access) < lock.last_ns:
            self._late[access.resource] = None
        elif access.resource not in self._late:
            _go_on(lock, access)
        self._asked_again |= lock.missed
        lock.missed = set()

    def knows(self, name: str) -> bool:
        """Whether it is a lock."""
        lock = self._locks.get(name)
        return lock is not None and lock.clock is not None

    def fits(self, name: str) -> bool:
        """Whether a lock is in turn, once settled."""
        lock = self._locks.get(name)
        return lock is not None and lock.fits and name not in self._late

    def is_inside(self, access: Access) -> bool:
        """Whether an access stands inside the one hold that it names; if not, `settle` tells when to ask again."""
        name, token = lock_name(access.locks[0]), lock_token(access.locks[0])
        lock = self._locks.setdefault(name, _Lock())
        lock.inside.add(access.resource)
        hold = lock.holds.get(token) if token is not None and len(access.locks) == 1 else None
        if hold is None or hold.strand != access.strand or not hold.since < access.seq < (hold.upto or 1 << 63):
            lock.missed.add(access.resource)
            return False
        hold.used = max(hold.used, access.seq)
        return True

    def settle(self) -> set[str]:
        """Sort in what came late; returns resources whose accesses named locks of which other holds are known now."""
        changed, self._asked_again = self._asked_again, set()
        for name in self._late:
            before = self._locks[name]
            after = self._locks[name] = self._sorted(name, before)
            if before.fits != after.fits:
                changed |= after.inside
        self._late.clear()
        return changed

    def leave(self, name: str, resource: str) -> None:
        """Nothing is kept any more of a resource whose accesses named a lock."""
        lock = self._locks.get(name)
        if lock is not None:
            lock.inside.discard(resource)
            lock.missed.discard(resource)
            if lock.clock is None and not lock.inside:
                del self._locks[name]

    def forget(self, name: str) -> None:
        """Drop a lock of which nothing is kept any more."""
        self._locks.pop(name, None)
        self._late.pop(name, None)

    def _sorted(self, name: str, before: _Lock) -> _Lock:
        calls = list(self._accesses_of(name))
        lock = _Lock(fits=len(calls) <= SORTED_MAX, clock=before.clock, inside=before.inside, missed=before.missed)
        for access in sorted(calls, key=lambda a: (_moment(a), a.key)) if lock.fits else ():
            _go_on(lock, access)
        for token, hold in lock.holds.items():
            known = before.holds.get(token)
            if known is not None and known.strand == hold.strand:
                hold.used = known.used
                lock.fits = lock.fits and (hold.upto is None or hold.used < hold.upto)
        return lock


def _go_on(lock: _Lock, access: Access) -> None:
    lock.last_ns = max(lock.last_ns, _moment(access))
    lock.fits = lock.fits and _is_next(lock, access)


def _is_next(lock: _Lock, access: Access) -> bool:
    process = access.process
    clock = process.clock or f"process {process.id}"
    same = lock.clock in (None, clock)
    lock.clock = lock.clock or clock
    if not same or not _is_plain(access):
        return False
    return _begins(lock, access) if access.op is Op.LOCK else _ends(lock, access)


def _begins(lock: _Lock, access: Access) -> bool:
    assert access.lock is not None
    token = int(access.lock.token or 0)
    if lock.held is not None or token <= lock.highest:
        return False
    ttl_ms = access.lock.ttl_ms
    until_ns = None if ttl_ms is None else local_ns(access.process, access.start_ns) + ttl_ms * MS_NS
    lock.highest = token
    lock.held = lock.holds[token] = _Hold(access.strand, owner_of(access), token, access.seq, until_ns)
    if len(lock.holds) > HOLDS_MAX:
        del lock.holds[next(iter(lock.holds))]
    return True


def _ends(lock: _Lock, access: Access) -> bool:
    assert access.lock is not None
    hold = lock.held
    if lock.highest < 0:
        lock.highest = int(access.lock.token or 0)  # its taking fell out, or was before the first that is kept
        return True
    if hold is None or hold.strand != access.strand or hold.owner != owner_of(access) or access.seq <= hold.since:
        return False
    if access.lock.token is not None and int(access.lock.token) != hold.token:
        return False
    if hold.until_ns is not None and local_ns(access.process, access.end_ns) >= hold.until_ns:
        return False
    lock.held, hold.upto = None, access.seq
    return hold.used < access.seq


def _is_plain(access: Access) -> bool:
    """Whether a call took or gave back one exclusive hold, and says under which token it was taken."""
    lock = access.lock
    if lock is None or lock.shared or access.outcome is not Outcome.OK:
        return False
    if access.op is Op.LOCK and (lock.token is None or access.waits_for):
        return False
    if lock.token is not None and not lock.token.isdecimal():
        return False
    return not (access.txn_id or access.message or access.locks or access.partial or access.open or access.cancelled)


def _moment(access: Access) -> int:
    """When a call counts: a taking once it returned, a giving back from its call."""
    return local_ns(access.process, access.end_ns if access.op is Op.LOCK else access.start_ns)
