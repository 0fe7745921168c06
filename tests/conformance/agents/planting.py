"""One program that hands a secret to many libraries, as values, conditions, literals, bodies, headers and in errors.

Arguments: names of integrations. The secret and the servers' addresses stand in the environment. Nothing here knows of
noclobber.
"""

import asyncio
import contextlib
import os
import sys
from datetime import timedelta

import planting_messages
import planting_sql
from plants import FOLDER, PLANTS, SECRET, TIMEOUT_S, plants

__all__ = ["planting_messages", "planting_sql"]


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
