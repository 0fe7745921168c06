"""Guards: the lost update does not happen, who was in between is told, and outside of the guard nothing changes."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

import noclobber
from noclobber import StaleWrite, Unguardable
from noclobber.guarding import blocks
from noclobber.settings import Settings
from noclobber_analyzer.interleavings import Outcome, interleave
from noclobber_analyzer.watching import Watched, hooked, watched

ANY = "redis://*/acct:*"
TIMEOUT_S = 20


@pytest.fixture
def client(valkey: str) -> Iterator[Any]:
    """A client, and an account of 100."""
    with redis.Redis.from_url(valkey, decode_responses=True) as made:
        made.flushall()
        made.set("acct:1", 100)
        yield made


@pytest.fixture
def seen() -> Iterator[Watched]:
    """What this process does, recorded."""
    settings = Settings(service="test", send=False, spool=None, cpu_budget=0.0)
    with hooked(settings), watched(settings) as found:
        yield found


def elsewhere(do: Callable[[], Any], agent: str = "B") -> None:
    """Do it as another agent, in a thread of its own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            with noclobber.agent(agent):
                do()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    for error in raised:
        raise error


def test_a_stale_write_is_not_made(client: Any, seen: Watched) -> None:
    """The exception names who wrote in between and where, and what to do; the other's write is still there."""
    with noclobber.agent("A"), noclobber.guarded(ANY):
        balance = int(client.get("acct:1"))
        elsewhere(lambda: client.set("acct:1", 70))
        with pytest.raises(StaleWrite, match=r"`B` at .*test_guarded\.py:\d+, \d+ ms ago, wrote in between") as caught:
            client.set("acct:1", balance - 10)
        assert "Read again" in str(caught.value)
        assert (caught.value.agent, caught.value.resource.rpartition("/")[2]) == ("B", "acct:1")
        assert client.get("acct:1") == "70"
        assert client.set("acct:1", 60) is True
    assert client.get("acct:1") == "60"
    evaluation = seen.evaluation()
    assert (evaluation.findings, [str(each.reason) for each in evaluation.defended]) == ([], ["rejected"])


def test_who_can_not_be_known_is_said_so(client: Any, valkey: str) -> None:
    """A writer that goes past this library."""
    with noclobber.guarded(ANY):
        client.get("acct:1")
        with redis.Redis.from_url(valkey).pipeline() as other:
            other.set("acct:1", 1)
            with pytest.raises(Unguardable, match="does not watch it"):
                other.execute()
        client.execute_command("CONFIG", "SET", "maxmemory", "0")
        client.eval("redis.call('SET', KEYS[1], '5')", 1, "acct:1")
        with pytest.raises(StaleWrite):
            client.set("acct:1", 2)
    assert client.get("acct:1") == "5"


def test_hashes_and_lists_too(client: Any) -> None:
    """Whatever was read of the key is what the write rests on: a field that nobody read may change."""
    client.hset("acct:h", mapping={"mine": 1, "theirs": 1})
    client.rpush("acct:l", "a", "b")
    with noclobber.guarded(ANY):
        client.hget("acct:h", "mine")
        client.lrange("acct:l", 0, -1)
        elsewhere(lambda: client.hset("acct:h", "theirs", 2))
        elsewhere(lambda: client.rpush("acct:l", "c"))
        assert client.hset("acct:h", "mine", 3) == 0
        with pytest.raises(StaleWrite):
            client.lset("acct:l", 0, "z")
        with pytest.raises(StaleWrite):
            client.delete("acct:l")
    assert (client.hgetall("acct:h"), client.lrange("acct:l", 0, 0)) == ({"mine": "3", "theirs": "2"}, ["a"])


def test_what_loses_nothing_passes(client: Any) -> None:
    """Commands that the server does at once, and writes with a condition of their own."""
    with noclobber.guarded(ANY):
        assert client.incrby("acct:1", 5) == 105
        assert client.set("acct:new", 1, nx=True) is True
        with client.pipeline() as pipe:
            pipe.watch("acct:1")
            pipe.multi()
            pipe.set("acct:1", 6)
            assert pipe.execute() == [True]


def test_only_inside_and_only_what_is_named(client: Any) -> None:
    """Other keys, other contexts and what comes after are as they were; no wrapper stays."""
    before = vars(redis.Redis)["execute_command"]
    with noclobber.guarded("redis://*/acct:2"):
        assert vars(redis.Redis)["execute_command"] is not before
        client.set("acct:1", 1)
        elsewhere(lambda: client.set("acct:2", 2))
        with pytest.raises(Unguardable, match="was not read inside the block"):
            client.set("acct:2", 3)
        assert client.get("acct:2") == "2"
        client.set("acct:2", 3)
    client.set("acct:2", 4)
    assert vars(redis.Redis)["execute_command"] is before
    assert (blocks._live.get("noclobber.guarding.redis"), blocks._patterns) == (0, {})


