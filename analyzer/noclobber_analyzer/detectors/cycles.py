"""Cycles of dependencies: sets of units that no serial order explains, each named by its weakest kind.

Of the cycles that a unit names (it is the greatest unit in them) the first kind that has one is told, by its shortest:
only ww is a dirty write; ww and wr a circular information flow; one rw a read skew; two or more rw, none adjacent, a
long fork; two adjacent rw between two units on two resources a write skew; anything else a serialization cycle. Each
kind is a small automaton over edge types, and one breadth-first search runs the product of graph and automaton.

What an earlier kind explains is taken out first, so that a lost update is not told again as a cycle. Two adjacent rw
are allowed under snapshot isolation; whether they were meant to be nobody can tell from here.

Source: Adya 1999 (G0, G1c, G-single, G2), Berenson et al. 1995 (A5A, A5B), Elle (arXiv 2003.10554); analysis.md 7.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from noclobber.contract import PRECEDENCE, Certainty, Kind, Op, UnitKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.dependency import Dependency, Graph, by_source, components, trimmed
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.state import NUMBERS
from noclobber_analyzer.succession import Proof
from noclobber_analyzer.verdict import Candidate, Grade, Link, Name, partial

__all__ = ["SEARCH_STEPS_MAX", "cycles"]

SEARCH_STEPS_MAX: Final = 200_000
"""Edges that the searches of one evaluation follow; spent, the cycles that were not found yet stay unknown."""


class _State(NamedTuple):
    """Of a path: its rw edges (2: two or more), whether its first and its last edge is one, whether it has a wr."""

    rw: int = 0
    first: bool = False
    last: bool = False
    wr: bool = False
    length: int = 0


class _Shape(NamedTuple):
    """A kind of cycle: which edges may follow, and whether a closed path is one."""

    kind: Kind
    may: Callable[[_State, str], bool]
    closed: Callable[[_State], bool]


_SHAPES: Final = (
    _Shape(Kind.DIRTY_WRITE, lambda _, t: t == "ww", lambda _: True),
    _Shape(Kind.CIRCULAR_INFORMATION_FLOW, lambda _, t: t != "rw", lambda s: s.wr),
    _Shape(Kind.READ_SKEW, lambda s, t: t != "rw" or s.rw == 0, lambda s: s.rw == 1),
    _Shape(Kind.LONG_FORK, lambda s, t: not (t == "rw" and s.last), lambda s: s.rw == 2 and not (s.first and s.last)),
    _Shape(Kind.WRITE_SKEW, lambda s, t: t == "rw" and s.length < 2, lambda s: s.length == 2),
    _Shape(Kind.SERIALIZATION_CYCLE, lambda *_: True, lambda s: s.rw == 2),
    _Shape(Kind.SERIALIZATION_CYCLE, lambda _, t: t == "ww", lambda _: True),  # of units that are no transactions
)
LOST: Final = "the lost spans: one may have made a number that was read, in a transaction that was taken back"
_ROLES_MAX: Final = 16
"""Accesses of one earlier candidate between whose units edges are taken out."""
_ROLE: Final = {Op.READ: "reader", Op.SCAN: "reader"}
_WHY: Final = {
    "ww": "it overwrote what the other had made",
    "wr": "it read what the other had made",
    "rw": "it replaced what the other had read",
}


def cycles(evidence: Evidence, earlier: Sequence[Candidate], edges: Sequence[Dependency]) -> Iterator[Candidate]:
    """Cycles that no earlier candidate explains; each unit names one at most, of the first kind that it can."""
    found = [edge for out in trimmed(by_source(edges)).values() for edge in out]
    search = _Search()
    for shape in _SHAPES if found else ():
        graph = trimmed(_graph(found, shape, earlier))
        for members in components(graph):
            for cycle in search.named(graph, members, shape):
                candidate = _candidate(shape.kind, cycle, evidence)
                if candidate is not None:
                    yield candidate
    if search.steps > SEARCH_STEPS_MAX:
        evidence.unknown.append(
            f"more cycles between units than {SEARCH_STEPS_MAX:,} steps of search find: some were left out"
        )


def _graph(found: Iterable[Dependency], shape: _Shape, earlier: Iterable[Candidate]) -> Graph:
    """The edges that a shape may have, without those between two units that an earlier kind explains there."""
    explained: set[tuple[str, str, str]] = set()
    for candidate in earlier:
        if PRECEDENCE[candidate.kind] < PRECEDENCE[shape.kind] and candidate.grade.certainty is not Certainty.POSSIBLE:
            explained.update(_explained(candidate))
    types = [t for t in ("ww", "wr", "rw") if shape.may(_State(), t)]
    return by_source(
        edge
        for edge in found
        if edge.type in types and (edge.source, edge.target, edge.resource) not in explained
        if shape.kind is not Kind.DIRTY_WRITE or (edge.first.txn_id and edge.then.txn_id)
    )


def _explained(candidate: Candidate) -> Iterator[tuple[str, str, str]]:
    """Units of a candidate, two and two, with the resources that it speaks of."""
    told = [access for access, role in candidate.roles if role not in ("model", "guard", "context")]
    resources = {access.resource for access in told} | {candidate.resource}
    for one in told[:_ROLES_MAX]:
        for other in told[:_ROLES_MAX]:
            if one.unit != other.unit:
                yield from ((one.unit, other.unit, resource) for resource in resources)


class _Rest:
    """What is left of a component while its units are taken out one by one, the greatest first.

    Without the units on no cycle of what is left: a ring of thousands is gone with its first unit. Linear in all.

    Attributes:
        units: those that are left.
    """

    def __init__(self, graph: Graph, members: Iterable[str]) -> None:
        self.units = set(members)
        self._onto: dict[str, list[str]] = {}
        self._from: dict[str, list[str]] = defaultdict(list)
        for unit in self.units:
            self._onto[unit] = [edge.target for edge in graph.get(unit, ()) if edge.target in self.units]
            for target in self._onto[unit]:
                self._from[target].append(unit)
        self._out = {unit: len(targets) for unit, targets in self._onto.items()}
        self._in = {unit: len(self._from[unit]) for unit in self.units}

    def take_out(self, unit: str) -> None:
        """Take one unit out, and with it all that then has no edge in or none out."""
        work = [unit]
        while work:
            gone = work.pop()
            if gone not in self.units:
                continue
            self.units.discard(gone)
            work += _without_one(self._onto[gone], self._in)
            work += _without_one(self._from[gone], self._out)


def _without_one(units: Iterable[str], edges: dict[str, int]) -> Iterator[str]:
    """Take one edge from each of these units; those that have none left."""
    for unit in units:
        edges[unit] -= 1
        if edges[unit] == 0:
            yield unit


class _Search:
    """Breadth-first search for cycles; counts what it follows and stops at its limit.

    Attributes:
        steps: edges followed. told: units that have named a cycle.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.told: set[str] = set()

    def named(self, graph: Graph, members: Iterable[str], shape: _Shape) -> Iterator[list[Dependency]]:
        """For each unit of a component the shortest cycle of this shape in which it is the greatest."""
        rest = _Rest(graph, members)
        for unit in sorted(rest.units, reverse=True):
            if unit in rest.units and unit not in self.told and self.steps <= SEARCH_STEPS_MAX:
                cycle = self._shortest(graph, rest.units, unit, shape)
                if cycle is not None and _fits(cycle, shape):
                    self.told.add(unit)
                    yield cycle
            rest.take_out(unit)

    def _shortest(self, graph: Graph, inside: set[str], start: str, shape: _Shape) -> list[Dependency] | None:
        """The shortest cycle of a shape through a unit and others that are left."""
        seen: dict[tuple[str, _State], tuple[tuple[str, _State], Dependency] | None] = {(start, _State()): None}
        work = deque(seen)
        while work:
            at, state = here = work.popleft()
            for edge in graph.get(at, ()):
                self.steps += 1
                if edge.target not in inside or not shape.may(state, edge.type):
                    continue
                then = (edge.target, _after(state, edge.type, shape))
                if edge.target == start:
                    if shape.closed(then[1]):
                        return [*_path(seen, here), edge]
                elif then not in seen:
                    seen[then] = (here, edge)
                    work.append(then)
            if self.steps > SEARCH_STEPS_MAX:
                return None
        return None


