"""Where each access stands in the space-time diagram: lane and place, so that no arrow points left.

A lane is a strand. Few accesses are laid out by order: an access stands one column right of everything that it
follows (its strand, its causes, what had ended before it began); what overlaps may share a column. Many are laid out
by time, idle gaps compressed, and then pushed right of their causes in the same way. Two clocks that are not one
never order accesses; only causes do.

Places are in columns of one box each; the browser decides how wide a column is. A witness may hold a cycle (that is
what some anomalies are): an edge that closes one cannot point right and is given back as such.

Source: Lamport, Time, Clocks (1978), figure 1; interval orders: Fishburn (1970); layering: Sugiyama et al. (1981).
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from noclobber.contract import Op
from noclobber_dashboard.records import AccessRecord
from noclobber_dashboard.slices import program_pairs
from noclobber_dashboard.wording import duration

__all__ = ["ORDER_MAX", "Break", "Layout", "Place", "lay_out"]

ORDER_MAX: Final = 20
"""Up to this many accesses stand by order, more by time."""
TIGHT: Final = 0.55
"""Width of the narrowest box in the time layout, in columns."""
LANES_CALM: Final = 4
"""Up to this many lanes keep their order; among more the race would be off the first screen."""
GAP_COLUMNS: Final = 0.6
"""How wide a compressed idle gap is drawn."""


@dataclass(frozen=True, slots=True)
class Place:
    """Lane number, left edge and width in columns."""

    lane: int
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Break:
    """Where idle time was compressed, and how much."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Layout:
    """All places by key; `lanes` are strands from the top; `closing` are edges that would point left."""

    by_time: bool
    lanes: tuple[str, ...]
    places: dict[str, Place]
    breaks: tuple[Break, ...]
    closing: frozenset[tuple[str, str]]
    columns: float


def lay_out(
    events: Sequence[AccessRecord], edges: Iterable[tuple[str, str]], race: tuple[str, str] | None = None
) -> Layout:
    """Place accesses. Takes O(n² + edges) for n accesses, which are few.

    Args:
        events: accesses of one slice.
        edges: (cause, effect) keys between them.
        race: the racing pair, whose lanes become neighbours.
    """
    lanes = _lanes(events, race)
    order, causes, closing = _topological(events, [*program_pairs(events), *edges])
    by_time = len(events) > ORDER_MAX
    if by_time:
        lefts, widths, breaks = _by_time(order, causes)
    else:
        lefts, widths = _by_order(order, causes)
        breaks = ()
    number = {strand: index for index, strand in enumerate(lanes)}
    places = {e.key: Place(number[e.strand], lefts[e.key], widths[e.key]) for e in order}
    columns = max((place.x + place.width for place in places.values()), default=0.0)
    return Layout(by_time, lanes, places, breaks, closing, columns)


def _lanes(events: Sequence[AccessRecord], race: tuple[str, str] | None) -> tuple[str, ...]:
    """Strands by their first access, an agent's together, the racing two side by side; among many they come first."""
    by_start = sorted(events, key=lambda event: (event.start_ns, event.key))
    first_of_agent: dict[str, int] = {}
    for index, event in enumerate(by_start):
        first_of_agent.setdefault(event.agent, index)
    strands = list(
        dict.fromkeys(event.strand for event in sorted(by_start, key=lambda event: first_of_agent[event.agent]))
    )
    if race is not None:
        strand_of = {event.key: event.strand for event in events}
        one, two = strand_of.get(race[0]), strand_of.get(race[1])
        if one is not None and two is not None and one != two:
            strands.remove(two)
            strands.insert(strands.index(one) + 1, two)
            if len(strands) > LANES_CALM:
                strands = [one, two, *(strand for strand in strands if strand not in (one, two))]
    return tuple(strands)


