"""RabbitMQ by pika and aio-pika: names, deliveries, acknowledgements, and an order that is counted twice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pytest
from broker_stage import rabbitmq
from judging_agents import judged
from within import in_its_thread

from noclobber import access
from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import Captured, capture

TIMEOUT_S = 20


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own; its URL."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


@pytest.fixture
def channel(broker: str) -> Iterator[Any]:
    """A blocking channel with confirms, and an empty queue `tasks`."""
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        made = connection.channel()
        made.queue_delete("tasks")
        made.queue_declare("tasks")
        made.confirm_delivery()
        yield made


def named(name: str | None) -> pika.BasicProperties:
    return pika.BasicProperties(message_id=name)


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.outcome"],
            each.get("noclobber.message.id", "").partition("@")[0],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
    ]


def work() -> None:
    with access("custom://report", "write") as done:
        done.written(content="what was found out")


def test_send_receive_acknowledge(broker: str, channel: Any) -> None:
    """A message's name is on all that happens to it; claims compare inside the queue."""
    queue = f"amqp://{host_name()}:{broker.rpartition(':')[2].strip('/')}/%2F/tasks"
    with capture(agent="worker") as captured:
        assert channel.basic_get("tasks")[0] is None
        channel.basic_publish("", "tasks", b"a task", named("t-1"))
        for give_back in (True, False):
            method = channel.basic_get("tasks")[0]
            work()
            if give_back:
                channel.basic_nack(method.delivery_tag)
            else:
                channel.basic_ack(method.delivery_tag)
        work()
        names = {each.get("noclobber.message.id") for each in captured.accesses}
        groups = {each.get("noclobber.message.group") for each in captured.accesses}
    assert told(captured, "message.delivery") == [
        ("send", "ok", "t-1", None),
        ("receive", "ok", "t-1", 1), ("write", "ok", "t-1", None), ("nack", "ok", "t-1", None),
        ("receive", "ok", "t-1", 2), ("write", "ok", "t-1", None), ("ack", "ok", "t-1", None),
        ("write", "ok", "", None),
    ]  # fmt: skip
    assert (len(names), groups) == (2, {None, queue})
    assert {each["noclobber.resource"] for each in captured.accesses} == {queue, "custom://report"}
    assert captured.spans[1].library == "pika"


def test_callbacks_and_generators(channel: Any) -> None:
    """Each call of a callback is a step, which ends with it; one acknowledgement may cover several."""
    got: list[bytes] = []

    def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        got.append(body)
        work()
        if len(got) == 2:
            channel.stop_consuming()

    for number in range(5):
        channel.basic_publish("", "tasks", b"%d" % number, named(f"t-{number}"))
    with capture() as captured:
        tag = channel.basic_consume("tasks", handle, auto_ack=True)
        channel.basic_qos(prefetch_count=1)
        channel.start_consuming()
        channel.basic_cancel(tag)
        work()
        handled = told(captured)
        steps = [each.get("noclobber.unit") for each in captured.accesses]
    assert handled[:2] == [("receive", "ok", "t-0"), ("write", "ok", "t-0")]
    assert (handled[-1], steps[-1]) == (("write", "ok", ""), None)
    assert (steps[0] == steps[1], steps[1] == steps[2]) == (True, False)


def test_several_at_once(channel: Any) -> None:
    """`multiple` covers all before it."""
    for number in range(3):
        channel.basic_publish("", "tasks", b"%d" % number, named(f"t-{number}"))
    with capture() as captured:
        for method, _, _ in channel.consume("tasks"):
            if method.delivery_tag == 2:
                channel.basic_ack(2, multiple=True)
                channel.cancel()
                break
        assert told(captured)[:4] == [
            ("receive", "ok", "t-0"), ("receive", "ok", "t-1"), ("ack", "ok", "t-0"), ("ack", "ok", "t-1"),
        ]  # fmt: skip


