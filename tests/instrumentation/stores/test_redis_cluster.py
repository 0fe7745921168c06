"""redis-py's cluster clients on a real cluster: one name whatever the node, pipelines, WATCH, locks, scripts."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from cluster_stage import cluster
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.cluster import RedisCluster
from redis.exceptions import WatchError

from noclobber.resources import host_name
from noclobber.testing import Captured, capture

KEYS = [f"acct:{number}" for number in range(8)]
"""Keys of several nodes."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The nodes of a cluster."""
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def client(ports: list[int]) -> Iterator[RedisCluster]:
    """A client of an empty cluster."""
    with contextlib.closing(RedisCluster(host="127.0.0.1", port=ports[0])) as made:
        made.flushall(target_nodes=RedisCluster.PRIMARIES)
        yield made


def told(captured: Captured) -> list[tuple[Any, ...]]:
    """What was done to which key, and how it ended."""
    return [
        (access["noclobber.op"], access["noclobber.resource"].rpartition("/")[2], access["noclobber.outcome"])
        for access in captured.accesses
    ]


def test_a_key_has_one_name_from_whichever_node_it_comes(client: RedisCluster, ports: list[int]) -> None:
    """Clients that begin at different nodes name it alike; no node's address is told, since keys move."""
    assert len({client.get_node_from_key(key).port for key in KEYS}) > 1
    with capture() as captured:
        for port in ports:
            with contextlib.closing(RedisCluster(host="localhost", port=port)) as each:
                for key in KEYS:
                    each.set(key, "a balance of 100")
        names = {access["noclobber.resource"] for access in captured.accesses}
        assert not any("network.peer.address" in access for access in captured.accesses)
    assert names == {f"redis://{host_name()}:{min(ports, key=str)}/0/{key}" for key in KEYS}


def test_read_and_write(client: RedisCluster) -> None:
    """The base is found as on one server, and a call is one access."""
    client.set("acct:1", "a balance of 100")
    with capture() as captured:
        client.get("acct:1")
        client.set("acct:1", "a balance of 150")
        read, write = captured.accesses
    assert write["noclobber.version.base"] == read["noclobber.version.read"]
    assert (read["db.operation.name"], write["db.operation.name"]) == ("GET", "SET")


async def test_asyncio(client: RedisCluster, ports: list[int]) -> None:
    """The same by the asyncio client, from another node."""
    client.set("acct:1", "a balance of 100")
    with capture() as captured:
        async with AsyncCluster(host="127.0.0.1", port=ports[1]) as aio:
            await aio.get("acct:1")
            await aio.set("acct:1", "a balance of 150")
        client.get("acct:1")
        read, write, again = captured.accesses
    assert write["noclobber.version.base"] == read["noclobber.version.read"]
    assert again["noclobber.version.read"] == write["noclobber.version.written"]
    assert read["noclobber.resource"] == again["noclobber.resource"]


def test_a_pipeline_over_several_nodes(client: RedisCluster) -> None:
    """One access a command, in order, with the replies of each node."""
    with capture() as captured:
        replies = client.pipeline().set("acct:1", "one").get("acct:2").incr("acct:3").execute()
        assert told(captured) == [
            ("write", "acct:1", "ok"), ("read", "acct:2", "not_found"), ("update", "acct:3", "ok"),
        ]  # fmt: skip
    assert replies == [True, None, 1]


def test_a_pipeline_that_half_fails(client: RedisCluster) -> None:
    """What one command's error hides from the caller is told all the same."""
    client.lpush("list", 1)
    with capture() as captured:
        with pytest.raises(redis.ResponseError):
            client.pipeline().set("acct:1", "one").incr("list").set("acct:3", "three").execute()
        assert told(captured) == [("write", "acct:1", "ok"), ("update", "list", "error"), ("write", "acct:3", "ok")]


