"""Kafka by aiokafka and confluent-kafka: offsets as names, commits, and an order that is counted twice."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka
import pytest
from aiokafka.structs import TopicPartition
from broker_stage import kafka
from judging_agents import judged
from within import in_its_task

from noclobber import access
from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

TIMEOUT_S = 30
NONE = (None, None, None)
topics = (f"tasks-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own; its address."""
    with kafka(tmp_path_factory.mktemp("kafka")) as address:
        yield address


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.outcome"],
            each.get("noclobber.message.id", "").partition("@")[0],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
        if each["noclobber.op"] != "join"
    ]


def work() -> None:
    with access("custom://report", "write") as done:
        done.written(content="what was found out")


async def test_aiokafka(broker: str) -> None:
    """Names on both sides; a commit acknowledges what lies below it; what comes again is known to."""
    topic = next(topics)
    with capture() as captured:
        async with asyncio.timeout(TIMEOUT_S), aiokafka.AIOKafkaProducer(bootstrap_servers=broker) as producer:
            for number in range(3):
                await producer.send_and_wait(topic, b"planted-value %d" % number, b"planted-key", 0)
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=broker, group_id="workers", enable_auto_commit=False, auto_offset_reset="earliest"
            )
            consumer.assign([TopicPartition(topic, 0)])
            async with consumer:
                await consumer.getone()
                work()
                await consumer.commit()
                work()
                await consumer.getmany(timeout_ms=5000, max_records=2)
                work()  # on which of the two?
                await consumer.commit({TopicPartition(topic, 0): 2})
                work()
                consumer.seek(TopicPartition(topic, 0), 1)
                await consumer.getone()
                await producer.send_and_wait(topic, b"planted-value 3", None, 0)
                while (await consumer.getone()).offset < 3:
                    pass
            found = told(captured, "message.delivery", "message.seq", "partial")
            sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert found == [
        *(("send", "ok", str(number), None, number, None) for number in range(3)),
        ("receive", "ok", "0", None, 0, True), ("write", "ok", "0", *NONE), ("ack", "ok", "0", *NONE),
        ("write", "ok", "", *NONE),
        ("receive", "ok", "1", None, 1, True), ("receive", "ok", "2", None, 2, True), ("write", "ok", "", *NONE),
        ("ack", "ok", "1", *NONE), ("write", "ok", "2", None, None, None),
        ("receive", "ok", "1", 2, 1, None), ("send", "ok", "3", None, 3, None), ("receive", "ok", "2", 2, 2, None),
        ("receive", "ok", "3", 1, 3, None),
    ]  # fmt: skip
    resources = {each["noclobber.resource"] for each in captured.accesses if "kafka" in each["noclobber.resource"]}
    assert resources == {f"kafka://{topic}/0"}
    assert "planted" not in sent


async def test_sends_that_overlap(broker: str) -> None:
    """A send lasts until the broker has it; the program's future is untouched."""
    topic = next(topics)
    with capture() as captured:
        async with asyncio.timeout(TIMEOUT_S), aiokafka.AIOKafkaProducer(bootstrap_servers=broker) as producer:
            futures = [await producer.send(topic, b"a task", partition=0) for _ in range(5)]
            offsets = [(await future).offset for future in futures]
            await asyncio.sleep(0)
            with pytest.raises(AssertionError):
                await producer.send(topic)
            sends = sorted(captured.spans, key=lambda span: span.attributes["noclobber.seq"])
    assert offsets == list(range(5))
    assert [each.attributes.get("noclobber.message.seq") for each in sends] == [0, 1, 2, 3, 4, None]
    assert [each.attributes["noclobber.outcome"] for each in sends][-1] == "error"


