"""LangGraph's store, recorded: what was read, put, deleted and searched, and which version replaced which."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore
from tests.instrumentation.frameworks.recorded import of

import noclobber
from noclobber.frameworks import langgraph_memory, langgraph_store
from noclobber.guard import GUARD
from noclobber.testing import Captured, capture

BANK = ("bank", "eu west")


def test_a_get_and_a_put_are_a_read_and_a_write_that_knows_what_it_replaces(captured: Captured) -> None:
    """The second put was computed from what the get returned, and replaced just that."""
    store = InMemoryStore()
    store.put(BANK, "acct/1", {"balance": 100})
    item = store.get(BANK, "acct/1")
    assert item is not None
    store.put(BANK, "acct/1", {"balance": item.value["balance"] + 50})
    first, read, second = of(captured)
    assert first["resource"].startswith("langgraph://store/")
    assert first["resource"].endswith("/bank/eu%20west/acct%2F1")
    assert {access["resource"] for access in (first, read, second)} == {first["resource"]}
    assert (first["op"], read["op"], second["op"]) == ("write", "read", "write")
    assert first["system"] == "langgraph.store"
    assert first["version.kind"] == "fingerprint"
    assert first["version.overwritten"] == "absent"
    assert "version.base" not in first
    assert read["version.read"] == first["version.written"]
    assert second["version.base"] == second["version.overwritten"] == read["version.read"]
    assert (second["version.base.source"], second["version.base.seq"]) == ("observed", read["seq"])
    assert second["version.written"] != first["version.written"]
    assert (read["version.verbatim"], second["version.verbatim"]) == (False, False)
    assert (
        read["code.function.name"] == test_a_get_and_a_put_are_a_read_and_a_write_that_knows_what_it_replaces.__name__
    )


def test_a_read_that_finds_nothing_and_a_delete_have_the_version_absent(captured: Captured) -> None:
    """Nothing there is a state like any other; deleting nothing has no effect."""
    store = InMemoryStore()
    assert store.get(BANK, "a") is None
    store.put(BANK, "a", {"n": 1})
    store.delete(BANK, "a")
    store.delete(BANK, "a")
    read, put, deleted, again = of(captured)
    assert (read["outcome"], read["version.read"]) == ("not_found", "absent")
    assert put["version.base"] == put["version.overwritten"] == "absent"
    assert (deleted["op"], deleted["outcome"], deleted["version.written"]) == ("delete", "ok", "absent")
    assert deleted["version.overwritten"] == put["version.written"]
    assert again["outcome"] == "no_effect"


def test_an_item_that_is_changed_in_place_keeps_the_version_that_it_was_put_with(captured: Captured) -> None:
    """The store hands out its own object: a change of that is no write, and the put of it is marked."""
    store = InMemoryStore()
    store.put(BANK, "a", {"n": 1})
    item = store.get(BANK, "a")
    assert item is not None
    item.value["n"] = 2
    assert store.get(BANK, "a") is item
    store.put(BANK, "a", item.value)
    first, read, again, second = of(captured)
    assert read["version.read"] == again["version.read"] == first["version.written"]
    assert second["version.overwritten"] == first["version.written"]
    assert second["partial"] is True
    assert "partial" not in first


def test_a_value_that_is_changed_after_its_put_was_put_as_it_was_then(captured: Captured) -> None:
    """The print is taken at the call."""
    store = InMemoryStore()
    value = {"n": 1}
    store.put(BANK, "a", value)
    value["n"] = 2
    store.put(BANK, "b", {"n": 1})
    one, other = of(captured)
    assert one["version.written"] == other["version.written"]


def test_a_batch_is_one_access_an_item_and_lists_nothing_of_namespaces(captured: Captured) -> None:
    """Of two puts of one item in one call only the last is applied; operations may come from a generator."""
    store = InMemoryStore()
    operations: list[Any] = [
        PutOp(BANK, "a", {"n": 1}),
        ListNamespacesOp(),
        GetOp(BANK, "b"),
        PutOp(BANK, "a", {"n": 2}),
    ]
    results = store.batch(operation for operation in operations)
    assert (len(results), store.get(BANK, "a").value) == (4, {"n": 2})  # type: ignore[union-attr]
    put, get, last, read = of(captured)
    assert [access["outcome"] for access in (put, get, last)] == ["no_effect", "not_found", "ok"]
    assert [access["seq"] - put["seq"] for access in (put, get, last)] == [0, 1, 2]
    assert last["version.written"] == read["version.read"]


def test_a_search_is_a_scan_in_spans_of_64(captured: Captured) -> None:
    """All below the namespace, with the versions that the items were put with; a full page proves no absence."""
    store = InMemoryStore()
    for number in range(70):
        store.put(BANK, str(number), {"n": number})
    assert len(store.search(("bank",), limit=100)) == 70
    assert len(store.search(("bank",), limit=5, filter={"n": {"$gte": 1}})) == 5
    puts = {access["resource"]: access["version.written"] for access in of(captured) if access["op"] == "write"}
    first, second, page = [access for access in of(captured) if access["op"] == "scan"]
    assert (first["resource"].endswith("/bank"), first["predicate"], first["result.count"]) == (True, "*", 70)
    assert (first["scan.part"], second["scan.part"], first["scan.parts"]) == (1, 2, 2)
    assert first["scan.id"] == second["scan.id"]
    found = dict(zip(first["result.resources"], first["result.versions"], strict=True))
    found |= dict(zip(second["result.resources"], second["result.versions"], strict=True))
    assert (len(first["result.resources"]), found) == (64, puts)
    assert "scan.approximate" not in first
    assert page["scan.approximate"] is True
    assert page["predicate"] not in ("*", "")
    assert second["seq"] == first["seq"] + 1


async def test_an_async_store_is_recorded_alike(captured: Captured) -> None:
    """`aget` and `aput` of the in-memory store, by one task."""
    store = InMemoryStore()
    await store.aput(BANK, "a", {"n": 1})
    assert await store.aget(BANK, "a") is not None
    await store.aput(BANK, "a", {"n": 2})
    first, read, second = of(captured)
    assert read["version.read"] == first["version.written"] == second["version.overwritten"] == second["version.base"]


def test_two_stores_in_memory_are_two(captured: Captured) -> None:
    """Equal names mean the same state, so what is not shared must not be named alike."""
    for store in (InMemoryStore(), InMemoryStore()):
        store.put(BANK, "a", {"n": 1})
    one, other = of(captured)
    assert one["resource"] != other["resource"]


def test_a_sqlite_file_is_one_store_for_all_that_open_it(captured: Captured, tmp_path: Path) -> None:
    """Two connections to one file are one store; what a put replaces is not known there."""
    path = str(tmp_path / "store.db")
    with SqliteStore.from_conn_string(path) as one, SqliteStore.from_conn_string(path) as other:
        one.setup()
        one.put(BANK, "a", {"n": 1})
        assert other.get(BANK, "a") is not None
        other.put(BANK, "a", {"n": 2})
    first, read, second = of(captured)
    assert first["resource"] == read["resource"]
    assert "/store.db~" in first["resource"]
    assert "version.overwritten" not in second
    assert second["version.base"] == read["version.read"] == first["version.written"]


async def test_a_store_that_batches_in_the_background_is_recorded_for_its_callers(
    captured: Captured, tmp_path: Path
) -> None:
    """Two tasks that share one batch are two strands; the background task is none of them."""
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.db")) as store:
        await store.setup()
        await asyncio.gather(store.aput(BANK, "a", {"n": 1}), store.aput(BANK, "b", {"n": 2}))
        assert await store.aget(BANK, "a") is not None
        await store.adelete(BANK, "a")
        assert len(await store.asearch(("bank",))) == 1
        sync = await asyncio.to_thread(store.get, BANK, "b")
        assert sync is not None
    accesses = of(captured)
    assert [access["op"] for access in accesses] == ["write", "write", "read", "delete", "scan", "read"]
    assert accesses[0]["strand"] != accesses[1]["strand"]
    assert accesses[2]["strand"] == accesses[3]["strand"] == accesses[4]["strand"]
    assert accesses[2]["version.read"] == accesses[0]["version.written"]
    assert accesses[5]["version.read"] == accesses[1]["version.written"]


def test_a_store_defined_later_is_recorded_and_one_that_delegates_counts_once(captured: Captured) -> None:
    """A class made while noclobber is on, whose batch calls another store's."""

    class Delegating(BaseStore):
        def __init__(self) -> None:
            self.inner = InMemoryStore()

        def batch(self, ops: Any) -> Any:
            return self.inner.batch(ops)

        async def abatch(self, ops: Any) -> Any:
            return await asyncio.to_thread(self.batch, ops)

    store = Delegating()
    store.put(BANK, "a", {"n": 1})
    asyncio.run(store.aput(BANK, "a", {"n": 2}))
    assert [access["op"] for access in of(captured)] == ["write", "write"]


