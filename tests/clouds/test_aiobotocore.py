"""aiobotocore against moto's server: told as botocore's calls are; races found, safe twins defended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiobotocore", reason="aiobotocore needs an older botocore; run with `nox -s clouds`")
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from judging_agents import judged
from moto_stage import aws, client
from planted_run import planted

from noclobber.testing import capture


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that keeps what the agents share."""
    with aws() as found:
        s3 = client("s3", found)
        s3.create_bucket(Bucket="agents", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket="agents", Key="balance.json", Body=b'{"balance": 100}')
        s3.close()
        dynamodb = client("dynamodb", found)
        dynamodb.create_table(
            TableName="accounts", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )  # fmt: skip
        start = {"id": {"S": "acct-1"}, "balance": {"N": "10000100"}, "version": {"N": "10000001"}}
        dynamodb.put_item(TableName="accounts", Item=start)
        dynamodb.close()
        sqs = client("sqs", found)
        sqs.create_queue(QueueName="tasks")
        sqs.close()
        yield found


@pytest.mark.parametrize(
    ("service", "resource"),
    [("s3", "s3://agents/balance.json"), ("dynamodb", "dynamodb://eu-west-1/accounts/id=acct-1")],
)
def test_race_and_twin(service: str, resource: str, url: str, tmp_path: Path) -> None:
    """One line of difference in the agents, and nothing of noclobber in them."""
    plain = judged(tmp_path / "plain.jsonl", "async_cloud.py", service, "plain", url, scope="aiobotocore")
    assert plain.kinds == [("lost_update", "likely")]
    assert plain.findings[0]["resource"] == resource
    safe = judged(tmp_path / "safe.jsonl", "async_cloud.py", service, "safe", url, scope="aiobotocore")
    assert (safe.findings, safe.summary["defended"]) == ([], {"rejected": 1})
    assert "secret" not in plain.spans + safe.spans


def test_two_workers_and_one_task(url: str, tmp_path: Path) -> None:
    """A task whose lease ran out is counted twice; with a lease that lasts it is handed out once."""
    sqs = client("sqs", url)
    queue = sqs.get_queue_url(QueueName="tasks")["QueueUrl"]
    found = []
    for how in ("plain", "safe"):
        sqs.send_message(QueueUrl=queue, MessageBody="an order")
        found.append(judged(tmp_path / f"{how}.jsonl", "async_cloud.py", "sqs", how, url, scope="aiobotocore").kinds)
    sqs.close()
    assert found == [[("duplicate_delivery", "certain")], []]


def made(url: str) -> Any:
    return get_session().create_client(
        "dynamodb", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="none"
    )


async def test_exact_mode_changes_no_reply(url: str) -> None:
    """Asked what it replaced, a write tells it; the caller gets the reply without it."""
    item = {"id": {"S": "acct-9"}, "note": {"S": "a note of some length"}}
    async with made(url) as dynamodb:
        with capture(exact=("*",)) as captured:
            await dynamodb.get_item(TableName="accounts", Key={"id": {"S": "acct-9"}})  # which tells the table's key
            for _ in range(2):
                reply = await dynamodb.put_item(TableName="accounts", Item=item)
            access = captured.accesses[-1]
    assert "Attributes" not in reply
    assert access["noclobber.version.overwritten"] == access["noclobber.version.written"]


async def test_an_error_is_the_callers(url: str) -> None:
    """A refused write is told as refused, and raised as it is."""
    async with made(url) as dynamodb:
        with capture() as captured:
            await dynamodb.get_item(TableName="accounts", Key={"id": {"S": "acct-1"}})  # which tells the table's key
            with pytest.raises(ClientError):
                await dynamodb.put_item(
                    TableName="accounts", Item={"id": {"S": "acct-1"}}, ConditionExpression="attribute_not_exists(id)"
                )
            access = captured.accesses[-1]
    assert (access["noclobber.outcome"], access["noclobber.guard"]) == ("rejected", "unique")


def test_secrets_stay(tmp_path: Path) -> None:
    """Bodies, items, messages and credentials: none of them leaves."""
    with aws() as url:
        planted(("aiobotocore",), {"AWS": url}, tmp_path)
