"""Who waits, and who may be in the way: what a circle of waits in a window may consist of.

A deadlock runs through any locks, joins and queues, so a judgement of one of them needs all waits there are, and who
held what was waited for. Waits in vain are few; where none is kept, no judgement asks. A join that ended well is no
wait in vain, and there are many; but it may be the call that closed a circle, and names it then. In a circle all wait
at one moment, and somebody in vain, so only joins that lie over a wait in vain can be.

Source: contract 2 (`waits.for`), detection.md 3.7. What is a circle is decided in `detectors.deadlock`.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns
from noclobber_analyzer.holds import owner_of

__all__ = ["Waits", "is_in_vain"]

Kept = dict[bytes, Access]
"""Accesses by their keys."""
Spell = tuple[int, int]
"""From when to when somebody waited, ns."""
FOR_EVER_NS = 1 << 63


class Waits:
    """The waits, joins and takers of locks among accesses that come and go."""

    def __init__(self) -> None:
        self._waits: dict[str, Kept] = defaultdict(dict)
        self._named: dict[str, Kept] = defaultdict(dict)
        self._joins: dict[str, Kept] = defaultdict(dict)
        self._owners: dict[str, Kept] = defaultdict(dict)
        self._spells: _Spells | None = None

    def add(self, access: Access) -> None:
        """Take an access that synchronises."""
        for index, name in self._indexes(access):
            index[name][access.key] = access
        self._spells = None if is_in_vain(access) else self._spells

    def drop(self, access: Access) -> None:
        """Let an access go."""
        for index, name in self._indexes(access):
            entries = index.get(name)
            if entries is not None:
                entries.pop(access.key, None)
                if not entries:
                    del index[name]
        self._spells = None if is_in_vain(access) else self._spells

    def _indexes(self, access: Access) -> Iterable[tuple[dict[str, Kept], str]]:
        if access.op is Op.JOIN:
            yield self._joins, access.resource
        if access.op is Op.LOCK and access.lock is not None:
            yield self._owners, owner_of(access)
        if is_in_vain(access):
            yield self._waits, access.resource
            for name in access.waits_for:
                yield self._named, name

    def at(self, resources: frozenset[str]) -> bool:
        """Whether anybody waits at one of some resources, or may have closed a circle there."""
        if not self._waits:
            return False
        joins = (join for name in resources if name in self._joins for join in self._joins[name].values())
        return not resources.isdisjoint(self._waits) or any(map(self.may_close, joins))

    def may_close(self, access: Access) -> bool:
        """Whether an access is a join that may be one of a circle: it waits in vain, or while somebody does."""
        if access.op is not Op.JOIN or not self._waits:
            return False
        if self._spells is None:
            self._spells = _Spells(each for at in self._waits.values() for each in at.values())
        return is_in_vain(access) or self._spells.lie_over(access)

    def for_the_owner(self, access: Access) -> set[str]:
        """Where somebody waits for the owner of a lock that was taken: it tells which strand that is."""
        if access.op is not Op.LOCK or access.lock is None or not self._named:
            return set()
        return {wait.resource for wait in self._named.get(owner_of(access), {}).values()}

    def all(self, of_resource: Mapping[str, Kept]) -> Kept:
        """All waits and joins, all that was done where somebody waits, and what those that are waited for hold."""
        found: Kept = {}
        for joins in self._joins.values():
            found.update(joins)
        for resource, waits in self._waits.items():
            found.update(waits)
            found.update(of_resource.get(resource, {}))
        for name in self._named:
            found.update(self._owners.get(name, {}))
        return found


class _Spells:
    """When somebody waited in vain, sorted.

    As recorded, and on the machines' own clocks: by either may two calls be told to have waited at one moment.
    """

    def __init__(self, waits: Iterable[Access]) -> None:
        spells = [_spells_of(wait) for wait in waits]
        sorted_ = [sorted(each[way] for each in spells) for way in (0, 1)]
        self._starts = [[start for start, _ in each] for each in sorted_]
        self._latest = [list(accumulate((end for _, end in each), max)) for each in sorted_]

    def lie_over(self, access: Access) -> bool:
        """Whether any of them has a moment in common with an access."""
        for starts, latest, (start_ns, end_ns) in zip(self._starts, self._latest, _spells_of(access), strict=True):
            before = bisect_right(starts, end_ns)
            if before and latest[before - 1] >= start_ns:
                return True
        return False


def _spells_of(access: Access) -> tuple[Spell, Spell]:
    process, end_ns = access.process, FOR_EVER_NS if access.open else access.end_ns
    return (access.start_ns, end_ns), (local_ns(process, access.start_ns), local_ns(process, end_ns))


def is_in_vain(access: Access) -> bool:
    """Whether an access says for whom it waited, or waited in vain for a lock or a strand."""
    return bool(access.waits_for) or (
        access.op in (Op.LOCK, Op.JOIN) and (access.open or access.outcome is not Outcome.OK)
    )