async def test_without_a_group(broker: str) -> None:
    """Each such consumer is a group of its own: two that read the same claim nothing twice."""
    topic = next(topics)
    async with asyncio.timeout(TIMEOUT_S), aiokafka.AIOKafkaProducer(bootstrap_servers=broker) as producer:
        await producer.send_and_wait(topic, b"a task")
        with capture() as captured:
            for _ in range(2):
                async with aiokafka.AIOKafkaConsumer(
                    topic, bootstrap_servers=broker, auto_offset_reset="earliest"
                ) as consumer:
                    async for _record in consumer:
                        break
            receipts = [each for each in captured.accesses if each["noclobber.op"] == "receive"]
    assert len({each["noclobber.message.group"] for each in receipts}) == 2
    assert [each["noclobber.message.delivery"] for each in receipts] == [1, 1]


def test_confluent() -> None:
    """The program's callbacks get what they would, and classes are what they were but for being subclasses."""
    reports: list[tuple[str, int]] = []
    plain = confluent_kafka.Producer
    with capture() as captured:
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": 1,
             "on_delivery": lambda error, message: reports.append(("default", message.offset()))}
        )  # fmt: skip
        assert isinstance(producer, plain)
        producer.produce("tasks", b"planted-value", partition=0)
        producer.produce("tasks", b"planted-value", b"planted-key", 0, lambda _, m: reports.append(("own", m.offset())))
        assert producer.flush(TIMEOUT_S) == 0
        with pytest.raises(confluent_kafka.KafkaException):
            producer.produce("tasks", b"x" * 10_000_000)
        (server,) = producer.list_topics(timeout=TIMEOUT_S).brokers.values()
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": f"{server.host}:{server.port}", "group.id": "workers", "enable.auto.commit": False,
             "auto.offset.reset": "earliest"}
        )  # fmt: skip
        consumer.assign([confluent_kafka.TopicPartition("tasks", 0)])
        got: list[Any] = []
        deadline = time.monotonic() + TIMEOUT_S
        while len(got) < 2 and time.monotonic() < deadline:
            got += [each for each in consumer.consume(1, 1) if each.error() is None]
        work()  # on the last
        consumer.commit(got[0], asynchronous=False)
        work()
        consumer.commit()
        consumer.close()
        found = told(captured, "partial")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert reports == [("default", 0), ("own", 1)]
    assert found == [
        ("send", "ok", "0", None), ("send", "ok", "1", None), ("send", "error", "untold", None),
        ("receive", "ok", "0", True), ("receive", "ok", "1", True), ("write", "ok", "1", None),
        ("ack", "ok", "0", None), ("write", "ok", "1", None), ("ack", "unknown", "1", None),
    ]  # fmt: skip
    assert confluent_kafka.Producer is plain
    assert "planted" not in sent


@pytest.mark.parametrize("library", ["aiokafka", "confluent_kafka"])
def test_race_and_twin(library: str, broker: str, valkey: str, tmp_path: Path) -> None:
    """An order that comes again is counted twice, in another store, or asked for and counted once."""
    words = [valkey, *([broker] if library == "aiokafka" else [])]
    # The first receipt is partial: another process of the group might have had the order before.
    plain = judged(tmp_path / "plain.jsonl", "topics.py", library, "plain", *words, scope=library, partial=1)
    assert (plain.kinds, plain.printed) == ([("duplicate_delivery", "likely")], "100\n")
    safe = judged(tmp_path / "safe.jsonl", "topics.py", library, "safe", *words, scope=library, partial=1)
    assert (safe.kinds, safe.printed) == ([], "50\n")
    assert sum(safe.summary["defended"].values()) >= 1


async def test_what_a_recorded_call_does_in_its_task(broker: str) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    topic = next(topics)
    with capture() as captured:
        async with asyncio.timeout(TIMEOUT_S), aiokafka.AIOKafkaProducer(bootstrap_servers=broker) as producer:
            await in_its_task(lambda: producer.send_and_wait(topic, b"a", None, 0))
            assert told(captured) == []
            await producer.send_and_wait(topic, b"b", None, 0)
        assert [each[:2] for each in told(captured)] == [("send", "ok")]
