"""The secret in messages: in bodies, headers and arguments, by every broker's client."""

import asyncio
import os

from plants import SECRET, TIMEOUT_S, plants


@plants("nats")
def with_nats() -> None:
    import nats

    async def act() -> None:
        connection = await nats.connect(os.environ["NATS"])
        stream = connection.jetstream()
        await stream.add_stream(name="notes", subjects=["notes"])
        await stream.publish("notes", SECRET.encode(), headers={"note": SECRET})
        subscription = await stream.pull_subscribe("notes", "worker")
        for message in await subscription.fetch(1):
            await message.ack()
        bucket = await stream.create_key_value(bucket="notes")
        await bucket.put("note", SECRET.encode())
        await bucket.get("note")
        await connection.close()

    asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))


@plants("pika")
def with_pika() -> None:
    import pika

    with pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ"])) as connection:
        channel = connection.channel()
        channel.queue_declare("notes")
        channel.basic_publish("", "notes", SECRET.encode(), pika.BasicProperties(headers={"note": SECRET}))
        method, _, _ = channel.basic_get("notes")
        channel.basic_ack(method.delivery_tag)


@plants("aio_pika")
def with_aio_pika() -> None:
    import aio_pika

    async def act() -> None:
        async with await aio_pika.connect(os.environ["RABBITMQ"]) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("other-notes")
            message = aio_pika.Message(SECRET.encode(), headers={"note": SECRET})
            await channel.default_exchange.publish(message, "other-notes")
            await (await queue.get()).ack()

    asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))


@plants("aiokafka")
def with_aiokafka() -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    async def act() -> None:
        at = os.environ["KAFKA"]
        async with AIOKafkaProducer(bootstrap_servers=at) as producer:
            await producer.send_and_wait("notes", SECRET.encode(), partition=0, headers=[("note", SECRET.encode())])
        consumer = AIOKafkaConsumer(bootstrap_servers=at, group_id="workers", auto_offset_reset="earliest")
        consumer.assign([TopicPartition("notes", 0)])
        async with consumer:
            await consumer.getone()

    asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))


@plants("confluent_kafka")
def with_confluent() -> None:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    producer.produce("notes", SECRET.encode(), headers={"note": SECRET})
    assert producer.flush(TIMEOUT_S) == 0


@plants("celery")
def with_celery() -> None:
    from celery import Celery
    from celery.contrib.testing.worker import start_worker

    app = Celery("jobs", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
    app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)

    @app.task(name="jobs.note")
    def note(text: str, **_: object) -> str:
        return text

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
        assert note.delay(SECRET, more=SECRET).get(timeout=TIMEOUT_S) == SECRET


@plants("faststream")
def with_faststream() -> None:
    from faststream import FastStream
    from faststream.redis import RedisBroker, StreamSub

    broker = RedisBroker(os.environ["REDIS"], logger=None)

    async def act() -> None:
        handled = asyncio.Event()

        @broker.subscriber(stream=StreamSub("faststream-notes", group="all", consumer="one"))
        async def note(text: str) -> None:
            handled.set()
            raise ValueError(text)

        app = FastStream(broker, logger=None)
        await app.start()
        await broker.publish(SECRET, stream="faststream-notes", headers={"note": SECRET})
        await handled.wait()
        await app.stop()

    asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))


@plants("google-cloud-pubsub")
def with_pubsub() -> None:
    from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

    subscription = os.environ["PUBSUB_SUBSCRIPTION"]
    publisher = PublisherClient()
    publisher.publish(os.environ["PUBSUB_TOPIC"], SECRET.encode(), note=SECRET).result(TIMEOUT_S)
    publisher.stop()
    publisher.transport.close()
    with SubscriberClient() as client:
        for each in client.pull(subscription=subscription, max_messages=1).received_messages:
            assert each.message.data == SECRET.encode()
            client.acknowledge(subscription=subscription, ack_ids=[each.ack_id])
