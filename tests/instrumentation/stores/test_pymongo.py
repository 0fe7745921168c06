"""pymongo over MongoDB's wire protocol: what each call is told as, guards, transactions, and answers as without us."""

from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest
from mongo_stage import mongo
from pymongo import DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateMany, UpdateOne
from pymongo.asynchronous.mongo_client import AsyncMongoClient
from pymongo.errors import BulkWriteError, DuplicateKeyError

from noclobber.resources import host_name
from noclobber.testing import Captured, capture

ACCOUNT = {"_id": "a", "balance": "a balance of 100", "note": "opened in spring", "version": 1}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server."""
    with mongo(tmp_path_factory.mktemp("mongo")) as found:
        yield found


@pytest.fixture
def accounts(url: str) -> Iterator[Any]:
    """A collection with one account."""
    with pymongo.MongoClient(url) as client:
        collection = client.bank.accounts
        collection.delete_many({})
        collection.insert_one(dict(ACCOUNT))
        yield collection


def told(captured: Captured) -> list[tuple[Any, ...]]:
    """What was done to which document, which fields, and how it ended."""
    return [
        (
            access["noclobber.op"],
            access["noclobber.resource"].partition("/bank/accounts/")[2],
            access["noclobber.outcome"],
            "".join(access.get("noclobber.part", ())),
        )
        for access in captured.accesses
    ]


Act = Callable[[Any], Any]
TABLE: list[tuple[Act, list[tuple[str, str, str, str]]]] = [
    (lambda c: c.find_one("a"), [("read", "a", "ok", "")]),
    (lambda c: c.find_one({"_id": "a"}, {"note": 1}), [("read", "a", "ok", "note")]),
    (lambda c: c.find_one({"_id": "none"}), [("read", "none", "not_found", "")]),
    (lambda c: c.find_one({"_id": 7}), [("read", "number(7)", "not_found", "")]),
    (lambda c: c.find_one({"version": 1}), [("scan", "", "ok", "")]),
    (lambda c: list(c.find({"_id": "a"})), [("read", "a", "ok", "")]),
    (lambda c: list(c.find({"version": {"$gt": 0}})), [("scan", "", "ok", "")]),
    (lambda c: c.insert_one({"_id": "b", "balance": 1}), [("write", "b", "ok", "")]),
    (
        lambda c: c.insert_many([{"_id": "b", "x": 1}, {"_id": "c", "x": 1}]),
        [("write", "b", "ok", ""), ("write", "c", "ok", "")],
    ),
    (lambda c: c.update_one({"_id": "a"}, {"$set": {"note": "x"}}), [("write", "a", "ok", "note")]),
    (lambda c: c.update_one({"_id": "a"}, {"$inc": {"version": 1}}), [("update", "a", "ok", "version")]),
    (
        lambda c: c.update_one({"_id": "a", "version": 1}, {"$set": {"note": "x"}, "$inc": {"version": 1}}),
        [("write", "a", "ok", "note"), ("update", "a", "ok", "version")],
    ),
    (lambda c: c.update_one({"_id": "a", "version": 7}, {"$set": {"note": "x"}}), [("write", "a", "rejected", "note")]),
    (lambda c: c.update_one({"_id": "none"}, {"$set": {"note": "x"}}), [("write", "none", "no_effect", "note")]),
    (lambda c: c.update_one({"_id": "new"}, {"$set": {"x": 1}}, upsert=True), [("write", "new", "ok", "x")]),
    (lambda c: c.update_one({"version": 1}, {"$set": {"x": 1}}), [("update", "", "ok", "")]),
    (lambda c: c.update_many({"version": 1}, {"$set": {"x": 1}}), [("update", "", "ok", "")]),
    (lambda c: c.replace_one({"_id": "a"}, {"balance": 1}), [("write", "a", "ok", "")]),
    (lambda c: c.find_one_and_update({"_id": "a"}, {"$set": {"note": "x"}}), [("write", "a", "ok", "note")]),
    (lambda c: c.find_one_and_update({"version": 1}, {"$set": {"note": "x"}}), [("write", "a", "ok", "note")]),
    (lambda c: c.find_one_and_replace({"_id": "a"}, {"x": 1}), [("write", "a", "ok", "")]),
    (lambda c: c.find_one_and_delete({"_id": "a"}), [("delete", "a", "ok", "")]),
    (lambda c: c.find_one_and_delete({"_id": "none"}), [("delete", "none", "no_effect", "")]),
    (lambda c: c.delete_one({"_id": "a"}), [("delete", "a", "ok", "")]),
    (lambda c: c.delete_one({"_id": "none"}), [("delete", "none", "no_effect", "")]),
    (lambda c: c.delete_many({"version": 1}), [("update", "", "ok", "")]),
    (
        lambda c: c.bulk_write([
            InsertOne({"_id": "b", "x": 1}), UpdateOne({"_id": "a"}, {"$set": {"note": "x"}}),
            ReplaceOne({"_id": "a"}, {"y": 1}), DeleteOne({"_id": "a"}), UpdateMany({"x": 1}, {"$set": {"y": 1}}),
        ]).acknowledged,
        [
            ("write", "b", "ok", ""), ("write", "a", "ok", "note"), ("write", "a", "ok", ""), ("delete", "a", "ok", ""),
            ("update", "", "ok", ""),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(TABLE)))
def test_what_each_call_is(number: int, accounts: Any) -> None:
    """Operation, document, outcome and fields of each method; the caller gets what it gets without us."""
    act, expected = TABLE[number]
    plain = _comparable(act(accounts))
    accounts.delete_many({})
    accounts.insert_one(dict(ACCOUNT))
    with capture() as captured:
        assert _comparable(act(accounts)) == plain
        assert told(captured) == expected


def _comparable(reply: Any) -> Any:
    found = [getattr(reply, name, None) for name in ("raw_result", "inserted_ids", "inserted_id")]
    return next((each for each in found if each is not None), reply)


def test_read_and_write_whole(accounts: Any, url: str) -> None:
    """A document's fields have prints of their own, so a later `$set` finds its base; no value is told."""
    with capture() as captured:
        accounts.find_one("a")
        accounts.update_one({"_id": "a"}, {"$set": {"balance": "a balance of 150"}})
        accounts.find_one("a", {"balance": 1})
        read, write, again = captured.accesses
    port = url.rstrip("/").rpartition(":")[2]
    assert read["noclobber.resource"] == f"mongodb://{host_name()}:{port}/bank/accounts/a"
    assert write["noclobber.version.base.source"] == "observed"
    assert write["noclobber.version.written"] == again["noclobber.version.read"]
    assert (read["noclobber.version.verbatim"], read["noclobber.system"]) == (False, "mongodb")
    assert "balance of" not in str(captured.spans)


