"""SQS through boto3 against a real server: ids on both sides, deliveries, batches, and two workers on one task."""

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from driver_stage import TIMEOUT_S, findings, together
from moto_stage import KEY_ID, SECRET, aws, client

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

QUEUE = "sqs://eu-west-1/123456789012/tasks"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own."""
    with aws() as found:
        s3 = client("s3", found)
        s3.create_bucket(Bucket="results", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.close()
        yield found


@pytest.fixture
def sqs(url: str) -> Iterator[tuple[Any, str]]:
    """A client, and the URL of an empty queue."""
    made = client("sqs", url)
    queue = made.create_queue(QueueName="tasks")["QueueUrl"]
    yield made, queue
    made.delete_queue(QueueUrl=queue)
    made.close()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        tuple(each.get(f"noclobber.{name}") for name in ("op", "outcome", "message.id", *more))
        for each in captured.accesses
    ]


def test_send_receive_delete(sqs: tuple[Any, str]) -> None:
    """A message's id is on all that happens to it; a receive that gives nothing touched nothing."""
    client, queue = sqs
    with capture(agent="worker") as captured:
        client.receive_message(QueueUrl=queue)
        sent = client.send_message(QueueUrl=queue, MessageBody="a task")["MessageId"]
        for _ in range(2):
            (got,) = client.receive_message(QueueUrl=queue, AttributeNames=["ApproximateReceiveCount"])["Messages"]
            client.change_message_visibility(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=0)
        (got,) = client.receive_message(QueueUrl=queue)["Messages"]
        client.change_message_visibility(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=60)
        client.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
        accesses = captured.accesses
    assert told(captured, "message.delivery", "message.group") == [
        ("send", "ok", sent, None, None),
        ("receive", "ok", sent, 1, QUEUE), ("nack", "ok", sent, None, QUEUE),
        ("receive", "ok", sent, 2, QUEUE), ("nack", "ok", sent, None, QUEUE),
        ("receive", "ok", sent, None, QUEUE), ("ack", "ok", sent, None, QUEUE),
    ]  # fmt: skip
    assert [each["noclobber.seq"] for each in accesses] == list(range(1, 8))
    assert {each["noclobber.resource"] for each in accesses} == {QUEUE}
    assert all(span.start_ns < span.end_ns for span in captured.spans)
    assert {each["code.function.name"] for each in accesses} == {"test_send_receive_delete"}
    assert (captured.spans[1].name, captured.spans[1].library) == ("receive aws_sqs", "botocore")


def test_batches(sqs: tuple[Any, str]) -> None:
    """One access a message, in order; an entry that failed says so alone."""
    client, queue = sqs
    entries = [{"Id": name, "MessageBody": f"task {name}"} for name in ("a", "b")]
    with capture() as captured:
        sent = client.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]
        got = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        handles = [each["ReceiptHandle"] for each in got]
        client.delete_message_batch(
            QueueUrl=queue,
            Entries=[{"Id": str(number), "ReceiptHandle": each} for number, each in enumerate((*handles, "unknown"))],
        )
        ids = [each["MessageId"] for each in got]
        assert told(captured, "partial") == [
            *(("send", "ok", each["MessageId"], None) for each in sent),
            *(("receive", "ok", each, True) for each in ids),
            *(("ack", "ok", each, None) for each in ids),
            ("ack", "error", None, True),
        ]


def test_a_queue_that_is_not_there(sqs: tuple[Any, str]) -> None:
    """A send that was refused was not sent; a receive that was refused received nothing."""
    client, queue = sqs
    with capture() as captured:
        for act in (
            lambda: client.send_message(QueueUrl=f"{queue}-none", MessageBody="a task"),
            lambda: client.receive_message(QueueUrl=f"{queue}-none"),
        ):
            with pytest.raises(ClientError):
                act()
        assert told(captured) == [("send", "error", None)]


@pytest.mark.parametrize(
    ("lease_s", "counted", "found"),
    [
        (0, True, [("duplicate_delivery", "certain")]),
        (0, False, [("double_claim", "possible")]),
        (60, True, []),
        (60, False, []),
    ],
)
def test_two_workers_on_one_task(
    sqs: tuple[Any, str], lease_s: int, counted: bool, found: list[tuple[str, str]], tmp_path: Path
) -> None:
    """A lease that runs out during the work gives the task to a second worker; who can't tell whether so is modest."""
    worker, queue = sqs
    stored = client("s3", worker.meta.endpoint_url)
    first, received = threading.Event(), threading.Barrier(2)
    asked = {"QueueUrl": queue, "VisibilityTimeout": lease_s}
    if counted:
        asked["AttributeNames"] = ["ApproximateReceiveCount"]

    def work(turn: int) -> None:
        assert not turn or first.wait(TIMEOUT_S)
        got = worker.receive_message(**asked).get("Messages", [])
        first.set()
        received.wait(TIMEOUT_S)
        for message in got:
            stored.put_object(Bucket="results", Key="report", Body=f"result of {message['ReceiptHandle']}")
            worker.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])

    worker.send_message(QueueUrl=queue, MessageBody="a task")
    with capture(fixed=False) as captured:
        together(functools.partial(work, 0), functools.partial(work, 1))
    stored.close()
    told_of = [each for each in findings(captured, tmp_path) if each[0] != "blind_overwrite"]
    assert told_of == found


def test_secrets_stay(sqs: tuple[Any, str]) -> None:
    """Neither bodies and attributes, nor receipt handles, nor credentials are in what is sent."""
    client, queue = sqs
    with capture() as captured:
        note = {"note": {"DataType": "String", "StringValue": "planted-note"}}
        client.send_message(QueueUrl=queue, MessageBody="planted-body", MessageAttributes=note)
        (got,) = client.receive_message(QueueUrl=queue)["Messages"]
        client.delete_message(QueueUrl=queue, ReceiptHandle=got["ReceiptHandle"])
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("planted-body", "planted-note", got["ReceiptHandle"], got["MD5OfBody"], KEY_ID, SECRET):
        assert secret not in sent
