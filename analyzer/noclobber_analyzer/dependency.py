"""Dependencies between units: who overwrote (ww), read (wr) or superseded (rw) whom, and on what evidence.

A unit is a committed transaction, or a step that used what it read in a write, an effect or an acknowledgement of its
own. Edges come from versions alone (`succession`), predicate edges from the members of scans. A cycle needs units that
touch two resources, so resources without any such unit are never looked at. A unit that itself writes what it read, or
reads it twice at two versions, is a lost update or a non-repeatable read if it is anything, and gives no rw edge there.

Then everything that cannot lie on a cycle is trimmed away, and what is left falls into components (Tarjan 1972, without
recursion). What kind of cycle it is, is decided in `detectors.cycles`.

Source: Adya 1999, chapter 4 (dependencies); analysis.md 7.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, NamedTuple, Protocol, TypeVar

from noclobber.contract import Op, Outcome, UnitKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.fate import WRITE_OPS, Fate
from noclobber_analyzer.phrases import some
from noclobber_analyzer.state import State, conflicting_parts
from noclobber_analyzer.succession import Proof, Succession

__all__ = ["Dependency", "Graph", "by_source", "components", "dependencies", "rings", "trimmed"]

UNSEEN_MAX: Final = 64
"""Writes under a predicate, recorded next before and after a scan of it, that are compared with what it found."""
_USING: Final = WRITE_OPS | {Op.EFFECT, Op.ACK, Op.SEND}
_STATE: Final = WRITE_OPS | {Op.READ, Op.SCAN}


class Dependency(NamedTuple):
    """One unit depends on another.

    Attributes:
        source, target: units; the target comes later in any serial order.
        type: `ww`, `wr` or `rw`.
        resource: where. first, then: the accesses of source and target.
        proof: what it rests on. rests_on_first: whether on the claim that nothing older than the first state exists.
    """

    source: str
    target: str
    type: str
    resource: str
    first: Access
    then: Access
    proof: Proof
    rests_on_first: bool = False


Graph = dict[str, list[Dependency]]
"""Dependencies by their source."""


class Arc(Protocol):
    """What makes up a graph: a dependency, or what another analyzer says of one."""

    @property
    def source(self) -> str:
        """The unit that comes first."""
        ...

    @property
    def target(self) -> str:
        """The unit that depends on it."""
        ...

    @property
    def resource(self) -> str:
        """Where."""
        ...


_Arc = TypeVar("_Arc", bound=Arc)


def dependencies(evidence: Evidence) -> list[Dependency]:
    """Dependencies that may lie on a cycle over several resources; of equal ones the best proven."""
    best: dict[tuple[str, str, str, str], Dependency] = {}
    for edge in _all(evidence):
        known = best.get(edge[:4])
        if known is None or known.proof < edge.proof:
            best[edge[:4]] = edge
    return list(best.values())


def _all(evidence: Evidence) -> Iterator[Dependency]:
    units = _Units(evidence)
    for name in sorted(units.resources):
        state = evidence.state(name)
        if state.writes:
            yield from _of_resource(state, evidence.succession(state), units)
    for scan in units.scans:
        yield from _of_scan(scan, units, evidence)
    if units.cut:
        evidence.unknown.append(
            f"what scans of {some(units.cut)} did not find: only the {UNSEEN_MAX} writes before and after each were "
            "compared with it"
        )


class _Units:
    """Which units count, and which resources they connect.

    Attributes:
        resources: those that a unit touches which touches another one, too. scans: complete scans of such units.
        cut: containers of whose members not all were compared with each scan.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._counts: dict[str, bool] = {}
        self._last_use: dict[tuple[str, str], int] = {}
        self.resources: set[str] = set()
        self.scans: list[Access] = []
        self.cut: set[str] = set()
        for accesses in evidence.history.units.values():
            if len(accesses) < 2 or accesses[0].unit_kind is None:
                continue
            touched = {a.resource for a in accesses if a.op in _STATE}
            scans = [a for a in accesses if a.op is Op.SCAN and a.scan is not None and a.outcome is Outcome.OK]
            members = {name for a in scans if a.scan is not None for name in a.scan.resources}
            if len(touched | members) > 1:
                self.resources |= (touched | members) & evidence.history.resources.keys()
                self.scans += [a for a in scans if a.scan is not None and not a.scan.approximate and not a.scan.id]

    @cached_property
    def covered(self) -> Mapping[tuple[str, str], list[Access]]:
        """Writes by container and predicate that is known to cover them; each in the container right above it."""
        found: dict[tuple[str, str], list[Access]] = defaultdict(list)
        for access in self._evidence.history.accesses:
            if access.op in (Op.WRITE, Op.UPDATE) and access.predicates:
                container = access.resource[: access.resource.rstrip("/").rfind("/") + 1]
                for predicate in (*access.predicates, "*"):
                    found[container, predicate].append(access)
        return found

    def has(self, access: Access) -> bool:
        """Whether an access's unit counts, and the access with it."""
        if access.unit_kind is None:
            return False
        if access.unit_kind is not UnitKind.TXN:
            return access.op in WRITE_OPS or access.seq < self._used_at(access)
        known = self._counts.get(access.unit)
        if known is None:
            known = self._counts[access.unit] = self._committed(access)
        return known

    def _committed(self, access: Access) -> bool:
        end = self._evidence.fates.end_of(access)
        if end is not None and end.op is Op.COMMIT and end.outcome is Outcome.OK:
            return True
        if end is not None and (end.op is Op.ABORT or end.outcome is not Outcome.UNKNOWN):
            return False
        own = self._evidence.history.transactions.get(access.txn_id or "", ())
        return any(a.op in WRITE_OPS and self._evidence.fates.of(a) is Fate.APPLIED for a in own)

    def _used_at(self, access: Access) -> int:
        """The number of the strand's last access in the unit that may rest on what was read."""
        key = (access.unit, access.strand)
        if key not in self._last_use:
            own = self._evidence.history.units.get(access.unit, ())
            self._last_use[key] = max((a.seq for a in own if a.op in _USING and a.strand == access.strand), default=0)
        return self._last_use[key]


