"""Small programs over gevent, each with what it claims of its accesses' order; run as a program of its own.

Prints for each program its name, and what does not hold (`-`: nothing). Argument: `patched` or `plain`.
"""

import sys
import traceback
from collections.abc import Callable

from noclobber.testing import capture

with capture():  # the hooks are there before gevent is
    if sys.argv[1] == "patched":
        from gevent import monkey

        monkey.patch_all()

    import gevent
    import gevent.pool
    import gevent.threadpool

import threading
from concurrent.futures import ThreadPoolExecutor

from reachability import Claims, check, touch

Program = Callable[[], None]
CLAIMS: Claims[Program] = Claims()
program = CLAIMS.note


@program("a<b b|c b<d c<d")
def spawned_and_joined() -> None:
    touch("a")
    greenlet = gevent.spawn(touch, "b")
    touch("c")
    greenlet.join()
    touch("d")


@program("a<b a<c b|c b<d c<d")
def two_that_are_waited_for() -> None:
    touch("a")
    gevent.joinall([gevent.spawn(touch, "b"), gevent.spawn(touch, "c")], raise_error=True)
    touch("d")


@program("b<d")
def got() -> None:
    greenlet = gevent.spawn(touch, "b")
    greenlet.get()
    touch("d")


@program("b<d")
def done_long_ago() -> None:
    greenlet = gevent.spawn(touch, "b")
    gevent.sleep(0.01)
    greenlet.join()
    touch("d")


@program("b|d")
def slept_for() -> None:
    gevent.spawn(touch, "b")
    gevent.sleep(0.01)
    touch("d")


@program("b|d")
def timeout_that_ran_out() -> None:
    gate = gevent.event.Event()

    def waits() -> None:
        gate.wait()
        touch("b")

    greenlet = gevent.spawn(waits)
    greenlet.join(timeout=0.001)
    touch("d")
    gate.set()
    greenlet.join()


@program("b<d")
def raised() -> None:
    def fails() -> None:
        touch("b")
        raise gevent.GreenletExit

    gevent.spawn(fails).get()
    touch("d")


@program("b<d")
def killed() -> None:
    def works() -> None:
        touch("b")
        gevent.sleep(10)

    greenlet = gevent.spawn(works)
    gevent.sleep(0)
    greenlet.kill()
    touch("d")


@program("b<d c|d")
def first_of_two() -> None:
    first, second = gevent.spawn(touch, "b"), gevent.spawn_later(0.01, touch, "c")
    assert gevent.wait([first, second], count=1) == [first]
    touch("d")
    second.join()


@program("b<d c<d b|c")
def one_after_the_other() -> None:
    for _ in gevent.iwait([gevent.spawn(touch, "b"), gevent.spawn(touch, "c")]):
        pass
    touch("d")


@program("b<d c<d")
def all_that_there_is() -> None:
    gevent.spawn(touch, "b")
    gevent.spawn(touch, "c")
    gevent.wait()
    touch("d")


@program("b<d c<d b|c e|d")
def pool_and_its_end() -> None:
    pool = gevent.pool.Pool(2)
    pool.spawn(touch, "b")
    pool.spawn(touch, "c")
    pool.join()
    other = gevent.spawn(touch, "e")
    touch("d")
    other.join()


@program("b|d")
def pool_that_nobody_waited_for() -> None:
    pool = gevent.pool.Pool(2)
    pool.spawn(touch, "b")
    gevent.sleep(0.01)
    touch("d")


@program("b<d c<d b|c")
def mapped() -> None:
    assert gevent.pool.Pool(2).map(touch, "bc") == [None, None]
    touch("d")


@program("b<d c<d")
def mapped_one_by_one() -> None:
    list(gevent.pool.Pool(2).imap_unordered(touch, "bc"))
    touch("d")


@program("b<d")
def applied() -> None:
    gevent.pool.Pool(2).apply(touch, ("b",))
    touch("d")


@program("b<d")
def linked() -> None:
    greenlet = gevent.spawn(touch, "b")
    done = gevent.event.Event()

    def then(_: object) -> None:
        touch("d")
        done.set()

    greenlet.link(then)
    done.wait()


@program("a<b b<d")
def in_a_native_thread() -> None:
    pool = gevent.threadpool.ThreadPool(2)
    touch("a")
    pool.spawn(touch, "b").get()
    touch("d")
    pool.kill()


@program("a<b b<d b|c")
def thread() -> None:
    touch("a")
    worker = threading.Thread(target=touch, args=("b",))
    worker.start()
    touch("c")
    worker.join()
    touch("d")


@program("b<d c<d b|c")
def executor() -> None:
    with ThreadPoolExecutor(2) as workers:
        futures = [workers.submit(touch, name) for name in "bc"]
        for future in futures:
            future.result()
    touch("d")


@program("b<d b|c")
def greenlets_of_greenlets() -> None:
    def middle() -> None:
        gevent.spawn(touch, "b").join()

    other = gevent.spawn(touch, "c")
    gevent.spawn(middle).join()
    touch("d")
    other.join()


@program("b<d")
def raw_ones_hide() -> None:
    gevent.spawn_raw(touch, "b")
    gevent.sleep(0)
    touch("d")


for function, claims in CLAIMS.items():
    try:
        with capture() as captured:
            function()
        check(captured.accesses, claims)
        problem = "-"
    except Exception:  # noqa: BLE001 RUF100  told to the test
        problem = traceback.format_exc().strip().replace("\n", " | ")
    print(f"{function.__name__}: {problem}")
assert isinstance(gevent.spawn(int), gevent.Greenlet)
assert gevent.Greenlet.__name__ == "Greenlet"
print("the class is as it was: -")
