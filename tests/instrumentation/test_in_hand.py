"""Which message a strand works on, and when nobody can tell: no link rather than a wrong one."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from noclobber import access, recorder, step
from noclobber.access import Access
from noclobber.contract import Op
from noclobber.in_hand import HELD_MAX
from noclobber.queues.messages import Queue
from noclobber.testing import capture

QUEUE = Queue("custom://queue", "custom", "workers")


def message(op: Op, *names: str, held: bool | None = True) -> None:
    """One call that receives or settles messages."""
    active = recorder.active()
    assert active is not None
    accesses: list[Access] = [QUEUE.access(op, each, held=held) for each in names]
    active.end(active.begin("custom", len(names)), lambda _: accesses)


def work() -> None:
    with access("custom://report", "write") as told:
        told.written(content="what was found out")


def elsewhere(act: Callable[[], Any]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()


def test_until_it_is_settled() -> None:
    """From the receipt to the acknowledgement, in that strand."""
    with capture() as captured:
        assert linked(captured, lambda: message(Op.RECEIVE, "a")) == "a"
        assert linked(captured, lambda: message(Op.NACK, "a")) is None
        message(Op.RECEIVE, "a", "b")
        assert linked(captured, lambda: None) is None  # which of the two?
        assert linked(captured, lambda: message(Op.ACK, "b")) == "a"


def linked(captured: Any, before: Callable[[], None]) -> Any:
    """The message that the next write carries."""
    before()
    work()
    return captured.accesses[-1].get("noclobber.message.id")


def test_what_nobody_settles() -> None:
    """It is in hand until the next one; what was only looked at never is."""
    with capture() as captured:
        assert linked(captured, lambda: message(Op.RECEIVE, "a", held=None)) == "a"
        assert linked(captured, lambda: message(Op.RECEIVE, "b", held=None)) == "b"
        assert linked(captured, lambda: message(Op.RECEIVE, "c", held=False)) is None


def test_one_step() -> None:
    """A message that came in a step is no other step's."""
    with capture() as captured:
        with step("handle"):
            message(Op.RECEIVE, "a")
            work()
        work()
        with step("handle"):
            work()
        found = [each.get("noclobber.message.id") for each in captured.accesses if each["noclobber.op"] == "write"]
    assert found == ["a", None, None]


def test_each_message_is_a_unit() -> None:
    """A loop that handles one message after the other: what it wrote for the first is no base for the second."""
    with capture() as captured:
        for name in ("a", "b"):
            message(Op.RECEIVE, name)
            work()
            with access("custom://report", "read") as told:
                told.read(content=f"something else, for {name}")
            work()
            message(Op.ACK, name)
        work()
        accesses = captured.accesses
    units = [each.get("noclobber.unit") for each in accesses]
    assert (len(set(units[:5])), len(set(units[5:10])), len({units[0], units[5], units[10]})) == (1, 1, 3)
    assert {each.get("noclobber.unit.kind") for each in accesses} == {"message", None}
    writes = [each for each in accesses if each["noclobber.op"] == "write"]
    sources = [each.get("noclobber.version.base.source") for each in writes]
    assert sources == [None, "observed", "remembered", "observed", "remembered"]


def test_several_at_once() -> None:
    """Between two acknowledgements is one unit, which is no message's: the receipts are none of it."""
    with capture() as captured:
        message(Op.RECEIVE, "a", "b", "c")
        for name in ("a", "b", "c"):
            work()
            work()
            message(Op.ACK, name)
        told = [(each["noclobber.op"], each.get("noclobber.unit")) for each in captured.accesses]
        linked_to = [each.get("noclobber.message.id") for each in captured.accesses if each["noclobber.op"] == "write"]
    assert [unit for op, unit in told[:3]] == [None] * 3
    units = [unit for op, unit in told[3:]]
    assert (len(set(units[:3])), len(set(units[3:6])), len(set(units[6:])), len(set(units))) == (1, 1, 1, 3)
    assert linked_to == [None] * 4 + ["c"] * 2


def test_who_hands_work_on_is_not_linked() -> None:
    """A strand that starts another one, or whose message another one acknowledged, only dispatches."""
    with capture() as captured:
        message(Op.RECEIVE, "a")
        elsewhere(work)
        work()
        message(Op.RECEIVE, "b")
        gate = threading.Event()
        worker = threading.Thread(target=lambda: (gate.wait(20), message(Op.ACK, "c")))
        worker.start()
        message(Op.RECEIVE, "c")
        gate.set()
        worker.join()
        message(Op.RECEIVE, "d")
        work()
        found = [each.get("noclobber.message.id") for each in captured.accesses if each["noclobber.op"] == "write"]
    assert found == [None, None, None]


def test_two_holders_of_one_message() -> None:
    """Whoever gets a message again is its holder too: the first one's acknowledgement is not the second one's."""
    with capture() as captured:
        message(Op.RECEIVE, "a")
        held, acknowledged = threading.Event(), threading.Event()

        def second() -> None:
            message(Op.RECEIVE, "a")
            held.set()
            acknowledged.wait(20)
            work()

        thread = threading.Thread(target=second)
        thread.start()
        assert held.wait(20)
        message(Op.ACK, "a")
        acknowledged.set()
        thread.join()
        (found,) = (each.get("noclobber.message.id") for each in captured.accesses if each["noclobber.op"] == "write")
    assert found == "a"


def test_a_lost_call() -> None:
    """It may have been the acknowledgement."""
    with capture() as captured:
        message(Op.RECEIVE, "a")
        work()
        assert captured.accesses[-1]["noclobber.message.id"] == "a"
        captured.recorder._ring_max = 0
        message(Op.ACK, "a")
        captured.recorder._ring_max = 1000
        assert linked(captured, lambda: None) is None


@pytest.mark.parametrize("settled", [HELD_MAX - 1, HELD_MAX])
def test_more_than_are_kept(settled: int) -> None:
    """Of too many messages none is linked until the strand begins anew."""
    names = [f"m{number}" for number in range(HELD_MAX + 1)]
    with capture() as captured:
        message(Op.RECEIVE, *names)
        assert linked(captured, lambda: message(Op.ACK, *names[:settled])) is None
        assert linked(captured, lambda: message(Op.RECEIVE, "next")) == ("next" if settled == HELD_MAX else None)
