"""redis-py's lock on a real server: taking, giving back, refusal, and which locks an access was made under."""

import itertools
import threading

import pytest
import redis
import redis.asyncio

from noclobber import testing
from noclobber.testing import capture


def test_a_lock_is_held_between_acquire_and_release(client: redis.Redis) -> None:
    """Two spans and no commands of the lock itself; accesses inside name it."""
    with capture() as captured:
        with client.lock("guard", timeout=10):
            client.get("k")
        client.get("k")
        lock, inside, unlock, outside = captured.accesses
    name = lock["noclobber.resource"]
    assert name.endswith("/0/guard")
    assert [a["noclobber.op"] for a in (lock, inside, unlock, outside)] == ["lock", "read", "unlock", "read"]
    assert (lock["noclobber.lock.ttl_ms"], lock["noclobber.outcome"]) == (10_000, "ok")
    assert lock["noclobber.lock.owner"] == unlock["noclobber.lock.owner"]
    assert (inside["noclobber.locks"], outside.get("noclobber.locks")) == ([name], None)


def test_a_lock_that_is_taken_is_refused(client: redis.Redis) -> None:
    """Who does not get it holds nothing."""
    with capture() as captured, client.lock("guard"):
        assert not client.lock("guard").acquire(blocking=False)
        ops = [(a["noclobber.op"], a["noclobber.outcome"]) for a in captured.accesses]
    assert ops == [("lock", "ok"), ("lock", "rejected")]


def test_a_lock_that_ran_out_is_released_with_an_error(client: redis.Redis) -> None:
    """Its holder's release is refused, and it holds the lock no more."""
    with capture() as captured:
        lock = client.lock("guard")
        lock.acquire()
        client.delete("guard")
        with pytest.raises(redis.exceptions.LockError):
            lock.release()
        client.get("k")
        last = captured.accesses[-2:]
    assert [(a["noclobber.op"], a["noclobber.outcome"]) for a in last] == [
        ("unlock", "rejected"),
        ("read", "not_found"),
    ]
    assert "noclobber.locks" not in last[1]


def test_another_strand_may_give_it_back(client: redis.Redis) -> None:
    """A lock that one thread takes and another gives back is held by neither afterwards."""
    with capture(background=True) as captured:
        lock = client.lock("guard", thread_local=False)
        lock.acquire()
        thread = threading.Thread(target=lock.release)
        thread.start()
        thread.join()
        client.get("k")
        last = captured.accesses[-1]
    assert (last["noclobber.op"], last.get("noclobber.locks")) == ("read", None)


async def test_asyncio_lock(valkey: str, client: redis.Redis) -> None:
    """The asyncio lock is captured as the plain one is."""
    async with redis.asyncio.Redis.from_url(valkey) as aio:
        with capture() as captured:
            async with aio.lock("guard", timeout=5):
                await aio.get("k")
            ops = [(a["noclobber.op"], "noclobber.locks" in a) for a in captured.accesses]
    assert ops == [("lock", False), ("read", True), ("unlock", True)]


def test_waiting_long_for_a_lock_is_sent_open(client: redis.Redis) -> None:
    """A lock that is waited for longer than 5 s shows while it waits; its end replaces it and counts once."""
    seconds = itertools.count(testing.START_NS, 1_000_000_000)
    with capture(now_ns=lambda: next(seconds), background=True) as captured:
        with client.lock("guard"):
            thread = threading.Thread(target=lambda: client.lock("guard").acquire(blocking_timeout=20))
            thread.start()
            while not any("noclobber.open" in span.attributes for export in captured.exports for span in export):
                assert thread.is_alive()
        thread.join(20)
        locks = [span for export in captured.exports for span in export if span.name == "lock redis"]
        both = [span for span in locks if span.attributes["noclobber.strand"] != "test-1"]
        sent = len([a for a in captured.accesses if a["noclobber.op"] != "mark"])
        mark = captured.marks[-1]
    assert [s.attributes.get("noclobber.open") for s in both] == [True, None]
    assert both[0].span_id == both[1].span_id
    assert "noclobber.strand.parent" in both[1].attributes
    assert mark["noclobber.accesses"] == sent
