"""Which resources are one analyzer's to judge, where several share a store.

The hash of a resource, by which the store is sorted and sharded, is cut into 64 ranges, and an analyzer owns some of
them. Every resource is judged by the owner of its range and by nobody else, whatever the verdict is about: so a
finding has one writer. The store computes the hash, also of names that no access was stored under (a declared alias, a
member of a scan).

Source: analysis.md 10, docs/decisions/0006-ranges.md. How ranges change hands stands in `leases`.
"""

from collections.abc import Iterable
from typing import Final

from noclobber_analyzer.tables import Store

__all__ = ["ALL", "RANGES", "SHIFT", "Share"]

RANGES: Final = 64
SHIFT: Final = 58
"""Bits of the hash below those that name its range."""
ALL: Final = frozenset(range(RANGES))
NAMES_MAX: Final = 500_000
"""Resources whose ranges are kept in memory; of more, all are asked for again."""
ASKED_MAX: Final = 500
"""Names in one question: they stand in a URL, where the store is a server."""


class Share:
    """The ranges of one analyzer; they may change between two of its steps.

    Args:
        store: knows the hash of a name.
        ranges: to begin with.
        owner: names the analyzer among those that share the store.
    """

    def __init__(self, store: Store, ranges: Iterable[int] = ALL, owner: str = "") -> None:
        self.ranges = frozenset(ranges)
        self.owner = owner
        self._store = store
        self._known: dict[str, int] = {}

    @property
    def is_all(self) -> bool:
        """Whether there is nobody else."""
        return len(self.ranges) == RANGES

    def learn(self, resource: str, resource_hash: int) -> None:
        """What a row says of a resource's hash."""
        self._known[resource] = resource_hash >> SHIFT

    def own(self, resources: Iterable[str], ranges: frozenset[int] | None = None) -> list[str]:
        """Those of some resources that lie in one's ranges, or in these, in their order."""
        wanted = self.ranges if ranges is None else ranges
        names = list(dict.fromkeys(resources))
        if len(wanted) == RANGES:
            return names
        if len(self._known) > NAMES_MAX:
            self._known.clear()
        self._ask([name for name in names if name not in self._known])
        return [name for name in names if self._known[name] in wanted]

    def _ask(self, names: list[str]) -> None:
        sql = "SELECT name, cityHash64(name) FROM (SELECT arrayJoin({names:Array(String)}) AS name)"
        for at in range(0, len(names), ASKED_MAX):
            asked = names[at : at + ASKED_MAX]
            rows = self._store.rows(sql, {"names": asked})
            for name, (_, resource_hash) in zip(asked, rows, strict=True):
                self.learn(name, int(resource_hash))
