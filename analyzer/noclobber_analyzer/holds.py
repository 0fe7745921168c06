"""Who held which lock from when to when: locks, their renewals and unlocks put together.

A hold begins with a `lock` that was `ok` and ends with the unlock of the same token, else of the same owner; a `lock`
with the token that is held already renews it, and without tokens one by its owner while its lease lasts. Where a lease
has an end, the latest that renewals gave it counts. Unlocks that fit no hold of their own owner are kept apart:
somebody else's hold may have ended by them. An unlock that its owner tried in vain ends nothing, but shows that the
hold was lost by then, and not given back before.

Source: contract 2 (`lock.*`) and 2.1, detection.md 3.7. Nothing is judged here.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.history import History

__all__ = ["Hold", "Holds", "lock_name", "lock_token", "owner_of"]

MS: Final = 1_000_000
_IN_VAIN: Final = frozenset({Outcome.REJECTED, Outcome.NO_EFFECT, Outcome.NOT_FOUND})


@dataclass(slots=True)
class Hold:
    """One owner's holding of one lock.

    Attributes:
        lock: how it began. unlock: how its own owner ended it; None: not captured.
        owner, token: whose, and its fencing token where there is one.
        leased_ns: earliest and latest end of the lease on the holder's machine's clock; None: for ever.
        tried: an unlock that its owner tried in vain.
    """

    lock: Access
    owner: str
    token: int | None
    leased_ns: tuple[int, int] | None
    unlock: Access | None = None
    tried: Access | None = None

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
            if access.lock is None or access.lock.shared:
                continue
            if access.op is Op.UNLOCK and access.outcome in _IN_VAIN:
                holds._try(access)
            if access.outcome is not Outcome.OK:
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
            if hold.unlock is None and hold.owner == owner and hold.token == token and not _is_over(hold, access):
                hold.renewed_by(access)
                return
        self.of[access.resource].append(Hold(access, owner, token, _lease(access)))

    def _end(self, access: Access) -> None:
        hold = self._open_hold(access)
        if hold is not None:
            hold.unlock = access
        else:
            self.strays[access.resource].append(access)

    def _try(self, access: Access) -> None:
        hold = self._open_hold(access)
        if hold is not None:
            hold.tried = access

    def _open_hold(self, unlock: Access) -> Hold | None:
        """The last hold of the unlock's own owner that it fits, and that no unlock has shown to be lost."""
        assert unlock.lock is not None
        token, owner = _number(unlock.lock.token), owner_of(unlock)
        for hold in reversed(self.of[unlock.resource][-64:]):
            fits = hold.owner == owner and token in (None, hold.token)
            if fits and hold.unlock is None and hold.tried is None:
                return hold
        return None


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


def _is_over(hold: Hold, access: Access) -> bool:
    """Whether a hold without a token had ended when its owner locked again: then it is another hold."""
    if hold.tried is not None:
        return True
    if hold.token is not None or hold.leased_ns is None or slack_ns(hold.lock.process, access.process) is None:
        return False
    return hold.leased_ns[1] < local_ns(access.process, access.start_ns)


def _lease(access: Access) -> tuple[int, int] | None:
    if access.lock is None or access.lock.ttl_ms is None:
        return None
    start, end = local_ns(access.process, access.start_ns), local_ns(access.process, access.end_ns)
    return start + access.lock.ttl_ms * MS, end + access.lock.ttl_ms * MS
