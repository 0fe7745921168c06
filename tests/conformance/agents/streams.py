"""Two workers of one Redis stream's group; nothing here knows of noclobber.

Arguments: `sync` or `asyncio`, how (`plain` or `safe`), and the server's URL. The second worker takes over what the
first one is still working on; the safe ones ask, before they count an order, whether it was counted.
"""

import asyncio
import sys
import threading

import redis
import redis.asyncio

KIND, HOW, URL = sys.argv[1:]
TIMEOUT_S = 20
STREAM, GROUP = "orders", "workers"


def work_sync(client: redis.Redis, turn: int, received: threading.Event, taken: threading.Barrier) -> None:
    """One worker, in a thread."""
    if turn:
        assert received.wait(TIMEOUT_S)
        got = client.xautoclaim(STREAM, GROUP, "second", 0)[1]
    else:
        got = client.xreadgroup(GROUP, "first", {STREAM: ">"})[0][1]
        received.set()
    taken.wait(TIMEOUT_S)
    for number, order in got:
        if HOW == "plain" or client.set(f"counted:{number.decode()}", "this order was counted", nx=True):
            client.incrby("sum", int(order[b"amount"]))
        client.xack(STREAM, GROUP, number)


async def work_async(
    client: redis.asyncio.Redis, turn: int, received: asyncio.Event, taken: list[asyncio.Event]
) -> None:
    """One worker, in a task."""
    if turn:
        await received.wait()
        got = (await client.xautoclaim(STREAM, GROUP, "second", 0))[1]
    else:
        got = (await client.xreadgroup(GROUP, "first", {STREAM: ">"}))[0][1]
        received.set()
    taken[turn].set()
    await taken[1 - turn].wait()
    for number, order in got:
        if HOW == "plain" or await client.set(f"counted:{number.decode()}", "this order was counted", nx=True):
            await client.incrby("sum", int(order[b"amount"]))
        await client.xack(STREAM, GROUP, number)


async def all_async() -> None:
    """Both, in one loop."""
    async with redis.asyncio.Redis.from_url(URL) as client:
        received, taken = asyncio.Event(), [asyncio.Event(), asyncio.Event()]
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(work_async(client, turn, received, taken) for turn in (0, 1)))


with redis.Redis.from_url(URL) as stage:
    stage.flushall()
    stage.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    stage.xadd(STREAM, {"amount": 50})
    if KIND == "sync":
        event, barrier = threading.Event(), threading.Barrier(2)
        workers = [threading.Thread(target=work_sync, args=(stage, turn, event, barrier)) for turn in (0, 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(TIMEOUT_S)
    else:
        asyncio.run(all_async())
    print(int(stage.get("sum")))
