"""One program that hands a secret to many libraries, as values, conditions, literals, bodies, headers and in errors.

Arguments: names of integrations. The secret and the servers' addresses stand in the environment. Nothing here knows of
noclobber.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

SECRET = os.environ["PLANTED"]
TIMEOUT_S = 30
FOLDER = Path(os.environ["FOLDER"])
PLANTS: dict[str, Callable[[], object]] = {}


def plants(name: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Note which integration a function is for."""

    def note(function: Callable[[], object]) -> Callable[[], object]:
        PLANTS[name] = function
        return function

    return note


def statements(mark: str) -> list[tuple[str, tuple[object, ...]]]:
    """A secret in parameters, in literals, in conditions, in what fails."""
    return [
        ("DROP TABLE IF EXISTS notes", ()),
        ("CREATE TABLE notes (id integer PRIMARY KEY, owner varchar(80), text varchar(80) UNIQUE)", ()),
        (f"INSERT INTO notes (id, owner, text) VALUES (1, {mark.format(1)}, 'x')", (SECRET,)),
        (f"INSERT INTO notes (id, owner, text) VALUES (2, '{SECRET}', '{SECRET}')", ()),
        ("SELECT id, owner, text FROM notes WHERE id = 1", ()),
        (f"SELECT id, owner, text FROM notes WHERE owner = {mark.format(1)}", (SECRET,)),
        (f"SELECT id FROM notes WHERE owner > '{SECRET}' ORDER BY id", ()),
        (
            f"UPDATE notes SET owner = {mark.format(1)} WHERE id = 1 AND owner = {mark.format(2)}",
            (SECRET + "!", SECRET),
        ),
        (f"UPDATE notes SET owner = owner || '{SECRET}' WHERE id = 1", ()),
        (f"DELETE FROM notes WHERE owner = '{SECRET}' AND id = 7", ()),
        (f"INSERT INTO notes (id, owner, text) VALUES (3, 'y', {mark.format(1)})", (SECRET,)),
        (f"SELECT '{SECRET}' FROM nothing_here", ()),
    ]


def run_all(execute: Callable[..., object], mark: str) -> None:
    """The same, by a driver; the last ones fail."""
    for text, parameters in statements(mark):
        with contextlib.suppress(Exception):
            execute(text, parameters)


@plants("sqlite3")
def with_sqlite3() -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(FOLDER / "a.db", isolation_level=None)) as connection:
        run_all(lambda text, parameters: connection.execute(text, parameters).fetchall(), "?")


@plants("aiosqlite")
def with_aiosqlite() -> None:
    import aiosqlite

    async def act() -> None:
        async with aiosqlite.connect(FOLDER / "b.db") as connection:
            for text, parameters in statements("?"):
                with contextlib.suppress(Exception):
                    await connection.execute_fetchall(text, parameters)

    asyncio.run(act())


@plants("sqlalchemy")
def with_sqlalchemy() -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{FOLDER / 'c.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        run_all(lambda text, parameters: connection.exec_driver_sql(text, parameters or None), "?")
    engine.dispose()


@plants("django")
def with_django() -> None:
    import django
    from django.conf import settings
    from django.db import connection, models

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "d.db")}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[])
    django.setup()

    class Note(models.Model):
        owner = models.CharField(max_length=80)

        class Meta:
            app_label = "planting"

        def __str__(self) -> str:
            return self.owner

    with connection.schema_editor() as editor:
        editor.create_model(Note)
    note = Note.objects.create(owner=SECRET)
    note.save()
    assert Note.objects.get(owner=SECRET).owner == SECRET
    connection.close()


@plants("psycopg")
def with_psycopg() -> None:
    import psycopg

    with psycopg.connect(os.environ["POSTGRES"], autocommit=True) as connection:
        run_all(lambda text, parameters: connection.execute(text, parameters or None), "%s")
        with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT '{SECRET}', id FROM notes) TO STDOUT") as copy:
            list(copy)
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (SECRET,))


@plants("asyncpg")
def with_asyncpg() -> None:
    import asyncpg

    async def act() -> None:
        connection = await asyncpg.connect(os.environ["POSTGRES"])
        for text, parameters in statements("${}"):
            with contextlib.suppress(Exception):
                await connection.fetch(text, *parameters)
        await connection.fetchmany("SELECT id, owner FROM notes WHERE owner = $1", [(SECRET,)])
        await connection.close()

    asyncio.run(act())


@plants("pymysql")
def with_pymysql() -> None:
    import pymysql

    with contextlib.closing(pymysql.connect(**mysql(), database="bank", autocommit=True)) as connection:
        run_all(lambda text, parameters: connection.cursor().execute(text, parameters or None), "%s")


@plants("aiomysql")
def with_aiomysql() -> None:
    import aiomysql

    through_mysql(aiomysql)


@plants("asyncmy")
def with_asyncmy() -> None:
    import asyncmy

    through_mysql(asyncmy)


