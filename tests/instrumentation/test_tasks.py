"""Strands over asyncio (capture.md 6.2): what programs claim of their order holds, under every loop and factory."""

import asyncio
import sys
import threading
from typing import Any

import pytest
from reachability import check, touch
from task_programs import (
    CLAIMS,
    Program,
    bare_callbacks,
    cancelled_and_awaited,
    coroutine_from_another_thread,
    fails,
    gathered,
    gathered_with_error,
    job,
    shared_context,
    shield_of_a_task,
    shield_with_cancelled_waiter,
    task_awaited,
    task_group,
    to_thread,
    wait_all,
    wait_first_completed,
    wait_for_is_the_same_strand,
    wait_for_of_a_task,
)

from noclobber.testing import capture


@pytest.mark.parametrize("body", CLAIMS, ids=lambda body: body.__name__)
def test_order(body: Program) -> None:
    """What a program's own waiting orders is ordered, and nothing else is."""
    with capture() as captured:
        asyncio.run(body())
        check(captured.accesses, CLAIMS[body])


UNLIKE = {bare_callbacks}
"""All callbacks that uvloop runs in one thread are one strand: it runs them without a frame of Python's."""


@pytest.mark.parametrize("body", [body for body in CLAIMS if body not in UNLIKE], ids=lambda body: body.__name__)
def test_order_under_uvloop(body: Program) -> None:
    """The same under the loop that servers take wherever it is installed."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    with capture() as captured:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(body())
        check(captured.accesses, CLAIMS[body])
    assert "create_task" not in vars(uvloop.Loop)


FOREIGN = [
    task_awaited, gathered, gathered_with_error, wait_all, wait_first_completed, task_group,
    wait_for_is_the_same_strand, wait_for_of_a_task, shield_of_a_task, shield_with_cancelled_waiter, to_thread,
    cancelled_and_awaited, shared_context, coroutine_from_another_thread,
]  # fmt: skip


class SomebodysTask(asyncio.Task):  # type: ignore[type-arg]
    """What another library makes its tasks of."""


@pytest.mark.parametrize("body", FOREIGN, ids=lambda body: body.__name__)
def test_order_under_somebody_elses_task_factory(body: Program) -> None:
    """A task factory that is set already goes on making the tasks, and what they wait for is joined."""
    made: list[asyncio.Task[Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **words: Any) -> "asyncio.Task[Any]":
        made.append(SomebodysTask(coroutine, loop=loop, **words))
        return made[-1]

    with capture() as captured, asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(factory)
        runner.run(body())
        assert runner.get_loop().get_task_factory() is factory
        check(captured.accesses, CLAIMS[body])
    assert made


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.parametrize("body", [task_awaited, gathered, task_group, wait_all], ids=lambda body: body.__name__)
def test_order_of_eager_tasks(body: Program) -> None:
    """Tasks that begin before they are handed out have their own strands too."""
    with capture() as captured, asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        runner.run(body())
        check(captured.accesses, CLAIMS[body].replace("b|c", ""))


def test_a_helper_of_wait_for_is_no_strand() -> None:
    """Accesses inside `wait_for` and `shield` count on the waiter's strand."""

    async def body() -> None:
        touch("a")
        await asyncio.wait_for(job("b"), 5)
        await asyncio.shield(job("c"))

    with capture() as captured:
        asyncio.run(body())
        made = [(a["noclobber.strand"], a["noclobber.seq"]) for a in captured.accesses if a["noclobber.op"] == "read"]
    assert made == [("test-2", 1), ("test-2", 2), ("test-2", 3)]


def test_a_join_that_tells_nothing_is_not_sent() -> None:
    """Waiting for a task without accesses makes no span."""

    async def body() -> None:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        touch("a")

    with capture() as captured:
        asyncio.run(body())
        assert [a["noclobber.op"] for a in captured.accesses if a["noclobber.strand"] == "test-2"] == ["read"]


def test_results_and_errors_are_the_programs_own() -> None:
    """Values, exceptions and cancellation come through unchanged."""

    async def body() -> None:
        assert await asyncio.gather(job("a"), job("b")) == ["a", "b"]
        assert await asyncio.shield(job("c")) == "c"
        with pytest.raises(LookupError, match="d"):
            await asyncio.create_task(fails("d"))
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task

    with capture():
        asyncio.run(body())


def test_callbacks_of_loops_in_two_threads_stay_apart() -> None:
    """Two loops that run callbacks at the same time do not tear one callback into two strands."""
    barrier = threading.Barrier(2, timeout=10)

    def twice(name: str) -> None:
        touch(f"{name}1")
        barrier.wait()
        touch(f"{name}2")
        barrier.wait()

    def run(name: str) -> None:
        loop = asyncio.new_event_loop()
        loop.call_soon(twice, name)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()

    with capture(background=True) as captured:
        both = [threading.Thread(target=run, args=(name,)) for name in "ab"]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        check(captured.accesses, "a1<a2 b1<b2 a1|b1")


def test_hooks_come_out_again() -> None:
    """After the block asyncio is what it was."""
    before = (asyncio.BaseEventLoop.create_task, asyncio.shield, asyncio.tasks._wait, threading.Thread.start)
    with capture():
        assert before[0] is not asyncio.BaseEventLoop.create_task
    assert before == (asyncio.BaseEventLoop.create_task, asyncio.shield, asyncio.tasks._wait, threading.Thread.start)
