"""python-dynamodb-lock on moto's server: who holds which lock, renewals, refusals, and what stays as it was."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from python_dynamodb_lock.python_dynamodb_lock import DynamoDBLockClient, DynamoDBLockError

from noclobber.guard import GUARD
from noclobber.testing import capture

sys.path.insert(0, str(Path(__file__).parents[1] / "stores"))
from moto_stage import KEY_ID, SECRET, aws

NAME = "dynamodb://eu-west-1/locks/lock_key=till,sort_key=-"


@pytest.fixture(scope="module")
def resource() -> Iterator[Any]:
    """A server with a table of locks."""
    with aws() as url:
        found = boto3.resource(
            "dynamodb", endpoint_url=url, region_name="eu-west-1", aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )  # fmt: skip
        keys = ("lock_key", "HASH"), ("sort_key", "RANGE")
        found.create_table(
            TableName="locks", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        )  # fmt: skip
        yield found
        found.meta.client.close()


@pytest.fixture
def clients(resource: Any) -> Iterator[list[Any]]:
    """Two clients of one lock table, whose heartbeats come only when they are asked for."""
    kwargs = {
        "table_name": "locks",
        "heartbeat_period": timedelta(seconds=0.2),
        "lease_duration": timedelta(seconds=30),
    }
    found = [DynamoDBLockClient(resource, **kwargs) for _ in range(2)]
    for each in found:
        each._shutting_down = True
        each._heartbeat_sender_thread.join()
        each._heartbeat_checker_thread.join()
        each._shutting_down = False
    yield found
    for each in found:
        each.close()


def story(captured: Any) -> list[tuple[str, str]]:
    """What was told of the lock."""
    ops = "lock", "unlock"
    told = [each for each in captured.accesses if each["noclobber.resource"] == NAME and each["noclobber.op"] in ops]
    assert all(each["noclobber.lock.ttl_ms"] == 30_000 for each in told)
    return [(each["noclobber.op"], each["noclobber.outcome"]) for each in told]


def test_hold(clients: list[Any]) -> None:
    """Taken, renewed, given back; one owner; what the library does to the item is part of it."""
    mine, _ = clients
    with capture() as captured:
        with mine.acquire_lock("till") as lock:
            mine._send_heartbeat(lock)
            mine._dynamodb_table.get_item(Key={"lock_key": "other", "sort_key": "-"})
        mine.release_lock(lock)
        assert story(captured) == [("lock", "ok"), ("lock", "ok"), ("unlock", "ok")]
        owners = {each["noclobber.lock.owner"] for each in captured.accesses if "noclobber.lock.owner" in each}
        assert len(owners) == 1
        (read,) = [each for each in captured.accesses if each["noclobber.op"] == "read"]
        assert read["noclobber.locks"] == [NAME]
        assert not [each for each in captured.accesses if each["noclobber.op"] == "write"]


def test_refused_and_stolen(clients: list[Any]) -> None:
    """Who waits in vain does not get it; who has lost it can neither renew it nor give it back."""
    mine, other = clients
    with capture() as captured:
        lock = mine.acquire_lock("till")
        with pytest.raises(DynamoDBLockError):
            other.acquire_lock("till", retry_timeout=timedelta(seconds=0.1))
        mine._dynamodb_table.delete_item(Key={"lock_key": "till", "sort_key": "-"})
        with pytest.raises(DynamoDBLockError):
            lock.release(best_effort=False)
        assert story(captured) == [("lock", "ok"), ("lock", "rejected"), ("unlock", "rejected")]


def test_a_mistake_of_ours_is_not_the_program_s(clients: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks inside, the program gets its lock."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    with capture(), monkeypatch.context() as patch:
        patch.setattr(GUARD, "reraises", False)
        patch.setattr("noclobber.locks.holding.Fact", broken)
        lock = clients[0].acquire_lock("till")
        lock.release(best_effort=False)
    GUARD.failures.clear()
