"""Google Pub/Sub's clients against its gRPC service in this process: sends, receipts, settling, redelivery."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from pubsub_stage import SUBSCRIPTION, TOPIC, Service, pubsub

from noclobber.testing import Captured, capture

TIMEOUT_S = 20


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, where clients look for an emulator."""
    with pubsub() as found:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", found.address)
        yield found


def publish(*contents: bytes) -> list[str]:
    client = PublisherClient()
    names = [client.publish(TOPIC, each).result(TIMEOUT_S) for each in contents]
    client.stop()
    client.transport.close()
    return names


def told(captured: Captured) -> list[tuple[Any, ...]]:
    """What was done, with which message, and how it ended."""
    return [
        (each["noclobber.op"], each["noclobber.message.id"], each["noclobber.outcome"])
        for each in captured.accesses
        if "noclobber.message.id" in each
    ]


def test_published_and_pulled(service: Service) -> None:
    """A message has the service's name on both sides; a pull is one receipt a message, in order."""
    with capture(background=True) as captured:
        first, second = publish(b"a secret", b"another secret")
        with SubscriberClient() as client:
            got = client.pull(subscription=SUBSCRIPTION, max_messages=5).received_messages
            client.modify_ack_deadline(subscription=SUBSCRIPTION, ack_ids=[got[0].ack_id], ack_deadline_seconds=30)
            client.acknowledge(subscription=SUBSCRIPTION, ack_ids=[got[0].ack_id])
            client.modify_ack_deadline(
                request={"subscription": SUBSCRIPTION, "ack_ids": [got[1].ack_id], "ack_deadline_seconds": 0}
            )
            again = client.pull(subscription=SUBSCRIPTION, max_messages=5).received_messages
        assert [each.message.message_id for each in again] == [second]
        assert told(captured) == [
            ("send", first, "ok"), ("send", second, "ok"), ("receive", first, "ok"), ("receive", second, "ok"),
            ("ack", first, "ok"), ("nack", second, "ok"), ("receive", second, "ok"),
        ]  # fmt: skip
        send, receipt, last = captured.accesses[0], captured.accesses[2], captured.accesses[-1]
        assert "secret" not in str(captured.spans)
    assert send["noclobber.resource"] == "pubsub://bank/topics/orders"
    assert receipt["noclobber.resource"] == "pubsub://bank/subscriptions/counting"
    assert receipt["noclobber.message.group"] == receipt["noclobber.resource"]
    assert (receipt["noclobber.partial"], last["noclobber.message.delivery"]) == (True, 2)


def test_streamed_to_callbacks(service: Service) -> None:
    """A callback's thread has received its message and settles it; given back, it comes again, and is told so."""
    service.counts = True
    handled: list[str] = []
    done = threading.Event()

    def handle(message: Any) -> None:
        handled.append(message.message_id)
        message.modify_ack_deadline(30)
        if len(handled) == 1:
            message.nack()
        else:
            message.ack()
            done.set()

    with capture(background=True) as captured:
        (name,) = publish(b"an order")
        with SubscriberClient() as client:
            pulling = client.subscribe(SUBSCRIPTION, handle)
            assert done.wait(TIMEOUT_S)
            pulling.cancel()
            pulling.result(TIMEOUT_S)
        assert told(captured) == [
            ("send", name, "ok"), ("receive", name, "ok"), ("nack", name, "ok"), ("receive", name, "ok"),
            ("ack", name, "ok"),
        ]  # fmt: skip
        receipts = [each for each in captured.accesses if each["noclobber.op"] == "receive"]
        strands = {each["noclobber.strand"] for each in receipts}
    assert [each["noclobber.message.delivery"] for each in receipts] == [1, 2]
    assert all("noclobber.partial" not in each for each in receipts)
    assert "test-1" not in strands
    assert handled == [name, name]


async def test_asyncio(service: Service) -> None:
    """The asynchronous clients' calls are told alike."""
    channel = grpc.aio.insecure_channel(service.address)
    sending = PublisherAsyncClient(
        transport=PublisherGrpcAsyncIOTransport(channel=channel, credentials=AnonymousCredentials())
    )
    getting = SubscriberAsyncClient(
        transport=SubscriberGrpcAsyncIOTransport(channel=channel, credentials=AnonymousCredentials())
    )
    async with asyncio.timeout(TIMEOUT_S):
        with capture() as captured:
            (name,) = (await sending.publish(topic=TOPIC, messages=[{"data": b"an order"}])).message_ids
            got = (await getting.pull(subscription=SUBSCRIPTION, max_messages=5)).received_messages
            await getting.acknowledge(subscription=SUBSCRIPTION, ack_ids=[got[0].ack_id])
            assert told(captured) == [("send", name, "ok"), ("receive", name, "ok"), ("ack", name, "ok")]
    await channel.close()
    assert service.waiting == {}


def test_a_service_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody answered may have been published, under a name that nobody knows."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    with capture(background=True) as captured:
        client = PublisherClient()
        future = client.publish(TOPIC, b"an order", retry=None, timeout=0.2)
        assert future.exception(TIMEOUT_S) is not None
        client.stop()
        client.transport.close()
        (access,) = captured.accesses
    assert (access["noclobber.outcome"], access["noclobber.partial"]) == ("unknown", True)
