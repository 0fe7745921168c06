"""pottery's Redlock over real servers: one lock, whoever is asked; refusal, extension, a lease that ran out."""

import contextlib
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from cluster_stage import servers
from pottery import AIORedlock, Redlock, ReleaseUnlockedLock, TooManyExtensions

from noclobber.resources import host_name
from noclobber.testing import Captured, capture


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """Servers that know nothing of each other."""
    with servers(tmp_path_factory.mktemp("servers"), 3) as found:
        yield found


@pytest.fixture
def masters(ports: list[int]) -> Iterator[set[redis.Redis]]:
    """A client of each, all empty."""
    with contextlib.ExitStack() as stack:
        made = {stack.enter_context(redis.Redis(port=port)) for port in ports}
        for each in made:
            each.flushall()
        yield made


def told(captured: Captured) -> list[tuple[str, str, bool]]:
    """What was done, how it ended, and whether a lock was held."""
    return [
        (each["noclobber.op"], each["noclobber.outcome"], "noclobber.locks" in each)
        for each in captured.accesses
        if each["noclobber.op"] != "spawn"
    ]


def test_one_lock_over_several_servers(masters: set[redis.Redis], ports: list[int]) -> None:
    """It has one name, a lease and one owner from its taking to its giving back; nothing else of it is told."""
    (data, *_) = masters
    with capture(background=True) as captured:
        with Redlock(key="ledger", masters=masters, auto_release_time=5):
            data.get("k")
        data.get("k")
        assert told(captured) == [
            ("lock", "ok", False), ("read", "not_found", True), ("unlock", "ok", True), ("read", "not_found", False),
        ]  # fmt: skip
        lock, _, unlock, _ = [each for each in captured.accesses if each["noclobber.op"] != "spawn"]
    place = ",".join(sorted(f"{host_name()}:{port}/0" for port in ports)).replace("/", "%2F")
    assert lock["noclobber.resource"] == f"redlock://{place}/redlock:ledger"
    assert lock["noclobber.lock.ttl_ms"] == 5000
    assert lock["noclobber.lock.owner"] == unlock["noclobber.lock.owner"]


def test_refusal_and_extension(masters: set[redis.Redis]) -> None:
    """Who does not get it holds nothing; a renewal is a lock of the same owner; one too many is refused."""
    with capture(background=True) as captured:
        held = Redlock(key="ledger", masters=masters, num_extensions=1)
        assert held.acquire()
        assert not Redlock(key="ledger", masters=masters).acquire(blocking=False)
        held.extend()
        with pytest.raises(TooManyExtensions):
            held.extend()
        assert told(captured) == [
            ("lock", "ok", False), ("lock", "rejected", True), ("lock", "ok", True), ("lock", "rejected", True),
        ]  # fmt: skip
        held.release()


def test_a_lease_that_ran_out(masters: set[redis.Redis]) -> None:
    """Its holder's release is refused, and it holds the lock no more."""
    (data, *_) = masters
    with capture(background=True) as captured:
        held = Redlock(key="ledger", masters=masters)
        held.acquire()
        for each in masters:
            each.flushall()
        with pytest.raises(ReleaseUnlockedLock):
            held.release()
        data.get("k")
        assert told(captured)[-2:] == [("unlock", "rejected", True), ("read", "not_found", False)]


async def test_asyncio(ports: list[int]) -> None:
    """The same for the asyncio lock."""
    async with contextlib.AsyncExitStack() as stack:
        masters = [await stack.enter_async_context(redis.asyncio.Redis(port=port)) for port in ports]
        for each in masters:
            await each.flushall()
        with capture() as captured:
            async with AIORedlock(key="ledger", masters=masters):
                await masters[0].get("k")
            assert told(captured) == [("lock", "ok", False), ("read", "not_found", True), ("unlock", "ok", True)]