def through_mysql(driver: object) -> None:
    """The same by an asynchronous driver."""

    async def act() -> None:
        connection = await driver.connect(**mysql(), db="bank", autocommit=True)
        async with connection.cursor() as cursor:
            for text, parameters in statements("%s"):
                with contextlib.suppress(Exception):
                    await cursor.execute(text, parameters or None)
        await connection.ensure_closed()

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MySQL's own, about a table that is not there
        asyncio.run(act())


def mysql() -> dict[str, object]:
    """Where the server is."""
    return {"host": "127.0.0.1", "port": int(os.environ["MARIADB"]), "user": "agents"}


@plants("redis")
def with_redis() -> None:
    import redis

    client = redis.Redis.from_url(os.environ["REDIS"])
    client.set("note", SECRET)
    client.get("note")
    client.hset("notes", mapping={"owner": SECRET})
    client.hgetall("notes")
    client.rpush("list", SECRET)
    client.publish("channel", SECRET)
    client.xadd("stream", {"note": SECRET})
    client.xread({"stream": "0"})
    client.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "note", SECRET)
    with contextlib.suppress(redis.ResponseError):
        client.incrby("note", 1)
    with client.pipeline() as pipe:
        pipe.watch("note")
        pipe.multi()
        pipe.set("note", SECRET)
        pipe.execute()
    with client.lock("lock"):
        client.set("note", SECRET)
    client.close()


@plants("pymemcache")
def with_pymemcache() -> None:
    from pymemcache.client.base import Client

    with contextlib.closing(Client(("127.0.0.1", int(os.environ["MEMCACHED"])))) as client:
        client.set("note", SECRET, noreply=False)
        client.gets("note")
        client.add("note", SECRET, noreply=False)


@plants("diskcache")
def with_diskcache() -> None:
    from diskcache import Cache

    with Cache(str(FOLDER / "cache")) as cache:
        cache.set("note", {"text": SECRET})
        cache.get("note")


@plants("requests-cache")
def with_requests_cache() -> None:
    import requests
    import requests_cache

    response = requests.Response()
    response.status_code, response._content, response.url = 200, SECRET.encode(), f"http://127.0.0.1/{SECRET}"
    response.request = requests.Request("GET", response.url).prepare()
    response.raw = requests_cache.CachedHTTPResponse(body=SECRET.encode())
    with requests_cache.CachedSession(str(FOLDER / "pages"), backend="filesystem") as session:
        session.cache.save_response(response)
        assert session.cache.contains(url=response.url)
        session.cache.get_response(session.cache.create_key(response.request))


@plants("multiprocessing")
def with_managers() -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Manager() as manager:
        notes = manager.dict()
        notes["note"] = SECRET
        assert notes["note"] == SECRET


@plants("files")
def with_files() -> None:
    path = FOLDER / "watched.txt"
    path.write_text(SECRET)
    assert path.read_text() == SECRET


@plants("fsspec-memory")
def with_fsspec() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    system = MemoryFileSystem()
    system.pipe("/note", SECRET.encode())
    assert system.cat("/note") == SECRET.encode()
    with system.open("/note", "w") as file:
        file.write(SECRET)


@plants("botocore")
def with_botocore() -> None:
    s3, dynamodb, sqs = (aws().client(name, endpoint_url=os.environ["AWS"]) for name in ("s3", "dynamodb", "sqs"))
    s3.create_bucket(Bucket="notes", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="notes", Key="note", Body=SECRET.encode(), Metadata={"note": "x"})
    s3.get_object(Bucket="notes", Key="note")["Body"].read()
    make_table(dynamodb, "notes", ("id", "HASH"))
    dynamodb.put_item(TableName="notes", Item={"id": {"S": "1"}, "text": {"S": SECRET}})
    dynamodb.get_item(TableName="notes", Key={"id": {"S": "1"}})
    dynamodb.update_item(
        TableName="notes", Key={"id": {"S": "1"}}, UpdateExpression="SET #t = :t", ConditionExpression="#t = :t",
        ExpressionAttributeNames={"#t": "text"}, ExpressionAttributeValues={":t": {"S": SECRET}},
    )  # fmt: skip
    queue = sqs.create_queue(QueueName="notes")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=SECRET)
    sqs.receive_message(QueueUrl=queue, AttributeNames=["ApproximateReceiveCount"])


@plants("python-dynamodb-lock")
def with_dynamodb_locks() -> None:
    from python_dynamodb_lock.python_dynamodb_lock import DynamoDBLockClient

    resource = aws().resource("dynamodb", endpoint_url=os.environ["AWS"])
    make_table(resource.meta.client, "locks", ("lock_key", "HASH"), ("sort_key", "RANGE"))
    locks = DynamoDBLockClient(resource, "locks", owner_name=SECRET, heartbeat_period=timedelta(seconds=0.1))
    locks.acquire_lock("note", additional_attributes={"note": SECRET}).release()
    locks.close()


def aws() -> object:
    """A session whose credentials are secret, too."""
    import boto3

    return boto3.Session("id", SECRET, region_name="eu-west-1")


