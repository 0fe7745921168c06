"""Guarded objects and items in moto's server: conditions that the store checks, and nothing beside them."""

import contextvars
from collections.abc import Iterator
from typing import Any

import pytest
from moto_stage import KEY_ID, SECRET, aws, client

import noclobber
from noclobber import StaleWrite, Unguardable
from noclobber.guarding import aws as aws_guard
from noclobber.settings import Settings
from noclobber_analyzer.watching import Watched, hooked, watched

pytestmark = pytest.mark.long  # the server takes seconds to start
S3 = "s3://agents/*"
ITEMS = "dynamodb://eu-west-1/accounts/*"
TABLE: Any = {
    "TableName": "accounts", "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A bucket and a table."""
    with aws() as url:
        s3, dynamodb = client("s3", url), client("dynamodb", url)
        s3.create_bucket(Bucket="agents", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        dynamodb.create_table(**TABLE)
        s3.close()
        dynamodb.close()
        yield url


@pytest.fixture
def seen() -> Iterator[Watched]:
    """What this process does, recorded."""
    settings = Settings(service="test", send=False, spool=None, cpu_budget=0.0)
    with hooked(settings), watched(settings) as found:
        yield found


def kinds(seen: Watched) -> tuple[int, set[str]]:
    """How many findings, and the reasons of what was defended."""
    evaluation = seen.evaluation()
    return len(evaluation.findings), {str(each.reason) for each in evaluation.defended}


def test_an_object(server: str, seen: Watched) -> None:
    """If-Match with what was read, If-None-Match where nothing was; the other's object is still there."""
    s3 = client("s3", server)
    s3.put_object(Bucket="agents", Key="plan", Body=b"0")
    with noclobber.agent("A"), noclobber.guarded(S3):
        s3.get_object(Bucket="agents", Key="plan")["Body"].read()
        with noclobber.agent("B"):
            s3.put_object(Bucket="agents", Key="other", Body=b"B", IfNoneMatch="*")
        _past_the_guard(s3, "plan")
        with pytest.raises(StaleWrite, match="s3://agents/plan has changed since it was read"):
            s3.put_object(Bucket="agents", Key="plan", Body=b"A")
        assert s3.get_object(Bucket="agents", Key="plan")["Body"].read() == b"B"
        s3.put_object(Bucket="agents", Key="plan", Body=b"A")
        s3.put_object(Bucket="agents", Key="plan", Body=b"A2")
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="agents", Key="new")
        _past_the_guard(s3, "new")
        with pytest.raises(StaleWrite):
            s3.put_object(Bucket="agents", Key="new", Body=b"A")
        with pytest.raises(Unguardable, match="DeleteObject"):
            s3.delete_object(Bucket="agents", Key="plan")
        with pytest.raises(Unguardable, match="was not read"):
            s3.put_object(Bucket="agents", Key="unread", Body=b"A")
    assert s3.get_object(Bucket="agents", Key="plan")["Body"].read() == b"A2"
    s3.delete_object(Bucket="agents", Key="plan")
    s3.close()
    assert kinds(seen) == (0, {"rejected", "unique"})


def _past_the_guard(s3: Any, key: str) -> None:
    """Somebody else's write, who guards nothing."""
    contextvars.Context().run(s3.put_object, Bucket="agents", Key=key, Body=b"B")


@pytest.mark.parametrize("way", ["client", "resource"])
def test_an_item(server: str, seen: Watched, way: str) -> None:
    """Each attribute that was read is a condition, in the client's typed values and in the resource's own."""
    dynamodb = client("dynamodb", server)
    table = _Table(server, way)
    dynamodb.put_item(TableName="accounts", Item={"id": {"S": way}, "balance": {"N": "100"}})
    with noclobber.agent("A"), noclobber.guarded(ITEMS):
        table.read(way)
        with noclobber.guarded("s3://nobody/*"), noclobber.agent("B"):
            dynamodb.update_item(
                TableName="accounts", Key={"id": {"S": way}}, UpdateExpression="SET balance = balance - :n",
                ConditionExpression="attribute_exists(id)", ExpressionAttributeValues={":n": {"N": "30"}},
            )  # fmt: skip
        with pytest.raises(StaleWrite):
            table.put(way, 90)
        assert table.read(way) == 70
        table.put(way, 60)
        with pytest.raises(Unguardable, match="was not read"):
            table.put(way, 50)
        with pytest.raises(Unguardable, match="BatchWriteItem"):
            dynamodb.batch_write_item(RequestItems={"accounts": [{"PutRequest": {"Item": {"id": {"S": way}}}}]})
        assert table.read(f"{way}-new") is None
        table.put(f"{way}-new", 1)
    assert (table.read(way), table.read(f"{way}-new")) == (60, 1)
    table.close()
    dynamodb.close()
    assert kinds(seen)[0] == 0
    assert "rejected" in kinds(seen)[1]


def test_outside_of_the_block_nothing_is_asked(server: str) -> None:
    """Neither DescribeTable nor anything else, whoever guards beside it; the block's own asks once."""
    dynamodb = client("dynamodb", server)
    asked: list[str] = []
    dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: asked.append(model.name))
    aws_guard._keys.clear()
    item: Any = {"TableName": "accounts", "Item": {"id": {"S": "mine"}}}
    with noclobber.guarded("s3://agents/*", ITEMS):
        contextvars.Context().run(dynamodb.put_item, **item)
        assert asked == ["PutItem"]
        with pytest.raises(Unguardable, match="was not read"):
            dynamodb.put_item(**item)
        assert asked == ["PutItem", "DescribeTable"]
    with noclobber.guarded("s3://agents/*"):
        dynamodb.put_item(**item)
    assert asked == ["PutItem", "DescribeTable", "PutItem"]
    dynamodb.close()


class _Table:
    """The table, through a client or a resource."""

    def __init__(self, server: str, way: str) -> None:
        self._client = client("dynamodb", server)
        self._typed = way == "client"
        self._table: Any = None
        if not self._typed:
            import boto3

            self._table = boto3.resource(
                "dynamodb", endpoint_url=server, region_name="eu-west-1", aws_access_key_id=KEY_ID,
                aws_secret_access_key=SECRET,
            ).Table("accounts")  # fmt: skip

    def read(self, name: str) -> int | None:
        """The balance."""
        if self._typed:
            item = self._client.get_item(TableName="accounts", Key={"id": {"S": name}}).get("Item")
            return int(item["balance"]["N"]) if item else None
        item = self._table.get_item(Key={"id": name}).get("Item")
        return int(item["balance"]) if item else None

    def put(self, name: str, balance: int) -> None:
        """Replace the item."""
        if self._typed:
            self._client.put_item(TableName="accounts", Item={"id": {"S": name}, "balance": {"N": str(balance)}})
        else:
            self._table.put_item(Item={"id": name, "balance": balance})

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._table is not None:
            self._table.meta.client.close()
