"""Two workers of one Kafka consumer group, which divide partitions among themselves; nothing here knows of noclobber.

Arguments: the library (`aiokafka` or `confluent_kafka`), how (`plain` or `safe`), the store's URL, the broker's address
(confluent's client brings a broker of its own). The first worker counts an order and goes away before it commits, so
the second one gets the order again; the safe ones ask, before they count, whether it was counted.
"""

import asyncio
import sys
import time

import redis

KIND, HOW, STORE, *BROKER = sys.argv[1:]
TIMEOUT_S = 40
TOPIC, GROUP = f"orders-{HOW}", "workers"


def count(store: redis.Redis, order: str, amount: int) -> None:
    """What a worker does."""
    if HOW == "plain" or store.set(f"counted:{order}", "this order was counted", nx=True):
        store.incrby("sum", amount)


async def with_aiokafka(store: redis.Redis) -> None:
    """One consumer after the other."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    async with asyncio.timeout(TIMEOUT_S):
        async with AIOKafkaProducer(bootstrap_servers=BROKER) as producer:
            await producer.send_and_wait(TOPIC, b"50", b"order-7", 0)
        for commits in (False, True):
            consumer = AIOKafkaConsumer(
                bootstrap_servers=BROKER, group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest"
            )
            consumer.assign([TopicPartition(TOPIC, 0)])
            async with consumer:
                order = await consumer.getone()
                count(store, order.key.decode(), int(order.value))
                if commits:
                    await consumer.commit()


def with_confluent(store: redis.Redis) -> None:
    """One consumer after the other; the broker is the client's own mock."""
    import confluent_kafka

    told: list[object] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    producer.produce(TOPIC, b"50", b"order-8", 0, lambda error, message: told.append(error or message.offset()))
    assert producer.flush(TIMEOUT_S) == 0
    assert told == [0]
    (broker,) = producer.list_topics(timeout=TIMEOUT_S).brokers.values()
    deadline = time.monotonic() + TIMEOUT_S
    for commits in (False, True):
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": f"{broker.host}:{broker.port}", "group.id": GROUP, "enable.auto.commit": False,
             "auto.offset.reset": "earliest", "log_level": 0}
        )  # fmt: skip
        consumer.assign([confluent_kafka.TopicPartition(TOPIC, 0)])
        order = None
        while order is None or order.error():
            assert time.monotonic() < deadline
            order = consumer.poll(1)
        count(store, order.key().decode(), int(order.value()))
        if commits:
            consumer.commit(order, asynchronous=False)
        consumer.close()


with redis.Redis.from_url(STORE) as shared:
    shared.flushall()
    if KIND == "aiokafka":
        asyncio.run(with_aiokafka(shared))
    else:
        with_confluent(shared)
    print(int(shared.get("sum")))
