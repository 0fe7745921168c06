"""Happens-before: what makes one wait for another, what merely lets it know, and what a search does at its limit."""

import pytest

from noclobber_analyzer import paths as module
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder
from noclobber_analyzer.order import Answer, By, Order
from story import Story


def asked(story: str, one: int, other: int, *, know: bool = False, clocks: str = "apart") -> Answer:
    """Whether access number `other` comes after number `one` (from 0)."""
    told = Story(clocks=clocks)
    history = told.history(story)
    accesses = sorted(history.accesses, key=lambda a: a.start_ns)
    return Order(history).path(accesses[one], accesses[other], know=know)


@pytest.mark.parametrize(
    ("story", "one", "other", "expected"),
    [
        pytest.param("Arx1 Awx2", 0, 1, Answer.YES, id="program"),
        pytest.param("Arx1 Awx2", 1, 0, Answer.NO, id="not backwards"),
        pytest.param("Arx1 A*B Brx1", 0, 2, Answer.YES, id="spawn"),
        pytest.param("A*B Arx1 Brx1", 1, 2, Answer.NO, id="after the spawn"),
        pytest.param("A*B Brx1 A+B Arx1", 1, 3, Answer.YES, id="join"),
        pytest.param("A*B Brx1 Arx1 A+B", 1, 2, Answer.NO, id="before the join"),
        pytest.param("Arx1 As9 Bg9 Brx1", 0, 3, Answer.YES, id="message"),
        pytest.param("As9 Arx1 Bg9 Brx1", 1, 3, Answer.NO, id="after the message"),
        pytest.param("As9 As9 Bg9 Brx1", 0, 3, Answer.NO, id="nobody knows which of two sends"),
        pytest.param("Al1 Awx2 An1 Bl2 Brx2", 1, 4, Answer.YES, id="lock by token"),
        pytest.param("Al1 Awx2 Bl2 An1 Brx2", 1, 4, Answer.NO, id="the lease had ended"),
        pytest.param("Arx1 As1 Bg1 Bs2 Cg2 Crx1", 0, 5, Answer.YES, id="through a third strand"),
        pytest.param("Awx2 Brx2", 0, 1, Answer.NO, id="reading is no waiting"),
    ],
)
def test_sync_order(story: str, one: int, other: int, expected: Answer) -> None:
    """Only what makes one wait orders the two."""
    clocks = "one" if "l1" in story else "apart"
    assert asked(story, one, other, clocks=clocks) is expected


def test_know_order_adds_reads_from() -> None:
    """Whoever read a version knew of its write, unless the print is too common or two made it."""
    assert asked("Awx2 Brx2", 0, 1, know=True) is Answer.YES
    assert asked("Awx2% Brx2%", 0, 1, know=True) is Answer.NO
    assert asked("Awx2 Cwx2 Brx2", 0, 2, know=True) is Answer.NO


def test_spent_limit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that spends its limit never says "not ordered", and is counted with the strands that it was about."""
    monkeypatch.setattr(module, "SEARCH_LIMIT", 5)
    story = "Crx1 Cs0 Dg0 " + " ".join(f"As{n} Bg{n}" for n in range(1, 20))
    accesses = sorted(Story(clocks="apart").history(story).accesses, key=lambda a: a.start_ns)
    order = Order(Story(clocks="apart").history(story))
    assert order.path(accesses[0], accesses[-1]) is Answer.UNKNOWN
    assert order.spent == 1
    assert order.is_left_open(accesses[-1], accesses[0])
    assert not order.is_left_open(accesses[0], accesses[2])


def test_a_path_only_climbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who hands nothing on, or only later than the other got all that it got, is ordered before nobody: no search."""
    monkeypatch.setattr(module, "SEARCH_LIMIT", 0)
    monkeypatch.setattr(module, "RANKED_AFTER", -1)
    ends = "Crx1 " + " ".join(f"As{n} Bg{n}" for n in range(1, 20)) + " Bs99 Cg99 Cs98 Dg98"
    accesses = sorted(Story(clocks="apart").history(ends).accesses, key=lambda a: a.start_ns)
    order = Order(Story(clocks="apart").history(ends))
    assert order.path(accesses[-1], accesses[1]) is Answer.NO
    assert order.path(accesses[-2], accesses[-4]) is Answer.NO
    assert order.steps == 0


def test_a_circle_is_searched_without_ranks() -> None:
    """Broken capture, where two wait for each other: what is a path is still found."""
    story = Story(clocks="apart")
    accesses = story.accesses("As1 Ag2 Bs2 Bg1 Crx1")
    accesses = [changed(a, seq={1: 2, 2: 1}[a.seq]) if a.strand in "AB" else a for a in accesses]
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(access, access.name)
    order = Order(builder.finish(ended=True))
    by_word = {(a.strand, a.op): a for a in accesses}
    assert order.path(by_word["A", "send"], by_word["B", "receive"]) is Answer.YES
    assert order.path(by_word["A", "send"], by_word["C", "read"]) is Answer.NO


def test_an_unknown_outcome_comes_before_nothing() -> None:
    """Its effect may come at any time after its call."""
    history = Story().history("Awx2!unknown Brx1 Awx3")
    first, second, third = sorted(history.accesses, key=lambda a: a.start_ns)
    order = Order(history)
    assert order.before(first, second) is None
    assert order.before(first, third) is None
    assert order.before(second, third) is By.CLOCK
