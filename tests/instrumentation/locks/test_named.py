"""Locks of one process that were given a name: holds are counted, nested, handed over, and behave as the lock does."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import noclobber
from noclobber import access
from noclobber.testing import Captured, capture

TIMEOUT_S = 20


def told(captured: Captured) -> list[tuple[Any, ...]]:
    """Op, outcome and token of each access, and the locks it was made under."""
    return [
        (
            a["noclobber.op"],
            a["noclobber.outcome"],
            a.get("noclobber.lock.token"),
            [each.rpartition("/")[2] for each in a.get("noclobber.locks", ())],
        )
        for a in captured.accesses
        if a["noclobber.op"] != "join"
    ]


def touch() -> None:
    with access("custom://state", "read"):
        pass


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, threading.BoundedSemaphore, threading.Semaphore])
def test_holds_are_counted(make: Any) -> None:
    """Each hold has the next number, and accesses inside name it."""
    with capture() as captured:
        lock = noclobber.lock(make(), name="ledger")
        for _ in range(2):
            with lock:
                touch()
        touch()
        names, ops = {a["noclobber.resource"] for a in captured.accesses}, told(captured)
    assert names == {"mem://test/ledger", "custom://state"}
    assert ops == [
        ("lock", "ok", 1, []), ("read", "ok", None, ["ledger#1"]), ("unlock", "ok", 1, []),
        ("lock", "ok", 2, []), ("read", "ok", None, ["ledger#2"]), ("unlock", "ok", 2, []), ("read", "ok", None, []),
    ]  # fmt: skip


def test_taken_again_is_one_hold() -> None:
    """Of a reentrant lock."""
    with capture() as captured:
        lock = noclobber.lock(threading.RLock(), name="ledger")
        with lock, lock:
            touch()
        ops = [each[:3] for each in told(captured)]
    assert ops == [("lock", "ok", 1), ("read", "ok", None), ("unlock", "ok", 1)]


def test_refused() -> None:
    """Who does not get it holds nothing, and no number."""
    with capture() as captured:
        lock = noclobber.lock(threading.Lock(), name="ledger")
        assert lock.acquire()
        assert not lock.acquire(blocking=False)
        lock.release()
        with pytest.raises(RuntimeError):
            lock.release()
        assert not lock.locked()
        ops = [each[:3] for each in told(captured)]
    assert ops == [("lock", "ok", 1), ("lock", "rejected", None), ("unlock", "ok", 1), ("unlock", "rejected", None)]


def test_several_at_one_time_protect_nothing() -> None:
    """A semaphore for two is told as shared, and nobody is said to be alone inside."""
    with capture() as captured:
        lock = noclobber.lock(threading.Semaphore(2), name="pool")
        with lock:
            touch()
        modes, ops = [a.get("noclobber.lock.mode") for a in captured.accesses], told(captured)
    assert modes == ["shared", None, "shared"]
    assert ops == [("lock", "ok", None, []), ("read", "ok", None, []), ("unlock", "ok", None, [])]


def test_given_back_too_often() -> None:
    """A semaphore for one that somebody gave back without taking lets two in: it protects nothing any more."""
    with capture() as captured:
        lock = noclobber.lock(threading.Semaphore(1), name="gate")
        lock.release()
        with lock, lock:
            touch()
        assert told(captured)[3] == ("read", "ok", None, [])


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_conditions(make: Any) -> None:
    """Who waits on a condition has given its lock back meanwhile, and holds another number afterwards."""
    lock = noclobber.lock(make(), name="ledger")
    with capture(background=True) as captured:
        condition, waits = threading.Condition(lock), threading.Event()

        def wait() -> None:
            with condition:
                waits.set()
                assert condition.wait(TIMEOUT_S)
                touch()

        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(TIMEOUT_S)
        with condition:
            touch()
            condition.notify()
        thread.join(TIMEOUT_S)
        held = [(each[0], each[3]) for each in told(captured) if each[0] == "read"]
        tokens = [each[2] for each in told(captured) if each[:2] == ("unlock", "ok")]
    assert held == [("read", ["ledger#2"]), ("read", ["ledger#3"])]
    assert sorted(tokens) == [1, 2, 3]


async def test_tasks() -> None:
    """Asyncio's lock and semaphore; a task that is cancelled while it waits never held it."""
    with capture() as captured:
        for lock in (
            noclobber.lock(asyncio.Lock(), name="ledger"),
            noclobber.lock(asyncio.Semaphore(1), name="ledger"),
        ):
            async with lock:
                touch()
                task = asyncio.ensure_future(lock.acquire())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert not lock.locked()
        ops = told(captured)
    one = [
        ("lock", "ok", 1, []), ("read", "ok", None, ["ledger#1"]), ("lock", "error", None, []), ("unlock", "ok", 1, []),
    ]  # fmt: skip
    assert ops == one + one


def test_off_it_is_the_lock(tmp_path: Path) -> None:
    """Without noclobber switched on it does what the lock does."""
    lock = noclobber.lock(threading.Lock(), name=tmp_path.name)
    with lock:
        assert lock.locked()
        assert not lock.acquire(timeout=0.01)
    assert not lock.locked()
    assert repr(lock).startswith("noclobber.lock(<unlocked")
