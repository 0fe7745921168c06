"""Two FastStream workers share one queue, and a balance in SQLite; nothing here knows of noclobber.

Arguments: the broker (`redis`, `nats`, `kafka`, `rabbit`); how (`plain`, or `safe`: the write insists on what was
read); its address; the file. Each handles one order, and both have read before either writes.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import FastStream

BROKER, HOW, ADDRESS, FILE = sys.argv[1:]
TIMEOUT_S = 40
QUEUES = ("deposits", "withdrawals")
handled = {name: asyncio.Event() for name in QUEUES}
read = {name: asyncio.Event() for name in QUEUES}


def stage() -> tuple[Any, Callable[[str], Any]]:
    """A broker, and what subscribes to a queue of it."""
    if BROKER == "redis":
        from faststream.redis import RedisBroker, StreamSub

        redis = RedisBroker(ADDRESS, logger=None)
        return redis, lambda name: redis.subscriber(stream=StreamSub(name, group="all", consumer="one"))
    if BROKER == "nats":
        from faststream.nats import JStream, NatsBroker

        nats = NatsBroker(ADDRESS, logger=None)
        return nats, lambda name: nats.subscriber(name, stream=JStream(f"{name}s"))
    if BROKER == "kafka":
        from faststream.kafka import KafkaBroker

        kafka = KafkaBroker(ADDRESS, logger=None)
        return kafka, lambda name: kafka.subscriber(name, group_id=f"{name}-group", auto_offset_reset="earliest")
    from faststream.rabbit import RabbitBroker

    rabbit = RabbitBroker(ADDRESS, logger=None)
    return rabbit, rabbit.subscriber


def balance() -> int:
    """What the file says."""
    with sqlite3.connect(FILE) as database:
        ((found,),) = database.execute("SELECT balance FROM accounts WHERE id = 1").fetchall()
    database.close()
    return int(found)


def change(old: int, amount: int) -> bool:
    """Write what was decided; whether it was taken."""
    with sqlite3.connect(FILE, timeout=TIMEOUT_S) as database:
        if HOW == "safe":
            words = "UPDATE accounts SET balance = ? WHERE id = 1 AND balance = ?", (old + amount, old)
        else:
            words = "UPDATE accounts SET balance = ? WHERE id = 1", (old + amount,)
        changed = database.execute(*words).rowcount
    database.close()
    return changed == 1


async def work(name: str, amount: int) -> None:
    """Read, think, write; again where the write was refused."""
    while True:
        old = balance()
        read[name].set()
        for each in read.values():
            await each.wait()
        if change(old, amount):
            handled[name].set()
            return


broker, subscribed = stage()
app = FastStream(broker, logger=None)


@subscribed("deposits")
async def deposit(amount: int) -> None:
    """One agent."""
    await work("deposits", amount)


@subscribed("withdrawals")
async def withdraw(amount: int) -> None:
    """Another."""
    await work("withdrawals", -amount)


async def main() -> None:
    """Both orders, once each."""
    await app.start()
    async with asyncio.timeout(TIMEOUT_S):
        to = {"redis": "stream", "nats": "subject", "kafka": "topic", "rabbit": "queue"}[BROKER]
        send: Callable[..., Awaitable[Any]] = broker.publish
        for name, amount in zip(QUEUES, (50, 20), strict=True):
            words = {"message_id": f"the first order of {name}"} if BROKER == "rabbit" else {}
            await send(amount, **{to: name}, **words)
        for each in handled.values():
            await each.wait()
    await app.stop()


with sqlite3.connect(FILE) as database:
    database.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
    database.execute("INSERT INTO accounts VALUES (1, 1000000100)")
database.close()
asyncio.run(main())
print(balance())