async def test_asyncio_pipelines(client: RedisCluster, ports: list[int]) -> None:
    """The same by the asyncio client, whole and half."""
    client.lpush("list", 1)
    async with AsyncCluster(host="127.0.0.1", port=ports[1]) as aio:
        with capture() as captured:
            assert await aio.pipeline().set("acct:1", "one").get("acct:2").execute() == [True, None]
            with pytest.raises(redis.ResponseError):
                await aio.pipeline().set("acct:1", "one").incr("list").set("acct:3", "three").execute()
            assert told(captured) == [
                ("write", "acct:1", "ok"), ("read", "acct:2", "not_found"),
                ("write", "acct:1", "ok"), ("update", "list", "error"), ("write", "acct:3", "ok"),
            ]  # fmt: skip


def test_watch(client: RedisCluster) -> None:
    """A MULTI under WATCH insists on what was read; refused, its write is told as such."""
    client.set("acct:1", "a balance of 100")
    with capture() as captured, client.pipeline(transaction=True) as pipe:
        pipe.watch("acct:1")
        pipe.get("acct:1")
        client.set("acct:1", "a balance of 80")
        pipe.multi()
        pipe.set("acct:1", "a balance of 150")
        with pytest.raises(WatchError):
            pipe.execute()
        read, foreign, write = captured.accesses
    assert (foreign["noclobber.outcome"], write["noclobber.outcome"]) == ("ok", "rejected")
    assert write["noclobber.guard"] == "version"
    assert write["noclobber.version.expected"] == read["noclobber.version.read"]


def test_a_multi_that_half_fails(client: RedisCluster) -> None:
    """MULTI takes nothing back; what was applied is told as applied."""
    with capture() as captured, client.pipeline(transaction=True) as pipe:
        pipe.set("{a}1", "one").incr("{a}1").set("{a}2", "two")
        with pytest.raises(redis.ResponseError):
            pipe.execute()
        assert [each[2] for each in told(captured)] == ["ok", "error", "ok"]


def test_locks(client: RedisCluster) -> None:
    """redis-py's lock works on a cluster, and what is done under it names it."""
    with capture() as captured:
        with client.lock("guard", timeout=10):
            client.get("acct:1")
        ops = [(access["noclobber.op"], "noclobber.locks" in access) for access in captured.accesses]
    assert ops == [("lock", False), ("read", True), ("unlock", True)]


def test_scripts(client: RedisCluster) -> None:
    """What a script did to its keys only the server knows: an update that is partial, of each key that it names."""
    with capture() as captured:
        script = client.register_script("return redis.call('SET', KEYS[1], ARGV[1])")
        script(keys=["acct:1"], args=["a secret"])
        (access,) = [each for each in captured.accesses if each["noclobber.outcome"] == "ok"]
    assert (access["noclobber.op"], access["noclobber.partial"]) == ("update", True)
    assert access["db.operation.name"] == "EVALSHA"
    assert "noclobber.version.written" not in access


def test_subscribers(client: RedisCluster, ports: list[int]) -> None:
    """A channel is the cluster's, from whichever node a message comes."""
    with contextlib.closing(RedisCluster(host="127.0.0.1", port=ports[1])) as other, other.pubsub() as pubsub:
        pubsub.subscribe("news")
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"
        with capture() as captured:
            client.publish("news", "hello to everybody")
            assert pubsub.get_message(timeout=5)["data"] == b"hello to everybody"
            sent, received = captured.accesses
    assert (sent["noclobber.op"], received["noclobber.op"]) == ("send", "receive")
    assert sent["noclobber.resource"] == received["noclobber.resource"]
    assert sent["noclobber.message.id"] == received["noclobber.message.id"]


def test_nothing_is_asked_in_exact_mode(client: RedisCluster) -> None:
    """A cluster's clients have no exact mode; the caller gets what a plain SET answers."""
    with capture(exact=("*",)) as captured:
        assert client.set("acct:1", "one") is True
        (access,) = captured.accesses
    assert "noclobber.version.overwritten" not in access
