"""Two agents add to one balance in a Redis cluster; nothing here knows of noclobber.

Arguments: `sync` or `asyncio`; how (`plain`, `watch`, `script`, or `redlock`: under one lock over several servers);
the ports of two of the cluster's nodes; the ports of the lock's servers.
"""

import asyncio
import contextlib
import sys
import threading

import redis
import redis.asyncio
from pottery import AIORedlock, Redlock
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.cluster import RedisCluster
from redis.exceptions import WatchError

KIND, HOW, NODES, SERVERS = sys.argv[1], sys.argv[2], *(list(map(int, ports.split(","))) for ports in sys.argv[3:])
TIMEOUT_S = 20
KEY = "acct:1"
ADD = "return redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) + ARGV[1])"


class Turns:
    """The agents meet once, between their first read and their first write, if they can read beside each other."""

    def __init__(self) -> None:
        self.barrier, self.met = threading.Barrier(2), [False, False]

    def wait(self, turn: int) -> None:
        """Meet the other one, the first time."""
        if HOW in ("plain", "watch") and not self.met[turn]:
            self.met[turn] = True
            self.barrier.wait(TIMEOUT_S)


def plainly(client: RedisCluster, amount: int, turn: int, turns: Turns) -> None:
    """Read, think, write."""
    balance = int(client.get(KEY))
    turns.wait(turn)
    client.set(KEY, balance + amount)


def watching(client: RedisCluster, amount: int, turn: int, turns: Turns) -> None:
    """The same, and the write insists on what was read."""
    while True:
        with client.pipeline(transaction=True) as pipe, contextlib.suppress(WatchError):
            pipe.watch(KEY)
            balance = int(pipe.get(KEY))
            turns.wait(turn)
            pipe.multi()
            pipe.set(KEY, balance + amount)
            pipe.execute()
            return


def work_sync(amount: int, turn: int, turns: Turns) -> None:
    """One agent, in a thread, with a client of its own."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(RedisCluster(host="127.0.0.1", port=NODES[turn])))
        if HOW == "watch":
            watching(client, amount, turn, turns)
        elif HOW == "script":
            client.eval(ADD, 1, KEY, amount)
        else:
            if HOW == "redlock":
                masters = {stack.enter_context(redis.Redis(port=port)) for port in SERVERS}
                stack.enter_context(Redlock(key="ledger", masters=masters))
            plainly(client, amount, turn, turns)


async def work_async(amount: int, turn: int, read: list[asyncio.Event]) -> None:
    """One agent, in a task."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(AsyncCluster(host="127.0.0.1", port=NODES[turn]))
        if HOW == "script":
            await client.eval(ADD, 1, KEY, amount)
            return
        if HOW == "redlock":
            masters = [await stack.enter_async_context(redis.asyncio.Redis(port=port)) for port in SERVERS]
            await stack.enter_async_context(AIORedlock(key="ledger", masters=masters))
        balance = int(await client.get(KEY))
        if HOW == "plain":
            read[turn].set()
            await read[1 - turn].wait()
        await client.set(KEY, balance + amount)


async def all_async() -> None:
    """Both, in one loop."""
    read = [asyncio.Event(), asyncio.Event()]
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(work_async(amount, turn, read) for turn, amount in enumerate((50, -20))))


with contextlib.closing(RedisCluster(host="127.0.0.1", port=NODES[0])) as stage:
    stage.set(KEY, 1_000_000_100)
    if KIND == "sync":
        meeting = Turns()
        threads = [
            threading.Thread(target=work_sync, args=(amount, turn, meeting)) for turn, amount in enumerate((50, -20))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    else:
        asyncio.run(all_async())
    print(int(stage.get(KEY)))