def test_a_version_field_is_a_guard(accounts: Any) -> None:
    """What the filter compares names the state that had it; a filter that finds nothing has refused."""
    with capture() as captured:
        accounts.find_one("a")
        for _ in range(2):
            accounts.update_one(
                {"_id": "a", "version": 1}, {"$set": {"balance": "a balance of 150"}, "$inc": {"version": 1}}
            )
        _, write, counted, refused, _ = captured.accesses
    assert (write["noclobber.guard"], write["noclobber.version.base.source"]) == ("version", "explicit")
    assert write["noclobber.version.expected"] == write["noclobber.version.base"]
    assert (counted["noclobber.op"], counted["noclobber.write.mode"]) == ("update", "increment")
    assert refused["noclobber.outcome"] == "rejected"


def test_what_was_replaced(accounts: Any) -> None:
    """A document as it was before tells what the write replaced; as it is afterwards it does not."""
    with capture() as captured:
        accounts.find_one("a", {"note": 1})
        accounts.find_one_and_update({"_id": "a"}, {"$set": {"note": "closed in autumn"}})
        accounts.find_one_and_update(
            {"_id": "a"}, {"$set": {"note": "opened again"}}, return_document=ReturnDocument.AFTER
        )
        read, before, after = captured.accesses
    assert before["noclobber.version.overwritten"] == read["noclobber.version.read"]
    assert "noclobber.version.overwritten" not in after


