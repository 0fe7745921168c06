"""NATS by nats-py: JetStream's messages and key-value buckets, and agents that race on both."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nats
import nats.js.errors
import pytest
from broker_stage import nats as server
from judging_agents import judged
from within import in_its_task

from noclobber import access
from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own."""
    with server(tmp_path_factory.mktemp("nats")) as found:
        yield found


@pytest.fixture
async def context(url: str) -> AsyncIterator[Any]:
    """JetStream, with an empty stream `tasks`."""
    connection = await nats.connect(url)
    made = connection.jetstream()
    await made.add_stream(name="tasks", subjects=["tasks"])
    yield made
    await made.delete_stream("tasks")
    await connection.close()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.outcome"],
            each.get("noclobber.message.id", "").partition("@")[0],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
        if each["noclobber.op"] not in ("join", "spawn")
    ]


def work() -> None:
    with access("custom://report", "write") as done:
        done.written(content="what was found out")


async def test_send_fetch_acknowledge(context: Any) -> None:
    """The server says all that there is to know: stream, number, consumer, and which delivery it is."""
    with capture(agent="worker") as captured:
        for _ in range(2):
            await context.publish("tasks", b"planted-body", headers={"Nats-Msg-Id": "once"})
        await context.publish("tasks", b"planted-body")
        subscription = await context.pull_subscribe("tasks", "workers")
        (message,) = await subscription.fetch(1)
        work()
        await message.nak()
        work()
        messages = await subscription.fetch(2, timeout=5)
        if len(messages) < 2:
            messages += await subscription.fetch(1, timeout=5)
        for message in sorted(messages, key=lambda each: each.metadata.sequence.stream):
            await message.ack_sync()
        with pytest.raises(nats.errors.MsgAlreadyAckdError):
            await message.ack()
        found = told(captured, "message.delivery", "message.group")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    group = "tasks/workers"
    assert found[:6] == [
        ("send", "ok", "1", None, None), ("send", "no_effect", "1", None, None), ("send", "ok", "2", None, None),
        ("receive", "ok", "1", 1, group), ("write", "ok", "1", None, group), ("nack", "ok", "1", None, group),
    ]  # fmt: skip
    assert found[6] == ("write", "ok", "", None, None)
    assert sorted(found[7:9]) == [("receive", "ok", "1", 2, group), ("receive", "ok", "2", 1, group)]
    assert found[9:] == [("ack", "ok", "1", None, group), ("ack", "ok", "2", None, group)]
    assert {each["noclobber.resource"] for each in captured.accesses} == {"nats://tasks", "custom://report"}
    assert "planted" not in sent


async def test_callbacks_and_iterators(context: Any) -> None:
    """A callback's call is a step, and acknowledges as it always did; an iterator's turn is a receipt."""
    done = asyncio.Event()

    async def handle(message: Any) -> None:
        work()
        if message.data == b"2":
            done.set()

    with capture() as captured:
        subscription = await context.subscribe("tasks", durable="callbacks", cb=handle)
        for number in (b"1", b"2"):
            await context.publish("tasks", number)
        await asyncio.wait_for(done.wait(), TIMEOUT_S)
        await subscription.unsubscribe()
        handled = [each for each in told(captured) if each[0] != "send"]
        iterated = await context.subscribe("tasks", durable="iterators", manual_ack=True)
        async for message in iterated.messages:
            await message.ack()
            if message.data == b"2":
                break
        again = told(captured)[-4:]
    assert handled[:3] == [("receive", "ok", "1"), ("write", "ok", "1"), ("ack", "ok", "1")]
    assert handled[3:5] == [("receive", "ok", "2"), ("write", "ok", "2")]
    assert again == [(op, "ok", number) for number in ("1", "2") for op in ("receive", "ack")]


async def test_publishing_that_fails(context: Any) -> None:
    """What no stream takes was not sent; the error is the program's own."""
    with capture() as captured:
        with pytest.raises(nats.js.errors.NoStreamResponseError):
            await context.publish("nowhere", b"a task")
        with pytest.raises(nats.js.errors.APIError):
            await context.publish("tasks", b"a task", headers={"Nats-Expected-Last-Sequence": "9"})
        assert told(captured) == [("send", "error", "untold"), ("send", "rejected", "untold")]


async def test_bucket(context: Any) -> None:
    """Revisions on both sides; guards, what they refuse, and a key that is not there."""
    bucket = await context.create_key_value(bucket="accounts", history=5)
    with capture() as captured:
        with pytest.raises(nats.js.errors.KeyNotFoundError):
            await bucket.get("balance")
        first = await bucket.put("balance", b"planted-100")
        assert (await bucket.get("balance")).value == b"planted-100"
        second = await bucket.update("balance", b"planted-150", first)
        for stale in (lambda: bucket.update("balance", b"80", first), lambda: bucket.create("balance", b"0")):
            with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
                await stale()
        await bucket.delete("balance", second)
        await bucket.create("balance", b"planted-1")
        await bucket.get("balance", first)
        names = ("version.read", "version.written", "version.base", "version.expected", "guard")
        found = [(each[0], each[1], *each[3:]) for each in told(captured, *names)]
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    one, two = str(first), str(second)
    assert found == [
        ("read", "not_found", "0", None, None, None, None),
        ("write", "ok", None, one, "0", None, None),
        ("read", "ok", one, None, None, None, None),
        ("write", "ok", None, two, one, one, "version"),
        ("write", "rejected", None, None, one, one, "version"),
        ("write", "rejected", None, None, two, None, "unique"),
        ("delete", "ok", None, "0", two, two, "version"),
        ("write", "ok", None, str(second + 2), "0", None, "unique"),
        ("read", "ok", one, None, None, None, None),
    ]
    resources = [each["noclobber.resource"] for each in captured.accesses]
    assert resources == [*["nats://accounts/balance"] * 8, f"nats://accounts/balance?revision={first}"]
    assert {each["noclobber.version.kind"] for each in captured.accesses} == {"ordered"}
    assert "planted" not in sent


@pytest.mark.parametrize(
    ("shared", "kind", "sums"),
    [
        ("kv", "lost_update", ({"10000150", "10000080"}, {"10000130"})),
        ("stream", "duplicate_delivery", ({"10000100"}, {"10000050"})),
    ],
)
def test_race_and_twin(shared: str, kind: str, sums: tuple[set[str], set[str]], url: str, tmp_path: Path) -> None:
    """A balance that two agents add to, an order that two workers count; and both with a guard."""
    plain = judged(tmp_path / "plain.jsonl", "subjects.py", shared, "plain", url, scope="nats")
    assert [each[0] for each in plain.kinds] == [kind]
    assert (plain.kinds[0][1], plain.printed.strip() in sums[0]) == ("certain", True)
    safe = judged(tmp_path / "safe.jsonl", "subjects.py", shared, "safe", url, scope="nats")
    assert (safe.kinds, safe.printed.strip() in sums[1]) == ([], True)
    assert sum(safe.summary["defended"].values()) >= 1


async def test_what_a_recorded_call_does_in_its_task(context: Any) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        await in_its_task(lambda: context.publish("tasks", b"a"))
        assert told(captured) == []
        await context.publish("tasks", b"b")
        assert [each[:2] for each in told(captured)] == [("send", "ok")]
