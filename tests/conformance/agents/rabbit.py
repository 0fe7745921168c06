"""Two workers of one RabbitMQ queue; nothing here knows of noclobber.

Arguments: the library (`pika` or `aio_pika`), how (`plain` or `safe`), the broker's URL, the store's URL. The first
worker counts an order and goes away before it acknowledges, so the second one gets the order again; the safe ones ask,
before they count, whether it was counted.
"""

import asyncio
import sys

import redis

KIND, HOW, BROKER, STORE = sys.argv[1:]
TIMEOUT_S = 20
QUEUE = "orders"


def count(store: redis.Redis, order: str, amount: int) -> None:
    """What a worker does."""
    if HOW == "plain" or store.set(f"counted:{order}", "this order was counted", nx=True):
        store.incrby("sum", amount)


def with_pika(store: redis.Redis) -> None:
    """A blocking connection each; the second worker consumes with a callback."""
    import pika

    def handle(channel, method, properties, body) -> None:
        count(store, properties.message_id, int(body))
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    with pika.BlockingConnection(pika.URLParameters(BROKER)) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE)
        channel.confirm_delivery()
        channel.basic_publish("", QUEUE, b"50", pika.BasicProperties(message_id="order-7"))
        with pika.BlockingConnection(pika.URLParameters(BROKER)) as first:
            _, properties, body = first.channel().basic_get(QUEUE)
            count(store, properties.message_id, int(body))
        connection.call_later(TIMEOUT_S, channel.stop_consuming)
        channel.basic_consume(QUEUE, handle)
        channel.start_consuming()


async def with_aio_pika(store: redis.Redis) -> None:
    """A connection each; the second worker iterates over the queue."""
    import aio_pika

    connection, first = await aio_pika.connect(BROKER), await aio_pika.connect(BROKER)
    async with connection, asyncio.timeout(TIMEOUT_S):
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE)
        await channel.default_exchange.publish(aio_pika.Message(b"50", message_id="order-8"), QUEUE)
        got = asyncio.Event()

        async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            count(store, message.message_id, int(message.body))
            got.set()

        await (await (await first.channel()).declare_queue(QUEUE)).consume(handle)
        await got.wait()
        await first.close()
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    count(store, message.message_id, int(message.body))
                break
        await queue.delete()


with redis.Redis.from_url(STORE) as shared:
    shared.flushall()
    if KIND == "pika":
        with_pika(shared)
    else:
        asyncio.run(with_aio_pika(shared))
    print(int(shared.get("sum")))