def _of_resource(state: State, order: Succession, units: _Units) -> Iterator[Dependency]:
    writes = [w for w in order.applied if w.written is not None and units.has(w)]
    last: dict[str, Access] = {}
    for write in sorted(writes, key=lambda w: (w.seq, w.span_id)):
        last[write.unit] = write
    yield from _overwrites(state, order, last)
    pictures: dict[str, set[str | None]] = defaultdict(set)
    reads = [r for r in state.reads if r.read is not None and units.has(r) and not state.is_own_version(r)]
    for read in reads:
        pictures[read.unit].add(read.read)
    for read in reads:
        maker = order.maker(read)
        if maker is not None and _is_seen(maker, read, last):
            yield Dependency(maker.unit, read.unit, "wr", state.name, maker, read, order.proof())
        if read.unit in last or len(pictures[read.unit]) > 1:
            continue
        for write, proof in order.following(read.read or "", read):
            if write.unit in last and write.unit != read.unit and units.has(write):
                first = proof is Proof.CONTENT and read.read in order.first
                yield Dependency(read.unit, write.unit, "rw", state.name, read, write, proof, first)


def _is_seen(maker: Access, read: Access, last: Mapping[str, Access]) -> bool:
    """Whether a read saw the result of another unit; what a unit replaced itself is an intermediate read."""
    return maker.unit != read.unit and last.get(maker.unit) is maker and conflicting_parts(maker, read)


def _overwrites(state: State, order: Succession, last: Mapping[str, Access]) -> Iterator[Dependency]:
    """Edges from each unit's result to the next version of another unit."""
    for write in last.values():
        if len(state.makers.get(write.written or "", ())) == 1 and not write.weak:
            for other, proof in order.following(write.written or "", write):
                if other.unit != write.unit and other.unit in last:
                    first = proof is Proof.CONTENT and write.written in order.first
                    yield Dependency(write.unit, other.unit, "ww", state.name, write, other, proof, first)


