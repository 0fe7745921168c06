"""Strands over threads and executors (capture.md 6.2): which accesses of small programs are ordered."""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from reachability import Claims, check, touch

import noclobber
from noclobber.testing import capture

Program = Callable[[], None]
CLAIMS: Claims[Program] = Claims()
program = CLAIMS.note


@program("a<b b|c b<d c<d")
def thread_started_and_joined() -> None:
    touch("a")
    thread = threading.Thread(target=touch, args=("b",))
    thread.start()
    touch("c")
    thread.join()
    touch("d")


@program("b|c b<d")
def thread_joined_with_a_timeout_that_ran_out() -> None:
    gate = threading.Event()

    def waits() -> None:
        gate.wait(10)
        touch("b")

    thread = threading.Thread(target=waits)
    thread.start()
    thread.join(0.001)
    touch("c")
    gate.set()
    thread.join()
    touch("d")


@program("a<b a<c b|c b<d c<d")
def two_threads() -> None:
    touch("a")
    threads = [threading.Thread(target=touch, args=(name,)) for name in "bc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    touch("d")


@program("a<b b|c b<d")
def job_and_its_result() -> None:
    touch("a")
    with ThreadPoolExecutor() as pool:
        future = pool.submit(touch, "b")
        touch("c")
        future.result()
        touch("d")


@program("b<d")
def job_that_fails() -> None:
    def fails() -> None:
        touch("b")
        raise LookupError

    with ThreadPoolExecutor() as pool:
        assert isinstance(pool.submit(fails).exception(), LookupError)
        touch("d")


@program("b|c")
def two_jobs_of_one_worker() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(touch, "b")
        pool.submit(touch, "c")


@program("b|c b<d c<d")
def end_of_the_executor() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(touch, "b")
        pool.submit(touch, "c")
    touch("d")


@program("b|c b<d c<d")
def executors_map() -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(touch, "bc"))
        touch("d")


@program("b<d c<d")
def waited_for_with_wait() -> None:
    with ThreadPoolExecutor() as pool:
        concurrent.futures.wait([pool.submit(touch, name) for name in "bc"])
        touch("d")


@program("b<d c<d")
def waited_for_with_as_completed() -> None:
    with ThreadPoolExecutor() as pool:
        for _ in concurrent.futures.as_completed([pool.submit(touch, name) for name in "bc"]):
            pass
        touch("d")


@program("a<b b<d")
def a_timer() -> None:
    touch("a")
    timer = threading.Timer(0.0, touch, "b")
    timer.start()
    timer.join()
    touch("d")


@program("a<b b<d")
def threads_of_threads() -> None:
    touch("a")

    def middle() -> None:
        inner = threading.Thread(target=touch, args=("b",))
        inner.start()
        inner.join()

    outer = threading.Thread(target=middle)
    outer.start()
    outer.join()
    touch("d")


@pytest.mark.parametrize("body", CLAIMS, ids=lambda body: body.__name__)
def test_order(body: Program) -> None:
    """What a program's own waiting orders is ordered, and nothing else is."""
    with capture(background=True) as captured:
        body()
        check(captured.accesses, CLAIMS[body])


@pytest.mark.parametrize("start", ["thread", "submit"])
def test_agent_run_and_step_travel(start: str) -> None:
    """A started thread and a submitted job act as whoever started them; a pool's worker does not keep it."""
    with capture() as captured:
        with ThreadPoolExecutor(1) as pool:
            with noclobber.agent("planner"), noclobber.run("r1"), noclobber.step("look"):
                if start == "thread":
                    thread = threading.Thread(target=touch, args=("b",))
                    thread.start()
                    thread.join()
                else:
                    pool.submit(touch, "b").result()
            pool.submit(touch, "c").result()
        told = {a["noclobber.resource"]: (a["noclobber.agent"], a["noclobber.run"]) for a in captured.accesses}
        steps = [a.get("noclobber.step", "")[:5] for a in captured.accesses if a["noclobber.op"] == "read"]
    assert (told["x://b"], told["x://c"]) == (("planner", "r1"), ("test", "run-test"))
    assert steps == ["look-", ""]
