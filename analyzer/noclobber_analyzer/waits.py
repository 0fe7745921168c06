"""Who waits, and who may be in the way: what a circle of waits in a window may consist of.

A deadlock runs through any locks, joins and queues, so a judgement of one of them needs all waits there are, and who
held what was waited for. Waits in vain are few; where none is kept, no judgement asks.

Source: contract 2 (`waits.for`), detection.md 3.7. What is a circle is decided in `detectors.deadlock`.
"""

from collections import defaultdict
from collections.abc import Mapping

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.holds import owner_of

__all__ = ["Waits"]

Kept = dict[bytes, Access]
"""Accesses by their keys."""


class Waits:
    """The waits, joins and takers of locks among accesses that come and go."""

    def __init__(self) -> None:
        self._waits: dict[str, Kept] = defaultdict(dict)
        self._joins: Kept = {}
        self._owners: dict[str, Kept] = defaultdict(dict)

    def add(self, access: Access) -> None:
        """Take an access that synchronises."""
        if access.op is Op.JOIN:
            self._joins[access.key] = access
        if access.op is Op.LOCK and access.lock is not None:
            self._owners[owner_of(access)][access.key] = access
        if _is_wait(access):
            self._waits[access.resource][access.key] = access

    def drop(self, access: Access) -> None:
        """Let an access go."""
        self._joins.pop(access.key, None)
        for index, name in ((self._waits, access.resource), (self._owners, owner_of(access))):
            entries = index.get(name)
            if entries is not None:
                entries.pop(access.key, None)
                if not entries:
                    del index[name]

    def at(self, resources: frozenset[str]) -> bool:
        """Whether anybody waits at one of some resources."""
        return not resources.isdisjoint(self._waits)

    def all(self, of_resource: Mapping[str, Kept]) -> Kept:
        """All waits and joins, all that was done where somebody waits, and what those that are waited for hold."""
        found = dict(self._joins)
        names: set[str] = set()
        for resource, waits in self._waits.items():
            found.update(waits)
            found.update(of_resource.get(resource, {}))
            names.update(name for wait in waits.values() for name in wait.waits_for)
        for name in names:
            found.update(self._owners.get(name, {}))
        return found


def _is_wait(access: Access) -> bool:
    """Whether an access says for whom it waited, or waited for a lock in vain."""
    return bool(access.waits_for) or (access.op is Op.LOCK and (access.open or access.outcome is not Outcome.OK))
