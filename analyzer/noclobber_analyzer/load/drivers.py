"""Many agents beside each other: each does its task again and again, until the time is over.

Each agent is one strand (a job of a `ThreadPoolExecutor`, or an asyncio task) with a name, each pass a run and a step
of its own, so that what one pass reads is no base of the next. What an agent's code raises is counted, the first of it
kept, and the agent goes on: a load test outlives its subject's errors.
"""

import asyncio
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from noclobber import scope
from noclobber_analyzer.load.scenario import Scenario

__all__ = ["DRIVERS", "GRACE_S", "Work", "drive"]

DRIVERS: Final = ("threads", "asyncio")
GRACE_S: Final = 10.0
"""What agents get to end their last pass when the time is over."""
REST_AFTER_FAILURE_S: Final = 0.01
"""An agent that fails at once must not take the machine from the others."""


class Work:
    """What the agents have done so far.

    Attributes:
        seconds: how long new passes begin. done, failed: passes. unfinished: agents that did not end in time.
        errors: how often each kind of error came. first_error: the first one with its traceback, "" for none.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.done = self.failed = self.unfinished = 0
        self.errors: Counter[str] = Counter()
        self.first_error = ""
        self._stopped = threading.Event()
        self._counting = threading.Lock()
        self._began_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began_s

    @property
    def over(self) -> bool:
        """Whether no new pass begins."""
        return self._stopped.is_set() or self.elapsed_s >= self.seconds

    def stop(self) -> None:
        """Begin no new pass."""
        self._stopped.set()

    def rest(self) -> None:
        """Wait a moment, shorter if it ends meanwhile."""
        self._stopped.wait(REST_AFTER_FAILURE_S)

    def count(self, error: BaseException | None) -> None:
        """One pass has ended, with `error` where it failed."""
        with self._counting:
            if error is None:
                self.done += 1
                return
            self.failed += 1
            self.errors[type(error).__name__] += 1
            if not self.first_error:
                self.first_error = "".join(traceback.format_exception(error)).rstrip()


def drive(scenario: Scenario, agents: int, driver: str, work: Work) -> None:
    """Let `agents` do it until `work` is over; returns when all have ended, or have had their grace."""
    if driver == "asyncio":
        asyncio.run(_tasks(scenario, agents, work))
    else:
        _threads(scenario, agents, work)


def _pass(number: int, turn: int) -> Any:
    name = f"agent-{number}"
    return scope.entered(name, f"{name}-{turn}", f"task-{turn}")


# -- threads ---------------------------------------------------------------------------------------------------------


def _threads(scenario: Scenario, agents: int, work: Work) -> None:
    pool = ThreadPoolExecutor(agents, thread_name_prefix="noclobber-load")
    jobs = [pool.submit(_agent, scenario, number, work) for number in range(1, agents + 1)]
    try:
        while any(not job.done() for job in jobs) and work.elapsed_s < work.seconds + GRACE_S:
            time.sleep(0.02)
    finally:
        work.stop()
        work.unfinished = sum(not job.done() for job in jobs)
        pool.shutdown(wait=not work.unfinished, cancel_futures=True)


def _agent(scenario: Scenario, number: int, work: Work) -> None:
    turn = 0
    while not work.over:
        turn += 1
        error = None
        try:
            with _pass(number, turn):
                if scenario.is_async:
                    asyncio.run(scenario.task(number))
                else:
                    scenario.task(number)
        except Exception as raised:
            error = raised
        work.count(error)
        if error is not None:
            work.rest()


# -- tasks -----------------------------------------------------------------------------------------------------------


async def _tasks(scenario: Scenario, agents: int, work: Work) -> None:
    do = scenario.task if scenario.is_async else _in_thread(scenario.task)
    tasks = [
        asyncio.create_task(_async_agent(do, number, work), name=f"agent-{number}") for number in range(1, agents + 1)
    ]
    _, late = await asyncio.wait(tasks, timeout=max(0.0, work.seconds - work.elapsed_s) + GRACE_S)
    work.unfinished = len(late)
    for each in late:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _in_thread(function: Callable[[int], Any]) -> Callable[[int], Coroutine[Any, Any, Any]]:
    async def do(number: int) -> Any:
        return await asyncio.to_thread(function, number)

    return do


async def _async_agent(do: Callable[[int], Coroutine[Any, Any, Any]], number: int, work: Work) -> None:
    turn = 0
    while not work.over:
        turn += 1
        error = None
        try:
            with _pass(number, turn):
                await do(number)
        except Exception as raised:
            error = raised
        work.count(error)
        await asyncio.sleep(0 if error is None else REST_AFTER_FAILURE_S)  # others have their turn, too