def _topological(
    events: Sequence[AccessRecord], edges: Iterable[tuple[str, str]]
) -> tuple[list[AccessRecord], dict[str, list[str]], frozenset[tuple[str, str]]]:
    """Accesses with causes first, ties by start; causes by key; edges dropped because they close a cycle."""
    by_key = {event.key: event for event in events}
    wanted = list(dict.fromkeys(e for e in edges if e[0] in by_key and e[1] in by_key and e[0] != e[1]))
    missing = dict.fromkeys(by_key, 0)
    effects: dict[str, list[str]] = {key: [] for key in by_key}
    for source, target in wanted:
        effects[source].append(target)
        missing[target] += 1
    rank = {event.key: (event.start_ns, event.seq, event.key) for event in events}
    ready = [rank[key] for key, count in missing.items() if count == 0]
    heapq.heapify(ready)
    order: list[AccessRecord] = []
    done: set[str] = set()
    closing: set[tuple[str, str]] = set()
    while len(order) < len(by_key):
        if not ready:  # a cycle: its earliest access goes first, and the edges into it are given up
            key = min((key for key in by_key if key not in done), key=lambda item: rank[item])
            closing |= {edge for edge in wanted if edge[1] == key and edge[0] not in done}
        else:
            key = heapq.heappop(ready)[2]
        if key in done:
            continue
        done.add(key)
        order.append(by_key[key])
        for effect in effects[key]:
            missing[effect] -= 1
            if missing[effect] == 0 and effect not in done:
                heapq.heappush(ready, rank[effect])
    causes: dict[str, list[str]] = {key: [] for key in by_key}
    for source, target in wanted:
        if (source, target) not in closing:
            causes[target].append(source)
    return order, causes, frozenset(closing)


def _by_order(order: Sequence[AccessRecord], causes: dict[str, list[str]]) -> tuple[dict[str, float], dict[str, float]]:
    lefts: dict[str, float] = {}
    for index, event in enumerate(order):
        after = [lefts[cause] + 1 for cause in causes[event.key]]
        after += [lefts[other.key] + 1 for other in order[:index] if _ended_before(other, event)]
        lefts[event.key] = max(after, default=0.0)
    widths = dict.fromkeys(lefts, 1.0)
    for event, following in _neighbours(order):
        if event.op == Op.MODEL:  # a model call is long: its box reaches to what came of it
            widths[event.key] = max(1.0, lefts[following.key] - lefts[event.key])
    return lefts, widths


def _ended_before(one: AccessRecord, other: AccessRecord) -> bool:
    """Whether an exact clock says so; a model call's end is not worth a column."""
    same_clock = one.clock == other.clock if one.clock and other.clock else one.host == other.host
    return same_clock and one.op != Op.MODEL and one.end_ns <= other.start_ns


def _by_time(
    order: Sequence[AccessRecord], causes: dict[str, list[str]]
) -> tuple[dict[str, float], dict[str, float], tuple[Break, ...]]:
    axis, breaks = _axis(order)
    lefts: dict[str, float] = {}
    widths: dict[str, float] = {}
    lane_end: dict[str, float] = {}
    for index, event in enumerate(order):
        least = [lefts[cause] + widths[cause] for cause in causes[event.key]]
        least += [lefts[other.key] + 0.1 for other in order[:index] if _ended_before(other, event)]
        least += [lane_end.get(event.strand, 0.0), axis[event.start_ns]]
        lefts[event.key] = max(least)
        widths[event.key] = max(TIGHT, axis[event.end_ns] - axis[event.start_ns])
        lane_end[event.strand] = lefts[event.key] + widths[event.key]
    return lefts, widths, tuple(Break(_near(brk.x, order, axis, lefts), brk.label) for brk in breaks)


def _axis(events: Sequence[AccessRecord]) -> tuple[dict[int, float], list[Break]]:
    """A place for each start and end: busy time to scale, idle time (nothing but model calls) compressed."""
    times = sorted({time for event in events for time in (event.start_ns, event.end_ns)})
    work = [event for event in events if event.op != Op.MODEL]
    typical = sorted(max(1, event.end_ns - event.start_ns) for event in work or events)[len(work or events) // 2]
    axis, breaks = {times[0]: 0.0}, []
    for before, after in pairwise(times):
        length = (after - before) / typical * TIGHT
        idle = not any(event.start_ns <= before and event.end_ns >= after for event in work)
        if length > (GAP_COLUMNS if idle else 2.0):
            length = GAP_COLUMNS if idle else 2.0
            if idle and after - before >= 1_000_000:
                breaks.append(Break(axis[before], duration(after - before)))
        axis[after] = axis[before] + length
    return axis, breaks


def _near(x: float, order: Sequence[AccessRecord], axis: dict[int, float], lefts: dict[str, float]) -> float:
    """Where a break's place on the axis went when boxes were pushed right: just before the next box."""
    following = [lefts[event.key] for event in order if axis[event.start_ns] > x]
    return max(0.0, min(following, default=x) - GAP_COLUMNS / 2)


def _neighbours(order: Sequence[AccessRecord]) -> Iterable[tuple[AccessRecord, AccessRecord]]:
    by_key = {event.key: event for event in order}
    return ((by_key[one], by_key[two]) for one, two in program_pairs(order))
