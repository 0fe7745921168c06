"""Redis Streams through redis-py: ids on both sides, deliveries, groups, pipelines, and two workers on one entry."""

import asyncio
import functools
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from driver_stage import TIMEOUT_S, findings, together

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    """What was done, how it ended, to which entry of which stream; `more` names further attributes."""
    return [
        (
            each["noclobber.op"],
            each["noclobber.outcome"],
            each.get("noclobber.message.id", "").partition("@")[0],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
    ]


def read(client: Any, *, consumer: str = "c1", since: str = ">", **options: Any) -> Any:
    return client.xreadgroup("workers", consumer, {"tasks": since}, **options)


@pytest.fixture
def tasks(client: redis.Redis) -> redis.Redis:
    """A client, and a stream with a group."""
    client.xgroup_create("tasks", "workers", id="0", mkstream=True)
    return client


def test_send_receive_acknowledge(tasks: redis.Redis) -> None:
    """An entry's id is on all that happens to it, and on what its receiver writes until it is acknowledged."""
    with capture(agent="worker") as captured:
        assert not read(tasks)
        tasks.set("before", "nothing in hand")
        sent = tasks.xadd("tasks", {"do": "a task"}).decode()
        read(tasks)
        tasks.set("report", "work on the task")
        assert tasks.xack("tasks", "workers", sent) == 1
        tasks.set("after", "nothing in hand")
        assert tasks.xack("tasks", "workers", sent) == 0
        accesses = captured.accesses
    assert told(captured, "message.delivery", "message.group") == [
        ("write", "ok", "", None, None),
        ("send", "ok", sent, None, None),
        ("receive", "ok", sent, 1, "workers"),
        ("write", "ok", sent, None, "workers"),
        ("ack", "ok", sent, None, "workers"),
        ("write", "ok", "", None, None),
        ("ack", "no_effect", sent, None, "workers"),
    ]
    assert [each["noclobber.seq"] for each in accesses] == list(range(1, 8))
    assert len({each["noclobber.message.id"] for each in accesses if "noclobber.message.id" in each}) == 1
    assert {each["noclobber.resource"] for each in accesses[1:3]} == {accesses[0]["noclobber.resource"][:-6] + "tasks"}
    span = captured.spans[2]
    assert (span.name, span.library, span.start_ns < span.end_ns) == ("receive redis", "redis", True)


def test_one_id_in_two_streams(client: redis.Redis) -> None:
    """Streams count by themselves: equal ids are two messages."""
    with capture() as captured:
        for stream in ("tasks", "events"):
            client.xadd(stream, {"a": 1}, id="1-1")
        one, other = (each["noclobber.message.id"] for each in captured.accesses)
    assert (one.partition("@")[0], one == other) == ("1-1", False)


@pytest.mark.parametrize(
    ("take", "deliveries"),
    [
        (lambda c: read(c, since="0"), [2, 2]),
        (lambda c: c.xclaim("tasks", "workers", "c2", 0, ["1-1", "1-2"]), [2, 2]),
        (lambda c: c.xclaim("tasks", "workers", "c2", 0, ["1-1"], justid=True), [2]),
        (lambda c: c.xautoclaim("tasks", "workers", "c2", 0), [2, 2]),
        (lambda c: c.xautoclaim("tasks", "workers", "c2", 0, justid=True), [2, 2]),
        (lambda c: c.xautoclaim("tasks", "workers", "c2", 100_000), []),
        (lambda c: c.pipeline().get("k").xautoclaim("tasks", "workers", "c2", 0).set("k", 1).execute(), [2, 2]),
        (lambda c: c.pipeline(transaction=False).xautoclaim("tasks", "workers", "c2", 100_000).execute(), []),
        (lambda c: c.pipeline(transaction=False).xautoclaim("tasks", "workers", "c2", 0).execute(), [2, 2]),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3])
def test_handed_out_again(take: Any, deliveries: list[int], protocol: int, tasks: redis.Redis, valkey: str) -> None:
    """What was pending is handed out again, however it is asked for, and in whatever form the reply comes."""
    for number in ("1-1", "1-2"):
        tasks.xadd("tasks", {"a": number}, id=number)
    read(tasks)
    with redis.Redis.from_url(valkey, protocol=protocol, decode_responses=protocol == 3) as other:
        with capture() as captured:
            take(other)
            got = [each for each in captured.accesses if each["noclobber.op"] == "receive"]
            numbers = sorted(each["noclobber.seq"] for each in captured.accesses)
        assert [each["noclobber.message.delivery"] for each in got] == deliveries
        assert [each["noclobber.message.id"].partition("@")[0] for each in got] == ["1-1", "1-2"][: len(got)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert {each["noclobber.message.group"] for each in got} <= {"workers"}


def test_a_tombstone_is_no_message(tasks: redis.Redis) -> None:
    """An entry that was deleted while it was pending is not received again."""
    tasks.xadd("tasks", {"a": 1}, id="1-1")
    read(tasks)
    tasks.xdel("tasks", "1-1")
    with capture() as captured:
        read(tasks, since="0")
        assert captured.accesses == []


def test_a_log_that_is_read_again(client: redis.Redis) -> None:
    """XREAD takes nothing: it is compared with no other read, and what follows is no work on one entry."""
    client.xadd("log", {"a": 1}, id="1-1")
    with capture() as captured:
        for _ in range(2):
            client.xread({"log": "0"})
            client.set("summary", "of all that was said")
        groups = {each.get("noclobber.message.group") for each in captured.accesses}
        assert told(captured) == [("receive", "ok", "1-1"), ("write", "ok", "")] * 2
        assert len(groups) == 3  # two readers, and none on the writes


def test_without_acknowledging(tasks: redis.Redis) -> None:
    """What nobody will acknowledge is in hand until the next one comes."""
    for number in ("1-1", "1-2"):
        tasks.xadd("tasks", {"a": number}, id=number)
    with capture() as captured:
        for _ in range(2):
            read(tasks, count=1, noack=True)
            tasks.incr("done")
        read(tasks, count=1, noack=True)
        tasks.incr("done")
        assert told(captured) == [
            ("receive", "ok", "1-1"), ("update", "ok", "1-1"), ("receive", "ok", "1-2"), ("update", "ok", "1-2"),
            ("update", "ok", "1-2"),
        ]  # fmt: skip


def test_sends_that_fail(client: redis.Redis) -> None:
    """A send without a known id can't be taken for a message that somebody received."""
    client.set("text", "no stream")
    with capture() as captured:
        with pytest.raises(redis.ResponseError):
            client.xadd("text", {"a": 1})
        client.xadd("nowhere", {"a": 1}, nomkstream=True)
        assert told(captured, "partial") == [("send", "error", "untold", None), ("send", "no_effect", "untold", None)]


async def test_async(tasks: redis.Redis, valkey: str) -> None:
    """The same over asyncio, where a task that waits for another stays one strand each."""
    async with redis.asyncio.Redis.from_url(valkey) as client:
        with capture() as captured:
            reading = asyncio.create_task(client.xreadgroup("workers", "c1", {"tasks": ">"}, block=5000))
            await asyncio.sleep(0)
            sent = (await client.xadd("tasks", {"a": 1})).decode()
            await reading
            await client.xack("tasks", "workers", sent)
            ops = [each for each in told(captured) if each[0] in ("send", "receive", "ack")]
    assert sorted(ops) == [("ack", "ok", sent), ("receive", "ok", sent), ("send", "ok", sent)]


@pytest.mark.parametrize(
    ("idle_ms", "once", "found"),
    [(0, False, [("duplicate_delivery", "certain")]), (0, True, []), (60_000, False, [])],
)
def test_two_workers_on_one_task(
    idle_ms: int, once: bool, found: list[tuple[str, str]], tasks: redis.Redis, tmp_path: Path
) -> None:
    """A task that is taken over while its first worker lives is done twice, unless the work itself asks whether."""
    received, taken = threading.Event(), threading.Barrier(2)

    def work(turn: int) -> None:
        if turn:
            assert received.wait(TIMEOUT_S)
            got = tasks.xautoclaim("tasks", "workers", "c2", idle_ms)[1]
        else:
            got = read(tasks)[0][1]
            received.set()
        taken.wait(TIMEOUT_S)
        for number, _ in got:
            if not once or tasks.set(f"done:{number.decode()}", "yes, it is done", nx=True):
                tasks.incr("orders")
            tasks.xack("tasks", "workers", number)

    tasks.xadd("tasks", {"do": "a task"})
    with capture(fixed=False) as captured:
        together(functools.partial(work, 0), functools.partial(work, 1))
    assert findings(captured, tmp_path) == found


def test_secrets_stay(tasks: redis.Redis) -> None:
    """What an entry holds is never sent."""
    with capture() as captured:
        tasks.xadd("tasks", {"planted-field": "planted-value"})
        read(tasks)
        tasks.xautoclaim("tasks", "workers", "c2", 0)
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert "planted" not in sent
