"""The collector of garbage while live analysis runs: what is young goes after each step, and all is left as it was."""

import gc
import weakref
from typing import Any

import pytest
from intake import Agent, Intake, wait_until

from noclobber_analyzer.live import LiveAnalyzer


class Ring:
    """Something that keeps itself."""

    def __init__(self) -> None:
        self.own = self


def test_a_step_collects_what_is_young_and_the_end_leaves_it_on(intake: Intake) -> None:
    """Rings that any thread has made since a step are gone after the next; then Python's own rule holds again."""
    assert gc.isenabled()
    live = LiveAnalyzer(intake.store)
    live.start()
    try:
        wait_until(lambda: not gc.isenabled())
        gone = weakref.ref(Ring())
        intake.take([Agent("one").read("redis://h:6379/0/x", "1", 1.0)])
        live.wake()
        wait_until(lambda: gone() is None)
    finally:
        assert live.stop(30)
    assert gc.isenabled()


def test_what_is_young_is_collected_while_the_store_is_down(intake: Intake) -> None:
    """Also a step that failed is one: who shares the process goes on making garbage."""

    class Down:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionError("the store is down")

    live = LiveAnalyzer(intake.store)
    live._stream._store = live._stream.feed._store = Down()  # type: ignore[assignment]
    live.start()
    try:
        wait_until(lambda: bool(live.stats()["last_error"]))
        gone = weakref.ref(Ring())
        wait_until(lambda: gone() is None)
    finally:
        assert live.stop(30)


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    """What earlier tests left in older generations is none of these tests' business."""
    gc.collect()