@pytest.mark.parametrize("pattern", ["file://host/a", "kafka://topic/0", "*", "acct:1", "mem://x/y"])
def test_what_can_not_be_guarded_is_refused_at_once(pattern: str) -> None:
    """And nothing is switched on."""
    with pytest.raises(Unguardable, match="hold a lock"), noclobber.guarded("redis://*", pattern):
        pytest.fail("the block was entered")
    with pytest.raises(Unguardable, match="hold a lock"):
        noclobber.instrument(enforce=[pattern])
    assert not any(blocks._live.values())


def test_several_keys_at_once_are_refused_before_they_are_sent(client: Any) -> None:
    """There is no guard that silently is none."""
    with noclobber.guarded(ANY):
        with pytest.raises(Unguardable, match="several keys"):
            client.mset({"acct:1": 1, "acct:2": 2})
        with pytest.raises(Unguardable, match="several keys"):
            client.delete("acct:1", "acct:2")
    assert client.get("acct:1") == "100"


def withdrawing(url: str, *, guarded: bool) -> Callable[[], Any]:
    """An agent that withdraws and, refused, tries again."""

    async def withdraw() -> int:
        refused = 0
        async with redis.asyncio.Redis.from_url(url) as own:
            while True:
                with noclobber.guarded(ANY) if guarded else noclobber.step("withdraw"):
                    balance = int(await own.get("acct:1") or 0)
                    try:
                        await own.set("acct:1", balance - 10)
                    except StaleWrite:
                        refused += 1
                        continue
                return refused

    return withdraw


def balances(client: Any, valkey: str, *, guarded: bool) -> Iterator[tuple[Outcome, int]]:
    """Several interleavings of three agents, and what is left of 100."""
    for seed in range(6):
        client.set("acct:1", 100)
        agent = withdrawing(valkey, guarded=guarded)
        outcome = interleave(dict.fromkeys("ABC", agent), seed)
        yield outcome, int(client.get("acct:1"))


def test_in_every_interleaving_each_withdrawal_counts(client: Any, valkey: str) -> None:
    """Three asynchronous agents: unguarded they lose; guarded none does, some try again, all count as defended."""
    lost = [left for _, left in balances(client, valkey, guarded=False)]
    assert max(lost) > 70
    found = list(balances(client, valkey, guarded=True))
    assert [(left, outcome.findings) for outcome, left in found] == [(70, ())] * 6
    refused = [sum(map(int, map(str, outcome.results))) for outcome, _ in found]
    assert [outcome.defended.get("rejected", 0) > 0 for outcome, _ in found] == [count > 0 for count in refused]
    assert max(refused) > 1


def test_a_process_enforces(client: Any) -> None:
    """From `instrument` on, by step; what nobody has read may be written; switched off it is off."""
    blocks.enforce([ANY])
    try:
        client.set("acct:fresh", 1)
        with noclobber.step("one"):
            client.get("acct:1")
            elsewhere(lambda: client.set("acct:1", 1))
            with pytest.raises(StaleWrite):
                client.set("acct:1", 2)
        with noclobber.step("two"):
            client.set("acct:1", 3)
    finally:
        noclobber.uninstrument()
    assert client.get("acct:1") == "3"
    assert not any(blocks._live.values())


def test_a_task_of_the_block_is_in_it(client: Any, valkey: str) -> None:
    """Tasks that it starts are guarded; the one beside it is not."""

    async def main() -> str:
        async with redis.asyncio.Redis.from_url(valkey, decode_responses=True) as own:
            ready, written = asyncio.Event(), asyncio.Event()

            async def beside() -> None:
                await ready.wait()
                await own.set("acct:1", 7)
                written.set()

            other = asyncio.create_task(beside())

            async def inside() -> None:
                await own.get("acct:1")
                ready.set()
                await asyncio.wait_for(written.wait(), TIMEOUT_S)
                await own.set("acct:1", 8)

            with noclobber.guarded(ANY), pytest.raises(StaleWrite):
                await asyncio.create_task(inside())
            await other
            return str(await own.get("acct:1"))

    assert asyncio.run(main()) == "7"


def test_whoever_guards_nothing_loads_nothing(tmp_path: Path) -> None:
    """`import noclobber` and instrumentation stay as cheap as they were."""
    import subprocess

    code = "import noclobber, sys; noclobber.instrument(); sys.exit('noclobber.guarding' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=TIMEOUT_S, cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "NOCLOBBER_FILE_ONLY": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