def _after(state: _State, edge_type: str, shape: _Shape) -> _State:
    rw = edge_type == "rw"
    length = state.length + 1 if shape.kind is Kind.WRITE_SKEW else 1
    first = state.first if state.length else rw
    return _State(min(2, state.rw + rw), first, rw, state.wr or edge_type == "wr", length)


def _path(seen: dict, at: tuple[str, _State]) -> list[Dependency]:  # type: ignore[type-arg]  # as in _shortest
    edges: list[Dependency] = []
    while seen[at] is not None:
        at, edge = seen[at]
        edges.append(edge)
    return edges[::-1]


def _fits(cycle: Sequence[Dependency], shape: _Shape) -> bool:
    """Whether each unit is there once, and a write skew is one of two resources."""
    if len({edge.source for edge in cycle}) < len(cycle):
        return False
    return shape.kind is not Kind.WRITE_SKEW or cycle[0].resource != cycle[1].resource


def _candidate(kind: Kind, cycle: Sequence[Dependency], evidence: Evidence) -> Candidate | None:
    grade = _grade(cycle, evidence)
    if grade is None:
        return None
    overwriting = {(edge.then.name, edge.then.resource) for edge in cycle if edge.type != "wr"}
    roles: dict[tuple[Name, str], tuple[Access, str]] = {}
    for edge in cycle:
        for access in (edge.first, edge.then):
            place = (access.name, access.resource)
            roles[place] = access, "overwriter" if place in overwriting else _ROLE.get(access.op, "writer")
    last = max(cycle, key=lambda edge: (edge.then.end_ns, edge.then.span_id))
    return Candidate(
        kind=kind,
        resource=last.resource,
        anchors=tuple({edge.target: edge.then for edge in cycle}.values()),
        units=_names(kind, cycle),
        roles=tuple(roles.values()),
        links=tuple(Link(edge.first, edge.then, edge.type, _WHY[edge.type]) for edge in cycle),
        grade=grade,
        crosses=True,
    )


