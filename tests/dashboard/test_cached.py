"""One answer for many visitors."""

import threading
from functools import partial

import pytest

from noclobber_dashboard.cached import ENTRIES_MAX, KEPT_MAX_S, REST, Cached


class Hand:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        """Its time."""
        return self.now


def test_an_answer_serves_until_it_is_old() -> None:
    """Within its time the store is not asked again."""
    clock, asked = Hand(), []
    cached = Cached(2.0, clock)
    for now in (0.0, 1.9, 2.0, 3.9):
        clock.now = now
        cached.get("key", lambda: asked.append(clock.now))
    assert asked == [0.0, 2.0]


def test_what_begins_with_a_forgotten_key_is_forgotten() -> None:
    """A list that was chosen out of another goes with it; what is beside it stays."""
    cached, asked = Cached(2.0, Hand()), []
    for key in (("issues",), ("issues", "new"), ("agents",)) * 2:
        cached.get(key, lambda key=key: asked.append(key))
    cached.forget(("issues",))
    for key in (("issues",), ("issues", "new"), ("agents",)):
        cached.get(key, lambda key=key: asked.append(key))
    assert asked == [("issues",), ("issues", "new"), ("agents",), ("issues",), ("issues", "new")]


def test_a_slow_answer_serves_longer() -> None:
    """What took a second is not asked again for ten."""
    clock = Hand()
    cached = Cached(2.0, clock)

    def slow() -> float:
        clock.now += 1.0
        return clock.now

    assert cached.get("key", slow) == 1.0
    clock.now = 1.0 + REST - 0.1
    assert cached.get("key", slow) == 1.0
    clock.now = 1.0 + REST
    assert cached.get("key", slow) == 2.0 + REST


def test_an_error_is_not_kept() -> None:
    """The next visitor asks again."""
    cached = Cached(60.0)
    with pytest.raises(ZeroDivisionError):
        cached.get("key", lambda: 1 // 0)
    assert cached.get("key", lambda: 7) == 7


def test_what_is_forgotten_is_asked_again() -> None:
    """After a change the old answer is gone."""
    cached = Cached(60.0)
    cached.get("key", lambda: 1)
    cached.forget("key")
    assert cached.get("key", lambda: 2) == 2


def test_a_crowd_asks_once() -> None:
    """Ten visitors at the same moment are one question."""
    cached, asked, together = Cached(60.0), [], threading.Barrier(10)

    def visitor() -> None:
        together.wait(10)
        cached.get("key", lambda: asked.append(1))

    crowd = [threading.Thread(target=visitor) for _ in range(10)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(10)
    assert asked == [1]


def test_the_cache_is_bounded() -> None:
    """The oldest key goes first."""
    cached = Cached(60.0)
    for number in range(ENTRIES_MAX + 1):
        cached.get(number, partial(int, number))
    assert cached.get(0, lambda: -1) == -1
    assert cached.get(ENTRIES_MAX, lambda: -1) == ENTRIES_MAX


def test_an_answer_serves_on_while_nothing_was_written() -> None:
    """Beyond its time only the version is asked; a new one, or too long a time, and the store is asked again."""
    clock, asked, version = Hand(), [], [1]
    cached = Cached(2.0, clock, lambda: version[0])
    for now in (0.0, 3.0, KEPT_MAX_S - 1):
        clock.now = now
        cached.get("key", lambda: asked.append(clock.now))
    assert asked == [0.0]
    version[0] = 2
    clock.now = KEPT_MAX_S - 0.5
    cached.get("key", lambda: asked.append(clock.now))
    assert asked == [0.0], "the version itself serves as long as any answer"
    for now in (KEPT_MAX_S + 2, KEPT_MAX_S + 9, 2 * KEPT_MAX_S + 3):
        clock.now = now
        cached.get("key", lambda: asked.append(clock.now))
    assert asked == [0.0, KEPT_MAX_S + 2, 2 * KEPT_MAX_S + 3]


def test_where_nothing_is_known_of_changes_each_answer_has_its_time() -> None:
    """A store that is spread over servers tells no version: what is old is asked again."""
    clock, asked = Hand(), []
    cached = Cached(2.0, clock, lambda: None)
    for now in (0.0, 3.0):
        clock.now = now
        cached.get("key", lambda: asked.append(clock.now))
    assert asked == [0.0, 3.0]
