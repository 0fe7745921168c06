"""DynamoDB through boto3 against a real server: items, parts, conditions, exact mode, replies as without it."""

import functools
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError
from driver_stage import TIMEOUT_S, findings, judged, together
from moto_stage import KEY_ID, SECRET, aws, client

from noclobber.otlp import json_line
from noclobber.stores.dynamodb import _bytes
from noclobber.testing import Captured, capture

ITEM = "dynamodb://eu-west-1/accounts/id=acct-1"
KEY = {"id": {"S": "acct-1"}}
START = {**KEY, "bal": {"N": "10000100"}, "version": {"N": "10000001"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own."""
    with aws() as found:
        yield found


@pytest.fixture
def dynamodb(url: str) -> Iterator[Any]:
    """A client, and a table with one item."""
    made = client("dynamodb", url)
    made.create_table(
        TableName="accounts", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    made.put_item(TableName="accounts", Item=START)
    yield made
    made.delete_table(TableName="accounts")
    made.close()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        tuple(each.get(f"noclobber.{name}") for name in ("op", "resource", "outcome", *more))
        for each in captured.accesses
    ]


def put(dynamodb: Any, **more: Any) -> Any:
    return dynamodb.put_item(TableName="accounts", Item={**START, "bal": {"N": "10000150"}}, **more)


def get(dynamodb: Any, **more: Any) -> Any:
    return dynamodb.get_item(TableName="accounts", Key=KEY, **more)["Item"]


def test_read_then_write(dynamodb: Any) -> None:
    """What was read is the base of what is written: of the whole by a put, of one attribute by an update."""
    with capture() as captured:
        get(dynamodb)
        dynamodb.update_item(
            TableName="accounts", Key=KEY, UpdateExpression="SET #b = :b", ExpressionAttributeNames={"#b": "bal"},
            ExpressionAttributeValues={":b": {"N": "10000150"}},
        )  # fmt: skip
        get(dynamodb, ProjectionExpression="bal")
        put(dynamodb)
        read, update, part, write = captured.accesses
    assert told(captured, "part", "version.verbatim") == [
        ("read", ITEM, "ok", None, False),
        ("write", ITEM, "ok", "bal", False),
        ("read", ITEM, "ok", "bal", False),
        ("write", ITEM, "ok", None, False),
    ]
    assert update["noclobber.version.base"] != read["noclobber.version.read"]
    assert update["noclobber.version.written"] == part["noclobber.version.read"]
    assert write["noclobber.version.base"] == write["noclobber.version.written"]  # as the update had left it
    assert {each["noclobber.version.base.source"] for each in (update, write)} == {"observed"}


def test_updates_in_place(dynamodb: Any) -> None:
    """What the store computes is an update; what is set beside it is a write of its own."""
    with capture() as captured:
        dynamodb.update_item(
            TableName="accounts", Key=KEY, UpdateExpression="SET bal = bal + :d, note = :n ADD version :d",
            ExpressionAttributeValues={":d": {"N": "1"}, ":n": {"S": "something"}},
        )  # fmt: skip
        assert told(captured, "part", "write.mode") == [
            ("write", ITEM, "ok", "note", None),
            ("update", ITEM, "ok", ["bal", "version"], "increment"),
        ]


EQUAL = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": START["version"]}}
STALE = {**EQUAL, "ExpressionAttributeValues": {":v": {"N": "7"}}}
NEW = {"ConditionExpression": "attribute_not_exists(id)"}
TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda d: put(d, **EQUAL), [("write", ITEM, "ok", "version")]),
    (lambda d: put(d, **STALE), [("write", ITEM, "rejected", "version")]),
    (lambda d: put(d, **NEW), [("write", ITEM, "rejected", "unique")]),
    (lambda d: d.delete_item(TableName="accounts", Key=KEY), [("delete", ITEM, "ok", None)]),
    (lambda d: d.delete_item(TableName="accounts", Key=KEY, **NEW), [("delete", ITEM, "rejected", "unique")]),
    (lambda d: d.get_item(TableName="accounts", Key={"id": {"S": "no"}}),
     [("read", ITEM.replace("acct-1", "no"), "not_found", None)]),
    (lambda d: d.get_item(TableName="nowhere", Key=KEY),
     [("read", ITEM.replace("accounts", "nowhere"), "error", None)]),
    (lambda d: d.scan(TableName="accounts"), [("scan", ITEM.rpartition("id=")[0], "ok", None)]),
    (lambda d: d.batch_write_item(RequestItems={"accounts": [{"PutRequest": {"Item": START}}]}),
     [("write", ITEM, "ok", None)]),
    (lambda d: d.list_tables(), []),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_operations(dynamodb: Any, number: int) -> None:
    """What each operation is, and how it ended."""
    act, expected = TABLE[number]
    with capture() as captured:
        get(dynamodb)
        try:
            act(dynamodb)
        except ClientError:
            assert not any(each[2] == "ok" for each in expected)
        assert told(captured, "guard")[1:] == expected


def test_conditions_compare_what_was_seen(dynamodb: Any) -> None:
    """A condition on one attribute compared the state that was read with it; a refusal tells the state that refused."""
    with capture() as captured:
        get(dynamodb)
        with pytest.raises(ClientError) as raised:
            put(dynamodb, **STALE, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        put(dynamodb, **EQUAL)
        read, refused, write = captured.accesses
    assert raised.value.response["Item"] == START
    assert refused["noclobber.version.read"] == read["noclobber.version.read"]
    assert "noclobber.version.base" not in refused
    for name in ("version.base", "version.expected"):
        assert write[f"noclobber.{name}"] == read["noclobber.version.read"]
    assert write["noclobber.version.base.source"] == "explicit"


def test_python_values_are_the_same_state(dynamodb: Any, url: str) -> None:
    """boto3's tables speak Python's values, its clients DynamoDB's: one state has one print, and one name."""
    tables = boto3.resource(
        "dynamodb", endpoint_url=url, region_name="eu-west-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    )
    table = tables.Table("accounts")
    with capture() as captured:
        get(dynamodb)
        table.get_item(Key={"id": "acct-1"})
        item = {"id": "acct-1", "bal": Decimal("10000100.0"), "version": 10000001}
        table.put_item(Item=item, ConditionExpression=Attr("version").eq(10000001) & Attr("id").exists())
        typed, plain, write = captured.accesses
    tables.meta.client.close()
    assert {each["noclobber.resource"] for each in captured.accesses} == {ITEM}
    assert typed["noclobber.version.read"] == plain["noclobber.version.read"] == write["noclobber.version.written"]
    assert write["noclobber.version.expected"] == typed["noclobber.version.read"]


def test_canonical_values() -> None:
    """Typed and plain values of every kind give the same bytes, and different ones do not."""
    pairs: list[tuple[Any, Any]] = [
        ({"S": "x"}, "x"), ({"N": "1.50"}, Decimal("1.5")), ({"N": "100"}, 100), ({"B": b"x"}, b"x"),
        ({"BOOL": True}, True), ({"NULL": True}, None), ({"SS": ["b", "a"]}, {"a", "b"}),
        ({"NS": ["2", "1.0"]}, {Decimal(1), Decimal(2)}), ({"L": [{"S": "x"}, {"N": "1"}]}, ["x", 1]),
        ({"M": {"a": {"M": {"b": {"N": "1"}}}}}, {"a": {"b": 1}}),
    ]  # fmt: skip
    for typed, plain in pairs:
        assert _bytes(typed) == _bytes(plain)
    assert _bytes({"L": [{"N": "1"}]}) != _bytes({"L": [{"N": "2"}]})


def test_exact_mode_asks_and_does_not_tell(dynamodb: Any) -> None:
    """The write says what it replaced, and its caller gets what a plain write gives; one who asked gets the answer."""
    plain = put(dynamodb)
    with capture(exact=("dynamodb://*/accounts/*",)) as captured:
        assert put(dynamodb).keys() == plain.keys()
        assert put(dynamodb, ReturnValues="ALL_OLD")["Attributes"]["bal"] == {"N": "10000150"}
        dynamodb.delete_item(TableName="accounts", Key=KEY)
        put(dynamodb)
        accesses = captured.accesses
    states = [each["noclobber.version.overwritten"] for each in accesses]
    assert states[0] == states[1] == states[2] == accesses[0]["noclobber.version.written"]
    assert states[3] == "absent"
    with capture() as captured:
        put(dynamodb)
        assert "noclobber.version.overwritten" not in captured.accesses[0]


def test_exact_mode_where_it_is_not_allowed(dynamodb: Any) -> None:
    """A policy that forbids to ask for what is replaced: the plain call follows, and the caller sees nothing of it."""

    def forbid(model: Any, params: Any, **_: Any) -> Any:
        if b"ALL_OLD" in params["body"]:
            code = {"Code": "AccessDeniedException", "Message": "no"}
            return SimpleNamespace(status_code=400), {"Error": code, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return None

    dynamodb.meta.events.register("before-call.dynamodb.PutItem", forbid)
    with capture(exact=("*",)) as captured:
        assert put(dynamodb)["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert told(captured, "version.overwritten") == [("write", ITEM, "ok", None)]
        assert get(dynamodb)["bal"] == {"N": "10000150"}


@pytest.mark.parametrize(("retries", "outcome"), [(0, "rejected"), (1, "unknown")])
def test_a_refused_repetition_is_unknown(dynamodb: Any, retries: int, outcome: str) -> None:
    """Where botocore asked twice, the first may have been applied, and be what refuses the second."""

    def refuse(**_: Any) -> Any:
        about = {"HTTPStatusCode": 400, "RetryAttempts": retries}
        return SimpleNamespace(status_code=400), {
            "Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}, "ResponseMetadata": about,
        }  # fmt: skip

    dynamodb.meta.events.register("before-call.dynamodb.PutItem", refuse)
    with capture() as captured:
        with pytest.raises(ClientError):
            put(dynamodb, **EQUAL)
        assert told(captured) == [("write", ITEM, outcome)]


def book(dynamodb: Any, amount: int, read: threading.Barrier, how: str) -> None:
    item, met = get(dynamodb), False
    if how == "atomic":
        read.wait(TIMEOUT_S)
        dynamodb.update_item(
            TableName="accounts", Key=KEY, UpdateExpression="SET bal = bal + :d",
            ExpressionAttributeValues={":d": {"N": str(amount)}},
        )  # fmt: skip
        return
    while True:
        if not met:
            met = read.wait(TIMEOUT_S) >= 0
        version = item["version"]
        item["bal"] = {"N": str(int(item["bal"]["N"]) + amount)}
        item["version"] = {"N": str(int(version["N"]) + 1)}
        guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": version}}
        try:
            dynamodb.put_item(TableName="accounts", Item=item, **(guard if how == "guarded" else {}))
            return
        except ClientError:
            item = get(dynamodb)


@pytest.mark.parametrize(
    ("how", "exact", "verdict"),
    [
        ("plain", (), ([("lost_update", "likely")], [])),
        ("plain", ("*",), ([("lost_update", "certain")], [])),
        ("guarded", (), ([], ["rejected"])),
        ("guarded", ("*",), ([], ["rejected"])),
        ("atomic", (), ([], ["atomic", "atomic"])),
    ],
)
def test_races_and_twins(dynamodb: Any, how: str, exact: tuple[str, ...], verdict: Any, tmp_path: Path) -> None:
    """Two agents add to one balance: a put loses one, a condition refuses it, an update in place needs none."""
    read = threading.Barrier(2)
    with capture(fixed=False, exact=exact) as captured:
        together(*(functools.partial(book, dynamodb, each, read, how) for each in (50, -20)))
    defended = [str(each.reason) for each in judged(captured, tmp_path).defended]
    assert (findings(captured, tmp_path), defended) == verdict


def test_secrets_stay(dynamodb: Any) -> None:
    """No attribute's value but the key's, and no credential, is in what is sent."""
    with capture() as captured:
        get(dynamodb)
        put(dynamodb, ConditionExpression="bal <> :x", ExpressionAttributeValues={":x": {"S": "planted-value"}})
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("planted-value", "10000150", "10000100", KEY_ID, SECRET):
        assert secret not in sent