def make_table(client: object, name: str, *keys: tuple[str, str]) -> object:
    """A table of DynamoDB's; of an asynchronous client what is to be awaited."""
    return client.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": each, "KeyType": kind} for each, kind in keys],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each, _ in keys],
    )  # fmt: skip


@plants("langgraph")
def with_langgraph() -> None:
    from typing import TypedDict

    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.store.memory import InMemoryStore

    class Notes(TypedDict):
        text: str

    store = InMemoryStore()

    def work(state: Notes) -> Notes:
        store.put(("notes",), "note", {"text": state["text"]})
        return {"text": store.get(("notes",), "note").value["text"]}

    graph = StateGraph(Notes).add_node("work", work).add_edge(START, "work")
    compiled = graph.compile(checkpointer=InMemorySaver(), store=store)
    compiled.invoke({"text": SECRET}, {"configurable": {"thread_id": "1"}})


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


@plants("httpx")
def with_http() -> None:
    """All of HTTP's clients and servers: each other's body, query and headers."""
    import aiohttp
    import httpx
    import requests
    from aiohttp import web
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=SECRET + await request.text(), headers={"note": "x"})

    async def ask() -> None:
        application = web.Application()
        application.router.add_post("/note", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/note?note={SECRET}"
        async with aiohttp.ClientSession() as session:
            await (await session.post(url, data=SECRET, headers={"authorization": SECRET})).text()
        async with httpx.AsyncClient() as client:
            await client.post(url, content=SECRET, headers={"authorization": SECRET})
        await asyncio.to_thread(requests.post, url, data=SECRET, headers={"authorization": SECRET}, timeout=TIMEOUT_S)
        await runner.cleanup()
        inside = Starlette(routes=[Route("/note", lambda _: PlainTextResponse(SECRET))])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(inside), base_url="http://here") as client:
            await client.get("/note", headers={"authorization": SECRET})

    asyncio.run(asyncio.wait_for(ask(), TIMEOUT_S))


for also in ("requests", "aiohttp", "aiohttp-web", "starlette"):
    PLANTS[also] = PLANTS["httpx"]


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


@plants("kazoo")
def with_kazoo() -> None:
    from kazoo.client import KazooClient

    client = KazooClient(os.environ["ZOOKEEPER"])
    client.start(TIMEOUT_S)
    client.create("/note", SECRET.encode())
    client.get("/note")
    client.set("/note", SECRET.encode())
    client.stop()
    client.close()


@plants("etcd3gw")
def with_etcd() -> None:
    from etcd3gw.client import Etcd3Client

    client = Etcd3Client("127.0.0.1", int(os.environ["ETCD"]))
    client.put("note", SECRET)
    client.get("note")
    client.replace("note", SECRET, SECRET + "!")


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


@plants("pymongo")
def with_pymongo() -> None:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    with MongoClient(os.environ["MONGODB"]) as client:
        notes = client.planted.notes
        notes.insert_one({"_id": "note", "text": SECRET, "inside": {"text": [SECRET]}})
        notes.find_one({"_id": "note", "text": SECRET})
        list(notes.find({"text": {"$regex": SECRET}}))
        notes.update_one({"_id": "note", "text": SECRET}, {"$set": {"text": SECRET + "!"}})
        notes.update_many({"text": SECRET}, {"$push": {"inside.text": SECRET}})
        notes.find_one_and_update({"_id": "note"}, {"$set": {"text": SECRET}})
        with contextlib.suppress(PyMongoError):
            notes.insert_one({"_id": "note", "text": SECRET})
        with contextlib.suppress(PyMongoError):
            notes.update_one({"_id": "note"}, {f"${SECRET}": 1})


@plants("aiobotocore")
def with_aiobotocore() -> None:
    from aiobotocore.session import get_session

    def made(service: str) -> object:
        return get_session().create_client(
            service, endpoint_url=os.environ["AWS"], region_name="eu-west-1", aws_access_key_id="id",
            aws_secret_access_key=SECRET,
        )  # fmt: skip

    async def act() -> None:
        async with made("s3") as s3, made("dynamodb") as dynamodb, made("sqs") as sqs:
            await s3.create_bucket(Bucket="notes", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
            await s3.put_object(Bucket="notes", Key="note", Body=SECRET.encode(), Metadata={"note": "x"})
            await (await s3.get_object(Bucket="notes", Key="note"))["Body"].read()
            await make_table(dynamodb, "notes", ("id", "HASH"))
            await dynamodb.put_item(TableName="notes", Item={"id": {"S": "1"}, "text": {"S": SECRET}})
            await dynamodb.get_item(TableName="notes", Key={"id": {"S": "1"}})
            queue = (await sqs.create_queue(QueueName="notes"))["QueueUrl"]
            await sqs.send_message(QueueUrl=queue, MessageBody=SECRET)
            await sqs.receive_message(QueueUrl=queue, AttributeNames=["ApproximateReceiveCount"])

    asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        PLANTS[name]()
        print(name)