def _names(kind: Kind, cycle: Sequence[Dependency]) -> tuple[str, ...]:
    """What names it: the reading unit of a read skew, both units of two, else the greatest unit."""
    if kind is Kind.READ_SKEW:
        return (next(edge.source for edge in cycle if edge.type == "rw"),)
    units = sorted({edge.source for edge in cycle})
    both = len(units) == 2 and kind in (Kind.WRITE_SKEW, Kind.DIRTY_WRITE)
    return tuple(units) if both else (units[-1],)


def _grade(cycle: Sequence[Dependency], evidence: Evidence) -> Grade | None:
    """As sure as the weakest edge; None where the store itself defends all units, unless versions contradict it."""
    accesses = [access for edge in cycle for access in (edge.first, edge.then)]
    by_version = all(edge.proof is Proof.VERSION for edge in cycle)
    if all(a.isolation == "serializable" for a in accesses) and not by_version:
        return None
    grade = Grade()
    if any(a.unit_kind is not UnitKind.TXN for a in accesses):
        grade = grade.at_most(Certainty.LIKELY, "transactions around what belongs together")
    if not by_version:
        grade = grade.at_most(Certainty.LIKELY, "versions of the store's own on all that was read and written")
    for edge in cycle:
        if edge.type == "wr" and edge.first.version_kind in NUMBERS and not evidence.is_whole:
            known = evidence.took_effect_before(edge.first, edge.then) is not None
            grade = grade.at_most(Certainty.LIKELY if known else Certainty.POSSIBLE, LOST)
        if edge.rests_on_first:
            start, end = sorted((edge.first, edge.then), key=lambda a: a.start_ns)
            grade = grade.resting_on(evidence.absence(edge.resource, start, end))
    return partial(grade, accesses)
