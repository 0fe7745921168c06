"""Measured bounds hold the truth: the simulation knows how far clocks are apart, the estimate sees recorded times."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import Op, VersionKind
from noclobber_analyzer.access import Access, Message, Process
from noclobber_analyzer.clock_bounds import CLOCKS_MAX, DRIFT_PPM, ClockBounds, measure_clocks
from noclobber_analyzer.clock_pairs import ClockPair
from noclobber_analyzer.forms import roomy
from story import Story, judge

MS = 1_000_000
HOUR = 3_600_000 * MS
BOOT = 400 * HOUR


@dataclass(frozen=True)
class Machine:
    """A simulated clock: what it shows is off by a constant, and runs a little fast or slow.

    Attributes:
        process: who goes by it. off_ns, fast_ppm: how it errs.
    """

    process: Process
    off_ns: int
    fast_ppm: int

    def shows(self, true_ns: int) -> int:
        """What the process records at a true time."""
        return BOOT + true_ns + true_ns * self.fast_ppm // 1_000_000 + self.off_ns + self.process.clock_offset_ns


@dataclass(frozen=True)
class Exchange:
    """Something that went from one machine to another: called, took effect, taken up, returned (true times)."""

    source: int
    target: int
    called_ns: int
    took_ns: int
    wait_ns: int
    way: str


@st.composite
def machines(draw: st.DrawFn) -> list[Machine]:
    """Two to five machines hours apart, of which some hosts never named their clock."""
    made = []
    for number in range(draw(st.integers(2, 5))):
        named, offset = draw(st.booleans()), draw(st.integers(-HOUR, HOUR))
        clock = f"clock{number}" if named else None
        process = Process(f"p{number}", clock, offset if named else 0, "key", f"host{number}", "agents", number)
        made.append(Machine(process, draw(st.integers(-2 * HOUR, 2 * HOUR)), draw(st.integers(-100, 100))))
    return made


@st.composite
def exchanges(draw: st.DrawFn) -> list[Exchange]:
    """Messages and reads at any time of some hours, each as slow as it likes."""
    length = draw(st.sampled_from([1_000 * MS, HOUR, 6 * HOUR]))
    return [
        Exchange(
            draw(st.integers(0, 4)), draw(st.integers(0, 4)), draw(st.integers(0, length)),
            draw(st.integers(1, 50 * MS)), draw(st.integers(0, 2_000 * MS)), draw(st.sampled_from(["message", "read"])),
        )
        for _ in range(draw(st.integers(1, 30)))
    ]  # fmt: skip


def recorded(all_: Sequence[Machine], told: Sequence[Exchange]) -> list[Access]:
    """The accesses as the machines record them."""
    accesses: list[Access] = []
    for number, it in enumerate(told):
        source, target = all_[it.source % len(all_)], all_[it.target % len(all_)]
        taken = it.called_ns + it.took_ns + it.wait_ns
        message = it.way == "message"
        for machine, start, end in (
            (source, it.called_ns, it.called_ns + 2 * it.took_ns),
            (target, max(0, taken - it.took_ns), taken + it.took_ns),
        ):
            first = machine is source and len(accesses) % 2 == 0
            access = roomy(
                trace_id=f"{len(accesses) // 2:032x}", span_id=f"{len(accesses):016x}", start_ns=machine.shows(start),
                end_ns=machine.shows(end), process=machine.process, op=Op.SEND if first else Op.RECEIVE,
                resource=f"mem://{number}", system="memory", agent="a", strand=f"s{len(accesses)}", seq=1,
                unit=f"s{len(accesses)}", message=Message(f"m{number}"),
            )  # fmt: skip
            if not message:
                access.op, access.message = Op.WRITE if first else Op.READ, None
                access.version_kind = VersionKind.COUNTER
                access.written, access.read = ("1", None) if first else (None, "1")
            accesses.append(access)
    return accesses


def call(machine: Machine, start_ns: int, end_ns: int) -> Access:
    """Some access of a machine at a true time."""
    return roomy(
        trace_id="1" * 32, span_id="1" * 16, start_ns=machine.shows(start_ns), end_ns=machine.shows(end_ns),
        process=machine.process, op=Op.READ, resource="mem://x", system="memory", agent="a", strand="s", seq=1,
        unit="s",
    )  # fmt: skip


@given(machines(), exchanges(), st.lists(st.tuples(st.integers(0, 8 * HOUR), st.integers(0, 8 * HOUR)), max_size=5))
@settings(max_examples=150, deadline=None)
def test_order_is_never_the_wrong_way_round(
    all_: list[Machine], told: list[Exchange], asked: list[tuple[int, int]]
) -> None:
    """Whatever delays, offsets and drift: what a bound puts first was first; nothing contradicts itself."""
    bounds = measure_clocks(recorded(all_, told), [m.process for m in all_], whole=True)
    assert not bounds.contradicted
    moments = [(it.called_ns, other.called_ns) for it in told for other in told][:100] + asked
    for one in all_:
        for other in all_:
            for first, second in moments:
                if one is not other and bounds.before(call(one, first, first + 5), call(other, second, second + 5)):
                    assert first + 5 < second


@given(machines(), exchanges())
@settings(max_examples=80, deadline=None)
def test_true_offset_lies_within(all_: list[Machine], told: list[Exchange]) -> None:
    """The interval that is shown holds the true difference of what two machines record, at their last moment."""
    accesses = recorded(all_, told)
    bounds = measure_clocks(accesses, [m.process for m in all_], whole=True)
    by_host = {m.process.host: m for m in all_}
    last = max(it.called_ns + it.wait_ns + 3 * it.took_ns for it in told)
    first = min(it.called_ns for it in told)
    blur = DRIFT_PPM * (last - first) // 1_000_000  # "last" is another moment on each clock
    for apart in bounds.apart():
        if apart.ahead_ns is not None:
            one, other = by_host[apart.one], by_host[apart.other]
            assert apart.ahead_ns[0] - blur <= other.shows(last) - one.shows(last) <= apart.ahead_ns[1] + blur


@given(machines(), exchanges(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_arrival_changes_nothing(all_: list[Machine], told: list[Exchange], chance: object) -> None:
    """The order of accesses and of processes changes no bound."""
    accesses, processes = recorded(all_, told), [m.process for m in all_]
    before = measure_clocks(accesses, processes, whole=True)
    chance.shuffle(accesses)  # type: ignore[attr-defined]
    assert measure_clocks(accesses, processes[::-1], whole=True) == before


@given(machines(), exchanges(), st.integers(-HOUR, HOUR))
@settings(max_examples=40, deadline=None)
def test_an_hour_off_changes_no_order(all_: list[Machine], told: list[Exchange], shift: int) -> None:
    """A clock that is set otherwise gives the same order: a bound speaks of what is recorded, however far off."""
    moved = [Machine(all_[0].process, all_[0].off_ns + shift, all_[0].fast_ppm), *all_[1:]]
    orders = []
    for each in (all_, moved):
        bounds = measure_clocks(recorded(each, told), [m.process for m in each], whole=True)
        calls = [call(m, it.called_ns, it.called_ns + 5) for m in each for it in told[:6]]
        orders.append([bounds.before(a, b) for a in calls for b in calls])
    assert orders[0] == orders[1]


PING = "As9 Bg9 Bs8 Ag8 "


def between(story: str) -> tuple[int, int] | None:
    """What is known of how far B's clock is ahead of A's."""
    history = Story(clocks="apart", kind=VersionKind.COUNTER).history(story)
    (apart,) = measure_clocks(history.accesses, history.processes.values(), whole=True).apart()
    return apart.ahead_ns


def test_both_directions_make_an_interval() -> None:
    """There and back bound the difference by the time that each took: a call and a half."""
    low, high = between(PING) or (0, 0)
    assert -1_600_000 < low < -1_500_000
    assert 1_500_000 < high < 1_600_000


@pytest.mark.parametrize("story", ["As9 Bg9", "As9 Bg9 As8 Bg8 Awx1 Brx1", ""])
def test_one_direction_bounds_nothing(story: str) -> None:
    """A pipeline that never answers says nothing of how far its end is behind."""
    history = Story(clocks="apart", kind=VersionKind.COUNTER).history(f"{story} Cry0")
    bounds = measure_clocks(history.accesses, history.processes.values(), whole=True)
    assert [apart.ahead_ns for apart in bounds.apart()] == [None] * bool(story)
    assert any("nothing that was recorded" in sentence for sentence in bounds.sentences()) or not story


def test_bounds_add_up_along_a_path() -> None:
    """Machines that never spoke to each other are bounded by a third one that both spoke to."""
    accesses = Story(clocks="apart", kind=VersionKind.COUNTER).accesses(PING + "As7 Cg7 Cs6 Ag6 | Brx0 | Crx0")
    bounds = measure_clocks(accesses, [a.process for a in accesses], whole=True)
    b, c = accesses[-2:]
    assert bounds.before(b, c)
    assert not bounds.before(c, b)
    assert 6 * MS < (bounds.width_ns(b, c) or 0) < 20 * MS


def test_a_cycle_is_two_directions() -> None:
    """Three machines in a ring bound each other though no two of them speak both ways."""
    accesses = Story(clocks="apart", kind=VersionKind.COUNTER).accesses("As9 Bg9 Bs8 Cg8 Cs7 Ag7 | Brx0 | Arx0")
    bounds = measure_clocks(accesses, [a.process for a in accesses], whole=True)
    assert bounds.before(*accesses[-2:])


def _pair(source: str, source_ms: int, target: str, target_ms: int) -> ClockPair:
    processes = (Process(name, f"clock-{name}", 0, "key", f"host-{name}") for name in (source, target))
    return ClockPair(next(processes), source_ms * MS, next(processes), target_ms * MS)


def _bounds(*pairs: ClockPair) -> ClockBounds:
    return ClockBounds(pairs, [process for pair in pairs for process in (pair.source, pair.target)])


def test_contradicting_pairs_bound_nothing() -> None:
    """A clock that was set an hour back in between: neither of the two has any bound, and the summary says so."""
    there_and_back = (_pair("a", 1000, "b", 1010), _pair("b", 1020, "a", 1030))
    later = (_pair("a", 9000, "b", 9010 - 3_600_000), _pair("b", 9020 - 3_600_000, "a", 9030))
    other = (_pair("c", 1, "d", 2), _pair("d", 3, "c", 4))
    bounds = _bounds(*there_and_back, *later, *other)
    assert bounds.contradicted == {"clock-a", "clock-b"}
    assert [apart.ahead_ns is None for apart in bounds.apart()] == [True, False]
    (_, said) = bounds.sentences()
    assert "host-a, host-b" in said
    assert "contradicts itself" in said
    assert _bounds(*there_and_back).contradicted == frozenset()


def test_contradiction_along_a_cycle() -> None:
    """Three one-way bounds that add up to less than nothing contradict each other as well."""
    ring = (_pair("a", 1000, "b", 1010), _pair("b", 1020, "c", 1030), _pair("c", 1040, "a", 900))
    assert _bounds(*ring).contradicted == {"clock-a", "clock-b", "clock-c"}


def test_bound_widens_with_the_time_since() -> None:
    """An hour after the last exchange the clocks may have drifted apart, by 200 ppm of it."""
    exchange = (_pair("a", 1000, "b", 1010), _pair("b", 1020, "a", 1030))
    late = (_pair("a", 3_601_000, "b", 3_700_000), _pair("b", 3_601_000, "a", 3_700_000))  # slow: they tell little
    bounds = _bounds(*exchange, *late)
    (apart,) = bounds.apart()
    low, high = apart.ahead_ns or (0, 0)
    assert (high - low) // MS in range(2 * 720, 2 * 720 + 200)


def test_many_clocks() -> None:
    """Of more clocks than are compared the busiest are; the rest have no bound, and the summary counts them."""
    pairs = []
    for number in range(CLOCKS_MAX + 8):
        name = f"m{number:02}"
        times = 1 if number < 8 else 2
        pairs += [_pair("hub", 1000, name, 1010), _pair(name, 1020, "hub", 1030)] * times
    bounds = _bounds(*pairs)
    known = [apart for apart in bounds.apart() if apart.ahead_ns is not None]
    assert len(known) == CLOCKS_MAX - 1
    assert any(f"{9} of {CLOCKS_MAX + 9} clocks" in sentence for sentence in bounds.sentences())


def test_one_clock_is_not_measured() -> None:
    """Processes of one machine compare exactly, and nothing is said of them."""
    assert judge(PING).unknown == []


def test_hosts_that_name_no_clock_are_a_millisecond_wide() -> None:
    """Two processes of such a host may be a millisecond apart: the bound is wider by that at each end."""
    named = Process("b", "clock-b", 0, "key", "host-b")
    pairs = []
    for host_process in ("p", "q"):
        process = Process(host_process, None, 0, "key", "host-a")
        pairs += [ClockPair(process, 1000 * MS, named, 1010 * MS), ClockPair(named, 1020 * MS, process, 1030 * MS)]
    bounds = ClockBounds(pairs, [named, *(Process(name, None, 0, "key", "host-a") for name in ("p", "q"))])
    (apart,) = bounds.apart()
    assert apart.pairs == 4
    low, high = apart.ahead_ns or (0, 0)
    assert high - low >= 22 * MS


@pytest.mark.parametrize(
    "story", [f"{PING} | Arx1% Brx1% | Awx2<1% | Bwx3<1%", f"{PING} Arx1% | Brx1% | Awx2<1% | Bwx3<1%"]
)
def test_summary_says_what_rests_on_it(story: str) -> None:
    """The summary names the bound, and so does each finding that rests on it; it is likely at most."""
    judged = judge(story, clocks="apart")
    assert any("known by measurement only: hostA and hostB to" in sentence for sentence in judged.unknown)
    resting = [f for f in judged.findings if any("measured bound between hostA and hostB" in m for m in f.missing)]
    assert {str(f.certainty) for f in resting} == {"likely"}
