"""Leases on ranges: shared out evenly, renewed by beats, taken over from who is lost, from where it had come."""

import time
from typing import Any

import pytest
from made_findings import HandClock

from noclobber_analyzer.checkpoint import Checkpoint, earlier
from noclobber_analyzer.cursor import Cursor
from noclobber_analyzer.leases import LAPSE_NS, RENEW_NS, Leases
from noclobber_analyzer.ranges import ALL, RANGES

SECOND_NS = 1_000_000_000
RENEW_S, LAPSE_S = RENEW_NS / SECOND_NS, LAPSE_NS / SECOND_NS


@pytest.fixture
def clock() -> HandClock:
    return HandClock(time.time_ns())  # rows of long ago leave the table by themselves


def beaten(clock: HandClock, *members: Leases, seconds: float = 0.0) -> None:
    """All take turns for so long, and until nothing changes hands any more."""
    for _ in range(max(4, int(seconds / RENEW_S) + 1)):
        clock.move(RENEW_S)
        for member in members:
            member.turn(None)


def held(*members: Leases) -> list[int]:
    """How many each holds; no range by two."""
    numbers = [number for member in members for number in member.held]
    assert len(numbers) == len(set(numbers))
    return [len(member.held) for member in members]


def at(segment: int, kept_from_ns: int = 0, collector: str = "c") -> Checkpoint:
    return Checkpoint(Cursor({collector: segment}, segment), kept_from_ns)


def test_one_has_all_at_once(empty_store: Any, clock: HandClock) -> None:
    """Whoever is alone waits for nobody."""
    turn = Leases(empty_store, "live", "a", clock).turn(None)
    assert turn == (ALL, frozenset(), None)


def test_as_even_as_they_come(empty_store: Any, clock: HandClock) -> None:
    """Who joins gets a share, every range is always someone's in the end, and none is two's."""
    members = [Leases(empty_store, "live", name, clock) for name in "abcde"]
    for count, expected in [(1, [64]), (2, [32, 32]), (3, [22, 21, 21]), (5, [13, 13, 13, 13, 12])]:
        beaten(clock, *members[:count])
        assert held(*members[:count]) == expected


def test_one_that_leaves(empty_store: Any, clock: HandClock) -> None:
    """Its ranges are taken at once, from its last checkpoint."""
    one, other = (Leases(empty_store, "live", name, clock) for name in "ab")
    beaten(clock, one, other)
    one.leave(at(7))
    clock.move(RENEW_S)
    turn = other.turn(at(9))
    assert (len(turn.taken), turn.since) == (32, at(7))
    assert held(other) == [RANGES]
    one.renew()  # a beat that comes late does not bring it back
    clock.move(RENEW_S)
    assert other.turn(None).lost == frozenset()


def test_one_that_is_lost(empty_store: Any, clock: HandClock) -> None:
    """15 s after its last beat its ranges are taken under a higher epoch, from its last checkpoint; not before."""
    one, other = (Leases(empty_store, "live", name, clock) for name in "ab")
    beaten(clock, one, other)
    one.turn(at(7))
    other.turn(at(9))
    epochs = dict(one.held)
    clock.move(LAPSE_S - 1)
    assert other.turn(at(9)).taken == frozenset()
    clock.move(1.1)
    turn = other.turn(at(9))
    assert turn.taken == epochs.keys()
    assert turn.since == at(7)
    assert all(other.held[number] > epoch for number, epoch in epochs.items())


def test_one_that_was_only_away(empty_store: Any, clock: HandClock) -> None:
    """It finds its ranges under higher epochs, lets go of them, and gets a share again."""
    one, other = (Leases(empty_store, "live", name, clock) for name in "ab")
    beaten(clock, one, other)
    beaten(clock, other, seconds=LAPSE_S)
    assert held(other) == [RANGES]
    before = set(one.held)
    assert one.turn(None).lost == before
    beaten(clock, one, other)
    assert held(one, other) == [32, 32]


def test_a_long_step_is_no_end(empty_store: Any, clock: HandClock) -> None:
    """Beats from another thread keep the leases while a turn has to wait."""
    one, other = (Leases(empty_store, "live", name, clock) for name in "ab")
    beaten(clock, one, other)
    for _ in range(10):
        clock.move(RENEW_S)
        one.renew()
        assert other.turn(None).taken == frozenset()
    assert held(one, other) == [32, 32]


def test_clocks_that_differ(empty_store: Any) -> None:
    """Nobody compares clocks: a member whose wall clock is minutes off is neither lost nor immortal."""
    here, there = HandClock(time.time_ns()), HandClock(time.time_ns() - 300 * SECOND_NS)
    one, other = Leases(empty_store, "live", "a", here), Leases(empty_store, "live", "b", there)
    for _ in range(10):
        here.move(RENEW_S)
        there.move(RENEW_S)
        one.turn(None)
        other.turn(None)
    assert held(one, other) == [32, 32]
    for _ in range(6):
        there.move(RENEW_S)
        other.turn(None)
    assert held(other) == [RANGES]


def test_two_that_take_the_same(empty_store: Any, clock: HandClock) -> None:
    """Of two that claim a range under one epoch, since neither saw the other, one keeps it."""
    one, other = (Leases(empty_store, "live", name, clock) for name in "ab")
    read = one._read
    one._read = lambda now_ns: {}  # type: ignore[method-assign]  # what it would see if it had looked a moment earlier
    one.turn(None)
    before = one.held
    empty_store.command("TRUNCATE TABLE leases")
    other.turn(None)
    one.renew()
    clock.move(RENEW_S)
    one.renew()
    assert before == other.held
    one._read = read  # type: ignore[method-assign]
    beaten(clock, one, other)
    assert held(one, other) == [32, 32]


def test_what_was_taken_but_not_judged_yet(empty_store: Any, clock: HandClock) -> None:
    """Whoever is lost before it judged what it took over leaves the older checkpoint, also for the next one."""
    first = Leases(empty_store, "live", "a", clock)
    first.turn(at(7))
    clock.move(1)
    first.turn(at(7, kept_from_ns=3))
    first.leave(None)
    second = Leases(empty_store, "live", "b", clock)
    assert second.turn(at(9, kept_from_ns=5)).since == at(7, kept_from_ns=3)
    clock.move(RENEW_S)
    second.turn(None)
    third = Leases(empty_store, "live", "c", clock)
    third.turn(None)
    for _ in range(8):
        clock.move(RENEW_S)
        turn = third.turn(None)
        if turn.taken:
            break
    assert turn.since == at(7, kept_from_ns=3)
    third.turn(at(11))
    third.leave(None)
    assert Leases(empty_store, "live", "d", clock).turn(None).since == at(11)


def test_names_are_apart(empty_store: Any, clock: HandClock) -> None:
    """Analyses of different names share nothing."""
    one, other = Leases(empty_store, "live", "a", clock), Leases(empty_store, "trial", "a", clock)
    beaten(clock, one, other)
    assert (len(one.held), len(other.held)) == (RANGES, RANGES)


def test_the_earlier_of_two() -> None:
    """Of each collector what both have read; one that only one of them knows is read from its beginning."""
    one = Checkpoint(Cursor({"c": 5, "d": 9}, 70, [("c", 5, 1, 60), ("d", 9, 1, 70)]), 30, ["p"])
    other = Checkpoint(Cursor({"c": 7}, 80, [("c", 5, 1, 60), ("c", 7, 1, 80)]), 20, ["q"])
    expected = Checkpoint(Cursor({"c": 5}, 70, [("c", 5, 1, 60)]), 20, ["p", "q"])
    assert earlier(one, other) == expected
    assert earlier(other, one) == expected