def test_inserts_that_are_refused(accounts: Any) -> None:
    """What is there already is not made again; of a batch no document is told as made that is not there."""
    with capture() as captured:
        with pytest.raises(DuplicateKeyError):
            accounts.insert_one(dict(ACCOUNT))
        with pytest.raises(BulkWriteError):
            accounts.insert_many([{"_id": "b", "x": 1}, {"_id": "a", "x": 1}, {"_id": "c", "x": 1}])
        single, *batch = [each[1:3] for each in told(captured)]
    assert single == ("a", "rejected")
    there = {name for name in "bc" if accounts.find_one(name) is not None}
    assert {name for name, outcome in batch if outcome == "ok"} <= there


def test_a_cut_connection_is_unknown(url: str) -> None:
    """A write whose answer never comes may have been applied."""
    with capture() as captured, pymongo.MongoClient("mongodb://127.0.0.1:1/", serverSelectionTimeoutMS=50) as client:
        with pytest.raises(pymongo.errors.PyMongoError):
            client.bank.accounts.update_one({"_id": "a"}, {"$set": {"note": "x"}})
        (access,) = captured.accesses
    assert access["noclobber.outcome"] == "unknown"


def test_unacknowledged_writes(accounts: Any) -> None:
    """Nobody says whether they were applied."""
    quiet = accounts.with_options(write_concern=pymongo.WriteConcern(w=0))
    with capture() as captured:
        quiet.update_one({"_id": "a"}, {"$set": {"note": "x"}})
        (access,) = captured.accesses
    assert access["noclobber.outcome"] == "unknown"


def test_transactions(accounts: Any) -> None:
    """Their calls name them, and their ends are told."""
    client = accounts.database.client
    with capture() as captured:
        with client.start_session() as session:
            with session.start_transaction():
                accounts.find_one({"_id": "a"}, session=session)
                accounts.update_one({"_id": "a"}, {"$set": {"note": "x"}}, session=session)
            session.start_transaction()
            accounts.insert_one({"_id": "t", "x": 1}, session=session)
            session.abort_transaction()
        accounts.find_one("t")
        ops = [(access["noclobber.op"], access.get("noclobber.txn.id")) for access in captured.accesses]
    first, second = ops[0][1], ops[4][1]
    assert first != second
    assert ops == [
        ("begin", first), ("read", first), ("write", first), ("commit", first),
        ("begin", second), ("write", second), ("abort", second), ("read", None),
    ]  # fmt: skip


async def test_asyncio(url: str, accounts: Any) -> None:
    """The asynchronous client is told as the other one is."""
    async with AsyncMongoClient(url) as client:
        collection = client.bank.accounts
        with capture() as captured:
            await collection.find_one("a")
            await collection.update_one({"_id": "a"}, {"$set": {"note": "x"}})
            assert [each["_id"] async for each in collection.find({})] == ["a"]
            async with client.start_session() as session, await session.start_transaction():
                await collection.find_one({"_id": "a"}, session=session)
            ops = [(each["noclobber.op"], "noclobber.txn.id" in each) for each in captured.accesses]
    assert ops == [
        ("read", False), ("write", False), ("scan", False), ("begin", True), ("read", True), ("commit", True),
    ]  # fmt: skip


def test_batches(accounts: Any) -> None:
    """A cursor is one scan a batch; what only begins, or goes on, is known in part."""
    accounts.insert_many([{"_id": str(number), "x": number} for number in range(5)])
    with capture() as captured:
        assert len(list(accounts.find({}, batch_size=3))) == 6
        scans = captured.accesses
    assert sum(each["noclobber.result.count"] for each in scans) == 6
    assert {each["noclobber.op"] for each in scans} == {"scan"}
    assert all(each.get("noclobber.partial", False) for each in scans) == (len(scans) > 1)
