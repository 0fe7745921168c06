"""Redis pub/sub through redis-py: a receipt comes after its send, and accuses nobody."""

import asyncio
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from driver_stage import findings

from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import capture


def messages(client: redis.Redis, pubsub: Any, *sent: str) -> None:
    """Publish, and wait until all have come."""
    for each in sent:
        client.publish("news", each)
    left = len(sent)
    while left:
        got = pubsub.get_message(timeout=5)
        assert got is not None
        left -= got["type"] in ("message", "pmessage")


def test_send_and_receive(client: redis.Redis) -> None:
    """Both sides name a message alike, by a print; a channel belongs to the server."""
    port = client.connection_pool.connection_kwargs["port"]
    with client.pubsub() as pubsub, capture() as captured:
        pubsub.subscribe("news")
        pubsub.psubscribe("ne*")
        messages(client, pubsub, "planted-news")
        assert pubsub.get_message(timeout=5) is not None  # by the other subscription
        accesses = captured.accesses
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert [each["noclobber.op"] for each in accesses] == ["send", "receive", "receive"]
    assert len({each["noclobber.message.id"] for each in accesses}) == 1
    assert len({each.get("noclobber.message.group") for each in accesses}) == 3
    assert {each["noclobber.resource"] for each in accesses} == {f"redis://{host_name()}:{port}/channel/news"}
    assert all(each["noclobber.partial"] for each in accesses)
    assert "planted" not in sent


def test_handlers_and_async(client: redis.Redis, valkey: str) -> None:
    """A handler runs after the receipt, and sees what it always saw."""
    seen: list[Any] = []

    async def listen() -> None:
        async with redis.asyncio.Redis.from_url(valkey) as other, other.pubsub() as pubsub:

            def handle(message: dict[str, Any]) -> None:
                seen.append(message["data"])
                client.set("headline", "of what came in just now")

            await pubsub.subscribe(news=handle)
            await asyncio.to_thread(client.publish, "news", "good news")
            while not seen:
                await pubsub.get_message(timeout=1)

    with capture() as captured:
        asyncio.run(asyncio.wait_for(listen(), 20))
        ops = [each["noclobber.op"] for each in captured.accesses]
    assert seen == [b"good news"]
    assert ops.index("send") < ops.index("receive") < ops.index("write")


def test_equal_messages_accuse_nobody(client: redis.Redis, tmp_path: Path) -> None:
    """Equal contents that come twice are no duplicate, whoever published them."""
    with client.pubsub() as pubsub:
        pubsub.subscribe("news")
        for _ in range(2):
            client.publish("news", "the same again")
        with capture(fixed=False) as captured:
            got = 0
            while got < 2:
                message = pubsub.get_message(timeout=5)
                assert message is not None
                if message["type"] == "message":
                    got += 1
                    client.incr("heard")
    assert findings(captured, tmp_path) == []
