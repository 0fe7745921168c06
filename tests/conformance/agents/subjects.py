"""Two agents that share NATS; nothing here knows of noclobber.

Arguments: what they share (`kv`: a balance in a bucket; `stream`: a durable consumer), how (`plain` or `safe`), the
server's URL.
"""

import asyncio
import sys

import nats
import nats.js.errors
from nats.js.api import ConsumerConfig

KIND, HOW, URL = sys.argv[1:]
TIMEOUT_S = 20


async def add(bucket: nats.js.kv.KeyValue, amount: int, met: list, turn: int) -> None:
    """One agent that adds to a balance; the safe one insists on the revision that it read."""
    while True:
        entry = await bucket.get("balance")
        met[turn].set()
        await met[1 - turn].wait()
        value = str(int(entry.value) + amount).encode()
        try:
            if HOW == "safe":
                await bucket.update("balance", value, entry.revision)
            else:
                await bucket.put("balance", value)
            return
        except nats.js.errors.KeyWrongLastSequenceError:
            continue


async def on_kv(context: nats.js.JetStreamContext) -> None:
    """Both agents at once."""
    bucket = await context.create_key_value(bucket=f"accounts-{HOW}")
    await bucket.put("balance", b"10000100")
    met = [asyncio.Event(), asyncio.Event()]
    await asyncio.gather(*(add(bucket, amount, met, turn) for turn, amount in enumerate((50, -20))))
    print((await bucket.get("balance")).value.decode())


async def on_stream(context: nats.js.JetStreamContext) -> None:
    """Two workers; the first one takes longer than the lease of its order."""
    await context.add_stream(name=f"orders-{HOW}", subjects=[f"orders.{HOW}"])
    sums = await context.create_key_value(bucket=f"sums-{HOW}")
    await context.publish(f"orders.{HOW}", b"50")
    workers = await context.pull_subscribe(f"orders.{HOW}", "workers", config=ConsumerConfig(ack_wait=0.2))
    await sums.put("sum", b"10000000")
    counted = asyncio.Event()

    async def work(*, slowly: bool) -> None:
        (order,) = await workers.fetch(1, timeout=10)
        if slowly:
            await counted.wait()
        number = order.metadata.sequence.stream
        try:
            if HOW == "safe":
                await sums.create(f"counted.{number}", b"this order was counted")
        except nats.js.errors.KeyWrongLastSequenceError:
            pass
        else:
            before = int((await sums.get("sum")).value)
            await sums.put("sum", str(before + int(order.data)).encode())
        counted.set()
        await order.ack()

    first = asyncio.create_task(work(slowly=True))
    await asyncio.sleep(0)
    await asyncio.gather(first, work(slowly=False))
    print((await sums.get("sum")).value.decode())


async def main() -> None:
    """One connection for all."""
    connection = await nats.connect(URL)
    async with asyncio.timeout(TIMEOUT_S):
        await (on_kv if KIND == "kv" else on_stream)(connection.jetstream())
    await connection.close()


asyncio.run(main())
