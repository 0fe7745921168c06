"""DynamoDB's batches and transactions through boto3 against a real server: each item alone, none where refused."""

import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from driver_stage import TIMEOUT_S, findings, judged, together
from moto_stage import KEY_ID, SECRET, aws, client

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

TABLE = "dynamodb://eu-west-1/books/"
START = {"bal": {"N": "10000100"}, "version": {"N": "10000001"}}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of its own."""
    with aws() as found:
        yield found


@pytest.fixture
def dynamodb(url: str) -> Iterator[Any]:
    """A client, and a table with two items."""
    made = client("dynamodb", url)
    made.create_table(
        TableName="books", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )  # fmt: skip
    for name in ("a", "b"):
        made.put_item(TableName="books", Item={**key(name), **START})
    yield made
    made.delete_table(TableName="books")
    made.close()


def key(name: str) -> dict[str, Any]:
    return {"id": {"S": name}}


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    """Operation, item, outcome, and `more` of each access."""
    return [
        (
            each["noclobber.op"], each["noclobber.resource"].removeprefix(TABLE + "id="), each["noclobber.outcome"],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
    ]  # fmt: skip


def get_both(dynamodb: Any, how: str, *names: str, **more: Any) -> Any:
    if how == "batch":
        return dynamodb.batch_get_item(RequestItems={"books": {"Keys": [key(each) for each in names], **more}})
    items = [{"Get": {"TableName": "books", "Key": key(each), **more}} for each in names]
    return dynamodb.transact_get_items(TransactItems=items)


@pytest.mark.parametrize("how", ["batch", "transaction"])
def test_reads(dynamodb: Any, how: str) -> None:
    """Each item is a read of its own, with the version that a single read has; what is not there is not found."""
    with capture() as captured:
        dynamodb.get_item(TableName="books", Key=key("a"))
        get_both(dynamodb, how, "b", "none", "a")
        single, *_, last = captured.accesses
        assert told(captured) == [
            ("read", "a", "ok"), ("read", "b", "ok"), ("read", "none", "not_found"), ("read", "a", "ok"),
        ]  # fmt: skip
    assert single["noclobber.version.read"] == last["noclobber.version.read"]
    assert [each["noclobber.seq"] for each in captured.accesses] == [1, 2, 3, 4]


@pytest.mark.parametrize(("how", "partial"), [("batch", True), ("transaction", None)])
def test_reads_without_keys(dynamodb: Any, how: str, partial: bool | None) -> None:
    """A batch whose items come without their keys can't be told apart; a transaction's can."""
    with capture() as captured:
        get_both(dynamodb, how, "a", "b", ProjectionExpression="bal")
        assert told(captured, "part", "partial") == [(*each, "bal", partial) for each in
                                                     (("read", "a", "ok"), ("read", "b", "ok"))]  # fmt: skip


def test_batch_write(dynamodb: Any) -> None:
    """Puts and deletes, with what was read before as their bases."""
    with capture() as captured:
        get_both(dynamodb, "batch", "a", "b")
        requests = [
            {"PutRequest": {"Item": {**key("a"), "bal": {"N": "10000150"}}}},
            {"DeleteRequest": {"Key": key("b")}},
        ]
        dynamodb.batch_write_item(RequestItems={"books": requests})
        first, second, put, delete = captured.accesses
    assert told(captured)[2:] == [("write", "a", "ok"), ("delete", "b", "ok")]
    for read, change in ((first, put), (second, delete)):
        assert change["noclobber.version.base"] == read["noclobber.version.read"]
        assert change["noclobber.version.base.source"] == "observed"
    assert delete["noclobber.version.written"] == "absent"


@pytest.mark.parametrize("operation", ["BatchWriteItem", "BatchGetItem"])
def test_what_is_left_over_was_not_done(dynamodb: Any, operation: str) -> None:
    """What a batch gives back was neither written nor read."""

    def leave(**_: Any) -> Any:
        left: dict[str, Any] = {
            "BatchWriteItem": {"UnprocessedItems": {"books": [{"PutRequest": {"Item": key("b")}}]}},
            "BatchGetItem": {"Responses": {"books": [key("a")]}, "UnprocessedKeys": {"books": {"Keys": [key("b")]}}},
        }[operation]
        return SimpleNamespace(status_code=200), {**left, "ResponseMetadata": {"HTTPStatusCode": 200}}

    dynamodb.meta.events.register(f"before-call.dynamodb.{operation}", leave)
    with capture() as captured:
        dynamodb.get_item(TableName="books", Key=key("none"))  # the table's key is known from here on
        if operation == "BatchGetItem":
            get_both(dynamodb, "batch", "a", "b")
        else:
            puts = [{"PutRequest": {"Item": key(each)}} for each in ("a", "b")]
            dynamodb.batch_write_item(RequestItems={"books": puts})
        assert [each[1:] for each in told(captured)[1:]] == [("a", "ok"), ("b", "error")]


def move(dynamodb: Any, version: Any = START["version"], **more: Any) -> Any:
    """A transaction of all four kinds."""
    guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": version}}
    update = {
        "UpdateExpression": "SET bal = bal + :d, note = :n",
        "ExpressionAttributeValues": {":d": {"N": "1"}, ":n": {"S": "something"}},
    }
    return dynamodb.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "books", "Item": {**key("c"), **START}}},
            {"Update": {"TableName": "books", "Key": key("b"), **update}},
            {"Delete": {"TableName": "books", "Key": key("none")}},
            {"ConditionCheck": {"TableName": "books", "Key": key("a"), **guard, **more}},
        ]
    )


def test_transaction(dynamodb: Any) -> None:
    """Each item's own write, update or delete; what is only insisted on was seen."""
    with capture() as captured:
        dynamodb.get_item(TableName="books", Key=key("a"), ProjectionExpression="version")
        move(dynamodb)
        seen, *_, check = captured.accesses
        assert told(captured, "part")[1:] == [
            ("write", "c", "ok", None), ("write", "b", "ok", "note"), ("update", "b", "ok", "bal"),
            ("delete", "none", "ok", None), ("read", "a", "ok", "version"),
        ]  # fmt: skip
    assert check["noclobber.version.read"] == seen["noclobber.version.read"]