def _of_scan(scan: Access, units: _Units, evidence: Evidence) -> Iterator[Dependency]:
    """Predicate edges: a member that the scan did not find was written later, where nothing else can explain it."""
    found = scan.scan
    if found is None or not units.has(scan) or found.predicate is None:
        return
    covered = units.covered.get((scan.resource, found.predicate), [])
    upto = bisect_right(covered, scan.start_ns, key=lambda w: w.start_ns)  # they come in that order
    near = covered[max(0, upto - UNSEEN_MAX) : upto + UNSEEN_MAX]
    if len(near) < len(covered):
        units.cut.add(scan.resource)
    for write in near:
        if write.unit == scan.unit or write.resource in found.resources or not units.has(write):
            continue
        if evidence.fates.of(write) is Fate.APPLIED and len(evidence.state(write.resource).writes) == 1:
            yield Dependency(
                scan.unit, write.unit, "rw", write.resource, scan, write, Proof.CONTENT, rests_on_first=True
            )


def by_source(edges: Iterable[_Arc]) -> dict[str, list[_Arc]]:
    """Edges as a graph."""
    graph: dict[str, list[_Arc]] = defaultdict(list)
    for edge in edges:
        graph[edge.source].append(edge)
    return graph


def rings(edges: Iterable[_Arc]) -> list[frozenset[str]]:
    """For each set of units that all depend on one another (a strongly connected component) the resources where."""
    graph = trimmed(by_source(edges))
    found = []
    for units in components(graph) if graph else ():
        inside = set(units)
        found.append(frozenset(e.resource for unit in units for e in graph.get(unit, ()) if e.target in inside))
    return found


def trimmed(graph: Mapping[str, list[_Arc]], anchored: Container[str] = ()) -> dict[str, list[_Arc]]:
    """The graph without units that have no edge in or none out, again and again: every cycle survives. Linear.

    Args:
        graph: edges by source.
        anchored: units that may have edges elsewhere; they stay.
    """
    incoming: dict[str, int] = defaultdict(int)
    into: dict[str, list[str]] = defaultdict(list)
    outgoing = {unit: len(edges) for unit, edges in graph.items()}
    for unit, edges in graph.items():
        for edge in edges:
            incoming[edge.target] += 1
            into[edge.target].append(unit)
    nodes = set(outgoing) | set(incoming)
    gone = {unit for unit in nodes if not (outgoing.get(unit) and incoming.get(unit)) and unit not in anchored}
    work = list(gone)
    while work:
        unit = work.pop()
        for source in into.get(unit, ()):
            outgoing[source] -= 1
            if outgoing[source] == 0 and source not in gone and source not in anchored:
                gone.add(source)
                work.append(source)
        for edge in graph.get(unit, ()):
            incoming[edge.target] -= 1
            if incoming[edge.target] == 0 and edge.target not in gone and edge.target not in anchored:
                gone.add(edge.target)
                work.append(edge.target)
    return {
        unit: [edge for edge in edges if edge.target not in gone] for unit, edges in graph.items() if unit not in gone
    }


def components(graph: Mapping[str, list[_Arc]]) -> list[list[str]]:
    """Strongly connected components of two units or more. Linear; no recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(graph):
        if root in index:
            continue
        work: list[tuple[str, Iterator[_Arc]]] = [(root, iter(graph[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            unit, edges = work[-1]
            following = next((e.target for e in edges if e.target not in index or e.target in on_stack), None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[unit])
                if low[unit] == index[unit]:
                    found += _closed(unit, stack, on_stack)
            elif following in index:
                low[unit] = min(low[unit], index[following])
            else:
                index[following] = low[following] = len(index)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(graph.get(following, ()))))
    return found


def _closed(unit: str, stack: list[str], on_stack: set[str]) -> Iterable[list[str]]:
    members = []
    while True:
        member = stack.pop()
        on_stack.discard(member)
        members.append(member)
        if member == unit:
            return [sorted(members)] if len(members) > 1 else []