def test_without_a_name(channel: Any) -> None:
    """A message without an id is known by its content: partial, and nobody says that it came again."""
    with capture() as captured:
        channel.basic_publish("", "tasks", b"planted-body", named(None))
        for _ in range(2):
            method = channel.basic_get("tasks")[0]
            channel.basic_reject(method.delivery_tag)
        found = captured.accesses
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert len({each["noclobber.message.id"] for each in found}) == 1
    assert all(each["noclobber.partial"] for each in found)
    assert not any("noclobber.message.delivery" in each for each in found)
    assert "planted" not in sent


def test_sends_that_fail(channel: Any) -> None:
    """What nobody could take was not sent, and the error is the program's own."""
    with capture() as captured:
        with pytest.raises(pika.exceptions.UnroutableError):
            channel.basic_publish("", "nowhere", b"a task", named("t-1"), mandatory=True)
        assert told(captured) == [("send", "error", "t-1")]


def test_copies_of_one_message(broker: str, channel: Any) -> None:
    """An exchange that gives a message to two queues makes no double claim."""
    channel.exchange_declare("news", "fanout")
    for queue in ("left", "right"):
        channel.queue_declare(queue)
        channel.queue_bind(queue, "news")
    with capture() as captured:
        channel.basic_publish("news", "", b"a task", named("t-1"))
        for queue in ("left", "right"):
            channel.basic_get(queue, auto_ack=True)
        groups = [each.get("noclobber.message.group") for each in captured.accesses]
        resource = captured.accesses[0]["noclobber.resource"]
    assert (len(set(groups)), resource.rpartition("/exchange/")[2]) == (3, "news")


async def test_aio_pika(broker: str) -> None:
    """The same over asyncio: `get`, an iterator, a callback, and a message that is given back."""
    async with await aio_pika.connect_robust(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("async-tasks")
        with capture() as captured:
            for number in range(3):
                message = aio_pika.Message(b"planted-body", message_id=f"t-{number}")
                await channel.default_exchange.publish(message, "async-tasks")
            got = await queue.get()
            work()
            await got.nack()
            work()
            async with asyncio.timeout(TIMEOUT_S), queue.iterator() as messages:
                async for each in messages:
                    async with each.process():
                        work()
                    if each.message_id == "t-0":
                        break
            done = asyncio.Event()

            async def handle(message: Any) -> None:
                work()
                await message.ack()
                work()
                done.set()

            await channel.default_exchange.publish(aio_pika.Message(b"planted-body", message_id="t-9"), "async-tasks")
            await queue.consume(handle)
            async with asyncio.timeout(TIMEOUT_S):
                await done.wait()
            found = told(captured, "message.delivery")
            sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert found[:6] == [
        *(("send", "ok", f"t-{number}", None) for number in range(3)),
        ("receive", "ok", "t-0", 1), ("write", "ok", "t-0", None), ("nack", "ok", "t-0", None),
    ]  # fmt: skip
    again = found.index(("receive", "ok", "t-0", 2))
    assert found[again + 1 : again + 3] == [("write", "ok", "t-0", None), ("ack", "ok", "t-0", None)]
    last = [each for each in found if each[2] == "t-9"]
    assert [each[0] for each in last] == ["send", "receive", "write", "ack"]
    assert found[-1] == ("write", "ok", "", None)
    assert {span.library for span in captured.spans} == {"aio_pika", "manual"}
    assert "planted" not in sent


@pytest.mark.parametrize("library", ["pika", "aio_pika"])
def test_race_and_twin(library: str, broker: str, valkey: str, tmp_path: Path) -> None:
    """An order that comes again is counted twice, in another store, or asked for and counted once."""
    plain = judged(tmp_path / "plain.jsonl", "rabbit.py", library, "plain", broker, valkey, scope=library)
    assert (plain.kinds, plain.printed) == ([("duplicate_delivery", "certain")], "100\n")
    safe = judged(tmp_path / "safe.jsonl", "rabbit.py", library, "safe", broker, valkey, scope=library)
    assert (safe.kinds, safe.printed) == ([], "50\n")
    assert sum(safe.summary["defended"].values()) >= 1


def test_what_a_recorded_call_does_in_its_thread(channel: Any) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: channel.basic_publish("", "tasks", b"a"))
        assert captured.accesses == []
        channel.basic_publish("", "tasks", b"b")
        assert [each["noclobber.op"] for each in captured.accesses] == ["send"]