def test_a_refused_transaction_did_nothing(dynamodb: Any) -> None:
    """One condition refuses all of it; the item that refused says what it was."""
    with capture() as captured:
        dynamodb.get_item(TableName="books", Key=key("a"))
        with pytest.raises(ClientError) as raised:
            move(dynamodb, {"N": "7"}, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        assert told(captured, "guard")[1:] == [
            ("write", "c", "rejected", "version"), ("write", "b", "rejected", "version"),
            ("update", "b", "rejected", "version"), ("delete", "none", "rejected", "version"),
            ("read", "a", "error", None),
        ]  # fmt: skip
    assert raised.value.response["Error"]["Code"] == "TransactionCanceledException"


def test_who_lost_to_another_transaction_was_not_refused(dynamodb: Any) -> None:
    """A transaction that another one was in the way of did nothing, and no guard says why."""

    def refuse(**_: Any) -> Any:
        reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}, {"Code": "None"}]
        return SimpleNamespace(status_code=400), {
            "Error": {"Code": "TransactionCanceledException", "Message": "no"}, "CancellationReasons": reasons,
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }  # fmt: skip

    dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", refuse)
    with capture() as captured:
        with pytest.raises(ClientError):
            move(dynamodb)
        assert {each[2] for each in told(captured)} == {"error"}


def test_what_botocore_refuses_is_no_access(dynamodb: Any) -> None:
    """Calls that can't be right raise what they raise, and are no accesses."""
    wrong: list[Callable[[], Any]] = [
        lambda: dynamodb.batch_write_item(RequestItems={"books": [{"What": 1}]}),
        lambda: dynamodb.transact_get_items(TransactItems=[{"Get": {"TableName": "books"}}]),
        lambda: dynamodb.transact_write_items(TransactItems=7),
        lambda: dynamodb.get_item(TableName="books"),
    ]
    with capture() as captured:
        for act in wrong:
            with pytest.raises(ParamValidationError):
                act()
        assert captured.accesses == []


def book(dynamodb: Any, amount: int, read: threading.Barrier, how: str) -> None:
    """Read both balances, then move something from one to the other in one transaction."""
    read_all, met = functools.partial(get_both, dynamodb, "transaction", "a", "b"), False
    while True:
        items = [each["Item"] for each in read_all()["Responses"]]
        met = met or read.wait(TIMEOUT_S) >= 0
        asked = []
        for item, change in zip(items, (amount, -amount), strict=True):
            guarded = how == "guarded" or (how == "one" and item["id"] == {"S": "a"})
            version = item["version"]
            new = {"bal": {"N": str(int(item["bal"]["N"]) + change)}, "version": {"N": str(int(version["N"]) + 1)}}
            guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": version}}
            put = {"TableName": "books", "Item": {**item, **new}, **(guard if guarded else {})}
            asked.append({"Put": put})
        try:
            dynamodb.transact_write_items(TransactItems=asked)
            return
        except dynamodb.exceptions.TransactionCanceledException:
            continue


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ("plain", ([("lost_update", "likely")] * 2, [])),
        ("guarded", ([], ["rejected", "rejected"])),
        ("one", ([], ["rejected", "rejected"])),
    ],
)
def test_races_and_twins(dynamodb: Any, how: str, verdict: Any, tmp_path: Path) -> None:
    """All or none does not help who did not look again; a condition refuses both items, also one on either alone."""
    read = threading.Barrier(2)
    with capture(fixed=False) as captured:
        together(*(functools.partial(book, dynamodb, each, read, how) for each in (50, -20)))
    defended = [str(each.reason) for each in judged(captured, tmp_path).defended]
    assert (findings(captured, tmp_path), defended) == verdict


def test_secrets_stay(dynamodb: Any) -> None:
    """No attribute's value but the key's, and no credential, is in what is sent."""
    with capture() as captured:
        get_both(dynamodb, "batch", "a", "b")
        move(dynamodb)
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("something", "10000100", "10000001", KEY_ID, SECRET):
        assert secret not in sent
