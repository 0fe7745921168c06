"""How far two machines' clocks are apart, measured from what the record proves; asked for by name, never assumed.

Each pair of spans (`clock_pairs`) bounds from above by how much the target's clock is ahead of the source's: the
return of the one less the call of the other. Pairs of both directions give an interval, and bounds add up along paths
of clocks, so the best is a shortest path. Nothing here assumes that network delays are symmetric: an interval is as
wide as the fastest two exchanges were slow, and the true difference lies within it.

Clocks drift. A bound is exact at the moment of its pair and widens by `DRIFT_PPM` for the time in between, so the
history is cut into windows, each with the bounds of its own pairs and the widened ones of all others. Two intervals of
clocks that contradict each other (one jumped, a machine slept, a version was taken for another's) prove that some
assumption is wrong: then none of these clocks has any bound, and the summary says so.

Sources: Mattern 1989 (what causality proves of clocks); Duda et al. 1987 (offset and drift bounds from messages,
ICDCS); Corbett et al. 2012 (Spanner: 200 ppm as the assumed worst drift). A measured bound raises a verdict to
`likely` at most; who asks says so (`Grade.measured`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.access import Access, Process
from noclobber_analyzer.clock_pairs import ClockPair, clock_of, clock_pairs
from noclobber_analyzer.clocks import HOST_BOUND_NS, local_ns, slack_ns

__all__ = ["CLOCKS_MAX", "DRIFT_PPM", "Apart", "ClockBounds", "measure_clocks"]

DRIFT_PPM: Final = 200
"""How much two clocks may run apart, microseconds in a second: far more than quartz does."""
WINDOWS_MAX: Final = 256
CLOCKS_MAX: Final = 32
"""Clocks that are compared, those with the most pairs; the rest have no bound."""
TOLD_MAX: Final = 3

_Gaps = Mapping[tuple[str, str], int]
_Far = dict[str, dict[str, int]]


class Apart(NamedTuple):
    """How far two clocks were apart when they were last heard.

    Attributes:
        one, other: what people call the two machines.
        ahead_ns: by how much `other`'s recorded times are ahead, at least and at most; None: nobody knows.
        pairs: how many pairs of spans tell it directly.
    """

    one: str
    other: str
    ahead_ns: tuple[int, int] | None
    pairs: int

    def __str__(self) -> str:
        """For people, as `host-b is 1.2 ms to 4.3 ms ahead of host-a, by 57 pairs of spans`."""
        if self.ahead_ns is None:
            return f"{self.other} and {self.one}: nothing bounds both ways how far they are apart"
        low, high = self.ahead_ns
        by = f"by {self.pairs} pair{'s' * (self.pairs != 1)} of spans"
        if low < 0 < high:
            return f"{self.other} is at most {_ms(-low)} behind and {_ms(high)} ahead of {self.one}, {by}"
        way = "ahead of" if low >= 0 else "behind"
        least, most = sorted((abs(low), abs(high)))
        return f"{self.other} is {_ms(least)} to {_ms(most)} {way} {self.one}, {by}"


@dataclass(slots=True)
class _Clock:
    """One clock as it was met.

    Attributes:
        name, process: what it is called, and a process that goes by it.
        blur_ns: how far a process may be from the middle of its host's, where no clock was named.
        first_ns, last_ns: the first and the last moment of any pair, on this clock.
    """

    name: str
    process: Process
    blur_ns: int
    first_ns: int = FRONTIER_END
    last_ns: int = -FRONTIER_END

    @property
    def spread_ns(self) -> int:
        """How long its pairs tell of it."""
        return max(0, self.last_ns - self.first_ns)


class ClockBounds:
    """What is known of the differences between some clocks.

    Args:
        pairs: what bounds them.
        processes: whose clocks these are.

    Attributes:
        contradicted: clocks whose pairs contradict each other; they have no bound.
    """

    def __init__(self, pairs: Iterable[ClockPair], processes: Iterable[Process]) -> None:
        self._clock_of: dict[str, _Clock] = _clocks(processes)
        self._clocks = {clock.name: clock for clock in self._clock_of.values()}
        self._gaps: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for pair in pairs:
            self._take(pair)
        self.contradicted: frozenset[str] = frozenset()
        self._known = _busiest(self._gaps)
        self.left_out = len({name for names in self._gaps for name in names}) - len(self._known)
        self._aligned: dict[str, tuple[str, int]] = {}
        self._error_ns = self._size_ns = 1
        self._range: dict[str, tuple[int, int]] = {}
        self._near: dict[tuple[str, str], list[int]] = {}
        self._far: dict[tuple[str, int], _Far] = {}
        if self._gaps:
            self._align()
            self._spread()

    def __eq__(self, other: object) -> bool:
        """Whether both say the same of every pair of clocks at any time."""
        return isinstance(other, ClockBounds) and (self._aligned, self._range, self._near) == (
            other._aligned, other._range, other._near
        )  # fmt: skip

    __hash__ = None  # type: ignore[assignment]  # it compares by what it holds

    def _take(self, pair: ClockPair) -> None:
        source, target = self._clock_of[pair.source.id], self._clock_of[pair.target.id]
        if clock_of(pair.source) != source.name or clock_of(pair.target) != target.name:
            return  # a clock that was set (`clock_steps`) bounds nothing
        at = pair.source_ns - pair.source.clock_offset_ns
        until = pair.target_ns - pair.target.clock_offset_ns
        source.last_ns, target.last_ns = max(source.last_ns, at), max(target.last_ns, until)
        source.first_ns, target.first_ns = min(source.first_ns, at), min(target.first_ns, until)
        self._gaps[source.name, target.name].append((at, until - at + source.blur_ns + target.blur_ns))

    # -- what is asked -----------------------------------------------------------------------------------------------

    def before(self, one: Access, other: Access) -> bool:
        """Whether `one` had returned when `other` was called, as far as their clocks' bound shows."""
        ahead = self._ahead_ns(one.process, other.process, one.end_ns)
        if ahead is None or one.open:
            return False
        return local_ns(one.process, one.end_ns) + ahead < local_ns(other.process, other.start_ns)

    def width_ns(self, one: Access, other: Access) -> int | None:
        """How wide the interval is within which the two accesses' clocks differ; None: no bound."""
        there = self._ahead_ns(one.process, other.process, one.end_ns)
        if there is None:
            return None
        moment = one.end_ns - one.process.clock_offset_ns + there + other.process.clock_offset_ns
        back = self._ahead_ns(other.process, one.process, moment)
        return None if back is None else max(0, there + back)

    def distance_ns(self, one: Access, other: Access) -> int | None:
        """How far apart the calls of two accesses are, about; None: nobody knows. For choosing which to look at."""
        ahead = 0 if slack_ns(one.process, other.process) is not None else None
        if ahead is None:
            ahead = self._ahead_ns(one.process, other.process, one.start_ns)
        if ahead is None:
            return None
        return abs(local_ns(one.process, one.start_ns) + ahead - local_ns(other.process, other.start_ns))

    def words(self, one: Access, other: Access) -> str:
        """What a verdict lacks that rests on the bound between two clocks; rounded, so that it stays as it is."""
        width = self.width_ns(one, other)
        names = " and ".join(sorted({_called(one.process), _called(other.process)}))
        known = "" if width is None else f", known to {_ms(_rounded_up(width))}"
        return f"a clock that both share: which came first rests on a measured bound between {names}{known}"

    def _ahead_ns(self, one: Process, other: Process, at_ns: int) -> int | None:
        """By how much the clock of `other` was ahead at most at a moment that `one` recorded; None: nobody knows."""
        if slack_ns(one, other) is not None:
            return None  # these compare without any measurement
        source, target = clock_of(one), clock_of(other)
        if source not in self._aligned or target not in self._aligned:
            return None
        group, shift = self._aligned[source]
        if group != self._aligned[target][0]:
            return None
        moment = local_ns(one, at_ns) - shift
        first, last = self._range[group]
        window = min(max(0, (moment - first) // self._size_ns), WINDOWS_MAX - 1)
        ahead = self._within(group, window).get(source, {}).get(target)
        if ahead is None:
            return None
        beyond = _drift(max(0, first - moment, moment - last)) * len(self._aligned)
        return ahead + beyond + self._clocks[source].blur_ns + self._clocks[target].blur_ns

    def apart(self) -> list[Apart]:
        """What is known of each two clocks that some pair joins, as of their last moment."""
        joined = sorted({(min(names), max(names)) for names in self._gaps})
        return [self._apart(one, other) for one, other in joined]

    def _apart(self, one: str, other: str) -> Apart:
        first, second = self._clocks[one], self._clocks[other]
        count = len(self._gaps.get((one, other), ())) + len(self._gaps.get((other, one), ()))
        there = self._ahead_ns(first.process, second.process, first.last_ns + first.process.clock_offset_ns)
        back = self._ahead_ns(second.process, first.process, second.last_ns + second.process.clock_offset_ns)
        shown = second.process.clock_offset_ns - first.process.clock_offset_ns
        ahead = None if there is None or back is None else (shown - back, shown + there)
        return Apart(_called(first.process), _called(second.process), ahead, count)

    # -- what follows from the pairs ---------------------------------------------------------------------------------

    def _align(self) -> None:
        """Put all clocks that bound each other both ways on one axis, well enough to say what is near in time.

        Here each bound counts for the whole history, widened by the drift of all of it. Clocks on a cycle whose bounds
        add up to less than nothing contradict themselves.
        """
        drift = _drift(sum(clock.spread_ns for clock in self._clocks.values()))
        least = {
            names: min(gap for _, gap in gaps) + drift
            for names, gaps in self._gaps.items()
            if self._known.issuperset(names)
        }
        far = self._without_contradiction(least)
        for name in sorted(far):
            if name in self._aligned:
                continue
            for other, ahead in far[name].items():
                back = far[other].get(name)
                if back is not None and other not in self._aligned:
                    self._aligned[other] = (name, ahead)
                    self._error_ns = max(self._error_ns, ahead + back)

    def _without_contradiction(self, least: _Gaps) -> _Far:
        """The shortest paths, once clocks that contradict themselves are left out."""
        while True:
            far = _shortest({names: gap for names, gap in least.items() if not self.contradicted & set(names)})
            wrong = {name for name, row in far.items() if row[name] < 0}
            if not wrong:
                return far
            self.contradicted |= wrong

    def _spread(self) -> None:
        """For each window what its own pairs, and those of all others with the drift in between, say."""
        for name, (group, shift) in self._aligned.items():
            clock = self._clocks[name]
            first, last = self._range.get(group, (clock.first_ns - shift, clock.last_ns - shift))
            self._range[group] = min(first, clock.first_ns - shift), max(last, clock.last_ns - shift)
        length = max((last - first for first, last in self._range.values()), default=0)
        self._size_ns = length // WINDOWS_MAX + 1
        for (source, target), gaps in self._gaps.items():
            group, shift = self._aligned.get(source, ("", 0))
            if group and self._aligned.get(target, ("", 0))[0] == group:
                self._near[source, target] = self._swept(gaps, shift + self._range[group][0])
        wrong: set[str] = set()
        for (source, target), near in self._near.items():
            back = self._near.get((target, source))
            if back is not None and any(there + again < 0 for there, again in zip(near, back, strict=True)):
                wrong |= {source, target}
        self._forget(wrong)

    def _swept(self, gaps: Sequence[tuple[int, int]], zero_ns: int) -> list[int]:
        """The least gap by window: forth and back, a little more with each step."""
        own = _drift(self._size_ns + 2 * self._error_ns)
        near: list[int | None] = [None] * WINDOWS_MAX
        for at, gap in gaps:
            window = min(max(0, (at - zero_ns) // self._size_ns), WINDOWS_MAX - 1)
            known = near[window]
            if known is None or gap + own < known:
                near[window] = gap + own
        step = _drift(self._size_ns)
        for order in (range(WINDOWS_MAX), range(WINDOWS_MAX - 1, -1, -1)):
            carried: int | None = None
            for window in order:
                known = near[window]
                if carried is not None and (known is None or carried + step < known):
                    near[window] = known = carried + step
                carried = known
        return [gap for gap in near if gap is not None]

    def _forget(self, wrong: set[str]) -> None:
        self.contradicted |= wrong
        self._aligned = {name: at for name, at in self._aligned.items() if name not in wrong}
        self._near = {names: near for names, near in self._near.items() if not wrong & set(names)}

    def _within(self, group: str, window: int) -> _Far:
        """The shortest paths of one window; empty where its pairs contradict each other."""
        far = self._far.get((group, window))
        if far is None:
            gaps = {names: near[window] for names, near in self._near.items() if self._aligned[names[0]][0] == group}
            far = _shortest(gaps)
            if any(row[name] < 0 for name, row in far.items()):
                self.contradicted |= far.keys()
                far = {}
            self._far[group, window] = far
        return far

    # -- what people are told ----------------------------------------------------------------------------------------

    def sentences(self) -> list[str]:
        """What the summary says of clocks that compare by measurement only, or not at all."""
        if len(self._clocks) < 2:
            return []
        told = []
        apart = self.apart()
        known = sorted((a for a in apart if a.ahead_ns is not None), key=_width, reverse=True)
        if known:
            told.append(f"how far clocks are apart is known by measurement only: {_listed(known)}; what rests on it "
                        "alone is likely at most")  # fmt: skip
        if self.contradicted:
            names = ", ".join(sorted({_called(self._clocks[name].process) for name in self.contradicted})[:TOLD_MAX])
            told.append(f"how far the clocks of {names} are apart: what is recorded contradicts itself (a clock that "
                        "was set, a machine that slept, an id or a version that came again), so their times order "
                        "nothing")  # fmt: skip
        unknown = sum(1 for name in self._clocks if name not in self._aligned and name not in self.contradicted)
        if unknown:
            told.append(f"how far {unknown} of {len(self._clocks)} clocks are from the others: nothing that was "
                        "recorded bounds it both ways, so times order nothing between them")  # fmt: skip
        return told


def measure_clocks(accesses: Sequence[Access], processes: Iterable[Process], *, whole: bool) -> ClockBounds:
    """What accesses tell of the clocks of their processes; linear, and nothing at all where there is but one.

    Args:
        accesses: each once, in any order.
        processes: whose they are.
        whole: no access is known to be missing.
    """
    own = list(processes)
    several = len({clock_of(process) for process in own}) > 1
    return ClockBounds(clock_pairs(accesses, whole=whole) if several else (), own)


def _clocks(processes: Iterable[Process]) -> dict[str, _Clock]:
    """By process its clock; the first process by id stands for all of one clock."""
    clocks: dict[str, _Clock] = {}
    found: dict[str, _Clock] = {}
    for process in sorted(processes, key=lambda p: p.id):
        name = clock_of(process)
        if name not in clocks:
            exact = process.clock is not None or process.host is None
            clocks[name] = _Clock(name, process, 0 if exact else HOST_BOUND_NS // 2)
        found[process.id] = clocks[name]
    return found


def _busiest(gaps: Mapping[tuple[str, str], Sequence[object]]) -> frozenset[str]:
    """The clocks with the most pairs."""
    counts: dict[str, int] = defaultdict(int)
    for names, found in gaps.items():
        for name in names:
            counts[name] += len(found)
    return frozenset(sorted(counts, key=lambda name: (-counts[name], name))[:CLOCKS_MAX])


def _shortest(gaps: _Gaps) -> _Far:
    """The least sums along paths, from each clock to each it reaches; a clock's own is negative on a contradiction.

    Source: Floyd 1962, Warshall 1962; cubic in the clocks, of which there are few.
    """
    far: _Far = {name: {name: 0} for names in gaps for name in names}
    for (source, target), gap in gaps.items():
        far[source][target] = gap
    for via in far:
        onward = list(far[via].items())
        for row in far.values():
            start = row.get(via)
            for target, rest in onward if start is not None else ():
                known = row.get(target)
                if known is None or start + rest < known:  # type: ignore[operator]  # None was left out above
                    row[target] = start + rest  # type: ignore[operator]
    return far


def _drift(time_ns: int) -> int:
    return time_ns * DRIFT_PPM // 1_000_000 + 1


def _called(process: Process) -> str:
    """What people call the machine of a process."""
    return process.host or process.service or process.id[:8]


def _width(apart: Apart) -> tuple[int, str, str]:
    low, high = apart.ahead_ns or (0, 0)
    return high - low, apart.one, apart.other


def _listed(known: Sequence[Apart]) -> str:
    words = [f"{a.one} and {a.other} to {_ms(_width(a)[0])}" for a in known[:TOLD_MAX]]
    return ", ".join(words) + (f" and {len(known) - TOLD_MAX} more" if len(known) > TOLD_MAX else "")


def _rounded_up(time_ns: int) -> int:
    """To 1, 2 or 5 times a power of ten, from a millisecond up."""
    scale = 1_000_000
    while scale * 10 <= time_ns:
        scale *= 10
    return next((scale * step for step in (1, 2, 5) if time_ns <= scale * step), scale * 10)


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.3g} ms" if time_ns < 1_000_000_000 else f"{time_ns / 1e9:.3g} s"
