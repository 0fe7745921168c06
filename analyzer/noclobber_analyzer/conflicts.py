"""Conflicts between units that several analyzers judge: the edges that carry a cycle from one range to another.

A judgement sees what the units on a resource did elsewhere, and all that was done there; a cycle that goes on beyond
that cannot be seen from any of its resources. So each owner hands on the dependencies (ww, wr, rw) that it finds at its
resources, less those that can lie on no cycle: what is trimmed inside one's ranges, where a unit that touches others'
resources counts as having edges there. Everybody puts them together, and where units of several resources depend on one
another in a ring (a strongly connected component), each owner judges its resources in it over a view that takes in all
of it: the evaluator then sees the whole cycle, and whoever owns the resource that names it writes the finding.

Edges are a filter, no verdicts: one too many widens a view, and none is ever taken back. They leave with the kept
history, and at their limit, oldest first. Rings over more resources than a view is widened by are counted.

Source: analysis.md 7 (trimming, components) and 10.3.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.dependency import Dependency, by_source, rings, trimmed
from noclobber_analyzer.hints import TYPES
from noclobber_analyzer.tables import Store

__all__ = ["Conflict", "Conflicts"]

CONFLICT: Final = ("source", "target", "type", "resource")
EDGES_MAX: Final = 200_000
"""Edges kept; of more the oldest are forgotten."""
RING_MAX: Final = 2_000
"""Resources of one ring up to which views are widened to it."""
OVERLAP_NS: Final = 120 * SECOND_NS
"""How far back others' edges are read again: their clocks differ, and inserts become visible out of order."""

log = logging.getLogger("noclobber.analyzer")


class Conflict(NamedTuple):
    """One unit depends on another: `target` comes later in any serial order."""

    source: str
    target: str
    type: str
    resource: str


class Conflicts:
    """The edges that one analyzer knows: its own, and those that others hand on.

    Args:
        store: holds the table `conflicts`.
        owner: names the analyzer.
        elsewhere: whether a unit touched a resource of another analyzer.
        kept_ns: how long an edge counts.

    Attributes:
        forgotten: edges dropped at the limit. too_wide: rings over too many resources.
    """

    def __init__(self, store: Store, owner: str, elsewhere: Callable[[str], bool], kept_ns: int) -> None:
        self.forgotten = self.too_wide = 0
        self._store, self._owner, self._elsewhere, self._kept_ns = store, owner, elsewhere, kept_ns
        self._own: dict[Conflict, int] = {}
        self._others: dict[Conflict, int] = {}
        self._told: set[Conflict] = set()
        self._untold = False
        self._heard_ns = 0
        self._rings: dict[str, frozenset[str]] = {}
        self._changed = False

    def tell(self, edges: Iterable[Dependency], now_ns: int, *, alone: bool) -> None:
        """Take what a judgement found at one's own resources, and hand on what others may need.

        Args:
            edges: dependencies at one's own resources.
            now_ns: wall time.
            alone: nobody else is there to need it; what was not handed on is when somebody comes.
        """
        for edge in edges:
            conflict = Conflict(*edge[:4])
            self._changed = self._changed or conflict not in self._own
            self._own[conflict] = now_ns
            self._untold = True
        if alone or not self._untold:
            return
        outside = {unit for edge in self._own for unit in edge[:2] if self._elsewhere(unit)}
        staying = (edge for out in trimmed(by_source(self._own), outside).values() for edge in out)
        fresh = [edge for edge in staying if edge not in self._told]
        if fresh:
            self._store.insert("conflicts", ("owner", *CONFLICT, "at_ns"), [(self._owner, *e, now_ns) for e in fresh])
            self._told.update(fresh)
        self._untold = False

    def hear(self, now_ns: int) -> set[str]:
        """Read what others handed on; returns the resources of the rings that this closed or widened."""
        sql = (
            f"SELECT {', '.join(CONFLICT)}, max(at_ns) FROM conflicts WHERE at_ns >= {{since:UInt64}} "  # noqa: S608  constants only
            f"AND owner != {{owner:String}} AND type NOT IN {{hints:Array(String)}} GROUP BY {', '.join(CONFLICT)}"
        )
        since_ns = max(0, (self._heard_ns or now_ns - self._kept_ns) - OVERLAP_NS)
        for *words, at_ns in self._store.rows(sql, {"since": since_ns, "owner": self._owner, "hints": list(TYPES)}):
            conflict = Conflict(*map(str, words))
            self._changed = self._changed or not (conflict in self._others or conflict in self._own)
            self._others[conflict] = max(int(at_ns), self._others.get(conflict, 0))
            self._heard_ns = max(self._heard_ns, int(at_ns))
        return self.closed(now_ns)

    def closed(self, now_ns: int) -> set[str]:
        """The resources of the rings that were closed or widened since this was last asked. Linear in the edges."""
        if not self._changed:
            return set()
        self._changed = False
        self._forget(now_ns)
        before, self._rings = self._rings, self._found()
        return {name for name, ring in self._rings.items() if not ring <= before.get(name, frozenset())}

    def beside(self, resources: Iterable[str]) -> frozenset[str]:
        """The resources of all rings in which some resources are."""
        found = [self._rings[name] for name in resources if name in self._rings]
        return frozenset().union(*found)

    def _found(self) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for ring in rings([*self._own, *(edge for edge in self._others if edge not in self._own)]):
            if len(ring) > RING_MAX:
                self.too_wide += 1
                log.warning("units depend on one another over %d resources: too many for one view", len(ring))
            elif len(ring) > 1:
                for name in ring:
                    found[name] = ring | found.get(name, frozenset())
        return found

    def _forget(self, now_ns: int) -> None:
        for edges in (self._own, self._others):
            old = [edge for edge, at_ns in edges.items() if at_ns < now_ns - self._kept_ns]
            more = sorted(edges.keys() - set(old), key=lambda edge: -edges[edge])[EDGES_MAX:]
            for edge in (*old, *more):
                del edges[edge]
                self._told.discard(edge)
            self.forgotten += len(more)
