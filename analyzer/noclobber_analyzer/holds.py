"""Who held which lock from when to when: locks, their renewals and unlocks put together.

A hold begins with a `lock` that was `ok` and ends with the unlock of the same token, else of the same owner; a `lock`
with the token that is held already renews it. Where a lease has an end, the latest that renewals gave it counts.
Unlocks that fit no hold of their own owner are kept apart: somebody else's hold may have ended by them.

Source: contract 2 (`lock.*`) and 2.1, detection.md 3.7. Nothing is judged here.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.history import History

__all__ = ["Hold", "Holds", "lock_name", "lock_token", "owner_of"]

MS: Final = 1_000_000


@dataclass(slots=True)
class Hold:
    """One owner's holding of one lock.

    Attributes:
        lock: how it began. unlock: how its own owner ended it; None: not captured.
        owner, token: whose, and its fencing token where there is one.
        leased_ns: earliest and latest end of the lease on the holder's machine's clock; None: for ever.
    """

    lock: Access
    owner: str
    token: int | None
    leased_ns: tuple[int, int] | None
    unlock: Access | None = None

    def renewed_by(self, access: Access) -> None:
        """The lease begins anew."""
        self.leased_ns = _lease(access)


@dataclass(slots=True)
class Holds:
    """The holds of one history.

    Attributes:
        of: by lock, in the order of their calls.
        strays: unlocks that fit no hold of their own owner, by lock.
        owners: strands by the owner's name that locks were taken under.
    """

    of: dict[str, list[Hold]] = field(default_factory=lambda: defaultdict(list))
    strays: dict[str, list[Access]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _by_token: dict[str, list[Hold]] = field(default_factory=dict)

    def above(self, lock: str, token: int, limit: int) -> list[Hold]:
        """The next holds of a lock by fencing token."""
        if lock not in self._by_token:
            numbered = (hold for hold in self.of.get(lock, ()) if hold.token is not None)
            self._by_token[lock] = sorted(numbered, key=lambda hold: hold.token or 0)
        own = self._by_token[lock]
        first = bisect_right(own, token, key=lambda hold: hold.token or 0)
        return own[first : first + limit]

    def before(self, lock: str, access: Access, limit: int) -> list[Hold]:
        """Holds of a lock that were begun last before an access returned, as recorded, the last one first."""
        own = self.of.get(lock, [])
        upto = bisect_right(own, access.end_ns, key=lambda hold: hold.lock.start_ns)
        return own[max(0, upto - limit) : upto][::-1]

    @classmethod
    def in_history(cls, history: History) -> "Holds":
        """All holds."""
        holds = cls()
        for access in history.of(Op.LOCK, Op.UNLOCK):
            if access.op is Op.LOCK and access.lock is not None:
                holds.owners[owner_of(access)].add(access.strand)
            if access.outcome is not Outcome.OK or access.lock is None or access.lock.shared:
                continue
            if access.op is Op.LOCK:
                holds._begin(access)
            elif access.op is Op.UNLOCK:
                holds._end(access)
        return holds

    def _begin(self, access: Access) -> None:
        assert access.lock is not None
        token, owner = _number(access.lock.token), owner_of(access)
        for hold in reversed(self.of[access.resource][-8:]):
            if hold.unlock is None and hold.owner == owner and hold.token == token:
                hold.renewed_by(access)
                return
        self.of[access.resource].append(Hold(access, owner, token, _lease(access)))

    def _end(self, access: Access) -> None:
        assert access.lock is not None
        token, owner = _number(access.lock.token), owner_of(access)
        for hold in reversed(self.of[access.resource][-64:]):
            if hold.unlock is None and hold.owner == owner and token in (None, hold.token):
                hold.unlock = access
                return
        self.strays[access.resource].append(access)


def owner_of(access: Access) -> str:
    """Whose lock it is: as recorded, else the strand's."""
    return (access.lock.owner if access.lock is not None else None) or access.strand


def lock_name(held: str) -> str:
    """The lock's URI without its token."""
    return held.partition("#")[0]


def lock_token(held: str) -> int | None:
    """The fencing token that a held lock was named with."""
    return _number(held.partition("#")[2])


def _number(token: str | None) -> int | None:
    return int(token) if token is not None and token.isdecimal() else None


def _lease(access: Access) -> tuple[int, int] | None:
    if access.lock is None or access.lock.ttl_ms is None:
        return None
    start, end = local_ns(access.process, access.start_ns), local_ns(access.process, access.end_ns)
    return start + access.lock.ttl_ms * MS, end + access.lock.ttl_ms * MS
