"""Workers that share queues and do everything right: many messages, and nothing at or above `likely`."""

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import aio_pika
import aiokafka
import nats
import pytest
import redis
import redis.asyncio
from broker_stage import kafka, rabbitmq
from broker_stage import nats as nats_server
from driver_stage import judged

from noclobber.contract import Certainty
from noclobber.testing import Captured, capture
from noclobber_sidecar.demo.servers import redis_compatible

pytestmark = pytest.mark.long
MESSAGES = 60
TIMEOUT_S = 60


def strong(captured: Captured, folder: Path) -> list[str]:
    found = judged(captured, folder).findings
    return [f"{each.kind} {each.resource}" for each in found if each.certainty is not Certainty.POSSIBLE]


async def apply(store: redis.asyncio.Redis, message: str) -> None:
    """What a worker does for a message: sums in place, and last of all a note that nobody reads."""
    await store.incr("sum")
    await store.set("last", f"the message {message}, handled")


@pytest.mark.parametrize("seed", range(3))
def test_streams(seed: int, tmp_path: Path) -> None:
    """Some entries are left pending, and taken over once their worker is gone."""
    with redis_compatible(tmp_path) as url, redis.Redis.from_url(url) as store:
        store.xgroup_create("tasks", "workers", id="0", mkstream=True)

        def work(number: int) -> None:
            dice, client = random.Random(seed * 10 + number), redis.Redis.from_url(url)
            while got := client.xreadgroup(
                "workers", f"c{number}", {"tasks": ">"}, count=dice.choice([1, 1, 3]), block=300
            ):
                for entry, _ in got[0][1] if isinstance(got, list) else next(iter(got.values())):
                    if dice.random() > 0.1:
                        client.incr("sum")
                        client.set("last", entry)
                        client.xack("tasks", "workers", entry)
            client.close()

        with capture(fixed=False) as captured:
            workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for worker in workers:
                worker.start()
            for number in range(MESSAGES):
                store.xadd("tasks", {"number": number})
            for worker in workers:
                worker.join(TIMEOUT_S)
            for entry, _ in store.xautoclaim("tasks", "workers", "heir", 0, count=MESSAGES)[1]:
                store.incr("sum")
                store.xack("tasks", "workers", entry)
            total = int(store.get("sum") or 0)
    assert (total, strong(captured, tmp_path)) == (MESSAGES, [])


async def on_rabbitmq(url: str, store: redis.asyncio.Redis) -> None:
    """Two consumers with callbacks; some messages have no name, and some are given back first."""
    dice, done, handled = random.Random(1), asyncio.Event(), 0

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        nonlocal handled
        if not message.redelivered and dice.random() < 0.2:
            await message.nack()
            return
        async with message.process():
            await apply(store, str(message.message_id))
            await asyncio.gather(store.incr("left"), store.incr("right"))
        handled += 1
        if handled == MESSAGES:
            done.set()

    async with await aio_pika.connect(url) as connection:
        for _ in range(2):
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=4)
            await (await channel.declare_queue("tasks")).consume(handle)
        for number in range(MESSAGES):
            message = aio_pika.Message(b"tick", message_id=f"m{number}" if number % 2 else None)
            await channel.default_exchange.publish(message, "tasks")
        await done.wait()


async def on_nats(url: str, store: redis.asyncio.Redis) -> None:
    """Three workers that fetch batches from one durable consumer."""
    connection = await nats.connect(url)
    context, handled = connection.jetstream(), 0
    await context.add_stream(name="tasks", subjects=["tasks"])
    workers = await context.pull_subscribe("tasks", "workers")

    async def work() -> None:
        nonlocal handled
        while handled < MESSAGES:
            try:
                messages = await workers.fetch(3, timeout=0.5)
            except TimeoutError:
                continue
            for message in messages:
                await apply(store, str(message.metadata.sequence.stream))
                await message.ack()
                handled += 1

    for _ in range(MESSAGES):
        await context.publish("tasks", b"tick")
    await asyncio.gather(work(), work(), work())
    await connection.close()


async def on_kafka(url: str, store: redis.asyncio.Redis) -> None:
    """Two consumers with a partition each, which commit now and then."""

    async def work(consumer: aiokafka.AIOKafkaConsumer) -> None:
        for _ in range(MESSAGES // 2):
            record = await consumer.getone()
            await apply(store, f"{record.partition}/{record.offset}")
            if record.offset % 3 == 0:
                await consumer.commit()

    async with aiokafka.AIOKafkaProducer(bootstrap_servers=url) as producer:
        consumers = []
        for partition in range(2):
            await producer.send_and_wait("tasks", b"tick", None, partition)
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=url, group_id="workers", enable_auto_commit=False, auto_offset_reset="earliest"
            )
            consumer.assign([aiokafka.TopicPartition("tasks", partition)])
            await consumer.start()
            consumers.append(consumer)
        working = asyncio.gather(*map(work, consumers))
        for number in range(MESSAGES - 2):
            await producer.send("tasks", b"tick", partition=number % 2)
        await working
        for consumer in consumers:
            await consumer.stop()


@pytest.mark.parametrize(
    ("server", "story"),
    [(rabbitmq, on_rabbitmq), (nats_server, on_nats), (kafka, on_kafka)],
    ids=["rabbitmq", "nats", "kafka"],
)
def test_brokers(
    server: Callable[[Path], AbstractContextManager[str]],
    story: Callable[[str, redis.asyncio.Redis], Awaitable[None]],
    tmp_path: Path,
) -> None:
    """Callbacks, batches and positions, with work in another store."""
    for name in ("store", "broker"):
        (tmp_path / name).mkdir()

    async def play(place: str, broker: str) -> int:
        async with redis.asyncio.Redis.from_url(place) as store, asyncio.timeout(TIMEOUT_S):
            await story(broker, store)
            return int(await store.get("sum"))

    with (
        redis_compatible(tmp_path / "store") as place,
        server(tmp_path / "broker") as broker,
        capture(fixed=False) as told,
    ):
        total = asyncio.run(play(place, broker))
    assert (total, strong(told, tmp_path)) == (MESSAGES, [])