def test_what_a_store_raises_reaches_the_caller_and_is_told(captured: Captured) -> None:
    """An operation that the store refuses is an error; the same exception comes out."""

    class Broken(BaseStore):
        def batch(self, ops: Any) -> Any:
            raise ConnectionError("gone")

        async def abatch(self, ops: Any) -> Any:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        Broken().put(BANK, "a", {"n": 1})
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(Broken().aget(BANK, "a"))
    write, read = of(captured)
    assert (write["outcome"], read["outcome"]) == ("unknown", "error")


def test_a_value_that_cannot_be_printed_is_still_a_write(captured: Captured) -> None:
    """Its own code raises: the access has no version, and the put is done."""

    class Shy:
        def __repr__(self) -> str:
            raise AttributeError("not now")

    store = InMemoryStore()
    store.put(BANK, "a", {"shy": Shy()})
    assert store.get(BANK, "a") is not None
    write, read = of(captured)
    assert (write["op"], write["outcome"], "version.written" in write) == ("write", "ok", False)
    assert (read["op"], read["outcome"], "version.read" in read) == ("read", "ok", False)


def test_a_mistake_of_ours_changes_nothing(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails inside a hook, the store does what it was asked."""
    monkeypatch.setattr(GUARD, "reraises", False)
    before = sum(GUARD.failures.values())

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    for name in ("place_of", "_take", "accesses_of"):
        with monkeypatch.context() as patch:
            patch.setattr(langgraph_store, name, broken)
            store = InMemoryStore()
            store.put(BANK, "a", {"n": 1})
            item = store.get(BANK, "a")
            assert item is not None
            assert item.value == {"n": 1}
            captured.recorder.flush()
    for name in ("_note_replaced", "_note_put", "_ledger"):
        with monkeypatch.context() as patch:
            patch.setattr(langgraph_memory, name, broken)
            store = InMemoryStore()
            store.put(BANK, "a", {"n": 1})
            assert store.get(BANK, "a") is not None
    assert sum(GUARD.failures.values()) >= before + 6


def test_limits_forget_the_oldest(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of items put long ago the store's version is printed anew, and what a put of them replaces is not told."""
    monkeypatch.setattr(langgraph_memory, "ITEMS_MAX", 2)
    monkeypatch.setattr(langgraph_memory, "HANDED_MAX", 1)
    store = InMemoryStore()
    for name in ("a", "b", "c"):
        store.put(BANK, name, {"name": name})
    old = [store.get(BANK, name) for name in ("a", "c")]
    assert all(old)
    for item in old:
        assert item is not None
        store.put(BANK, item.key, item.value)
    puts = [access for access in of(captured) if access["op"] == "write"]
    reads = [access for access in of(captured) if access["op"] == "read"]
    assert reads[0]["version.read"] == puts[0]["version.written"]
    assert ("version.overwritten" in puts[3], "version.overwritten" in puts[4]) == (False, True)
    assert ("partial" in puts[3], "partial" in puts[4]) == (False, True)


def test_everything_is_put_back() -> None:
    """After the end every class and function is what it was, and a store works as before."""
    from langgraph.pregel import Pregel, _executor, _loop, _runner

    owners: list[Any] = [
        BaseStore, InMemoryStore, SqliteStore, AsyncSqliteStore, Pregel, _runner, _executor,
        _executor.BackgroundExecutor, _executor.AsyncBackgroundExecutor, _loop.SyncPregelLoop, _loop.AsyncPregelLoop,
    ]  # fmt: skip
    before = [dict(vars(owner)) for owner in owners]
    with capture():
        assert dict(vars(InMemoryStore)) != before[1]
    assert [dict(vars(owner)) for owner in owners] == before


def test_an_explicit_agent_is_the_agent(captured: Captured) -> None:
    """`with noclobber.agent(...)` around a call names who acts."""
    store = InMemoryStore()
    with noclobber.agent("teller"):
        store.put(BANK, "a", {"n": 1})
    assert of(captured)[0]["agent"] == "teller"
