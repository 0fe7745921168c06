"""Milvus Lite: what each method is told as, and agents that race."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vector_stage import judged, told

from noclobber.otlp import json_line
from noclobber.testing import capture

pymilvus = pytest.importorskip("pymilvus", reason="pymilvus is not installed; run `nox -s vectors`")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed; run `nox -s vectors`")

VECTOR = [0.1, 0.2, 0.3]
OWNER = "ann of the long name"


def row(identifier: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": identifier, "vector": VECTOR, "balance": 10_000_100, "owner": OWNER, **more}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of an embedded server."""
    made = pymilvus.MilvusClient(str(tmp_path_factory.mktemp("milvus") / "lite.db"))
    yield made
    made.close()


@pytest.fixture
def client(shared: Any) -> Iterator[Any]:
    """A collection with one row."""
    shared.create_collection("plans", dimension=3)
    shared.insert("plans", [row()])
    yield shared
    if shared.has_collection("plans"):
        shared.drop_collection("plans")


def test_get_and_upsert_whole(client: Any) -> None:
    """A read and the write after it, attribute by attribute."""
    with capture(agent="planner") as captured:
        (found,) = client.get("plans", ids=[1])
        client.upsert("plans", [{**found, "balance": found["balance"] + 50}])
        read, write = captured.accesses
    common = {
        "noclobber.resource": read["noclobber.resource"],
        "noclobber.system": "milvus",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.size": 8 + len(OWNER),
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.verbatim": False,
        "code.function.name": "test_get_and_upsert_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read["noclobber.resource"].startswith("milvus://")
    assert read["noclobber.resource"].endswith("/default/plans/1")
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.version.read": read["noclobber.version.read"],
        "db.operation.name": "get",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.version.written": write["noclobber.version.written"],
        "noclobber.version.base": read["noclobber.version.read"],
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "upsert",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write milvus", "pymilvus")


TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda c: c.get("plans", ids=[1, 7]), [("read", "1", "ok", None), ("read", "7", "not_found", None)]),
    (lambda c: c.get("plans", ids=1, output_fields=["owner"]), [("read", "1", "ok", "owner")]),
    (lambda c: c.query("plans", filter="balance > 7"), [("scan", "", "ok", None)]),
    (lambda c: c.search("plans", data=[VECTOR], limit=1), [("scan", "", "ok", None)]),
    (lambda c: c.insert("plans", row(2)), [("write", "2", "ok", None)]),
    (lambda c: c.upsert("plans", [row(1), row(2)]), [("write", "1", "ok", None), ("write", "2", "ok", None)]),
    (lambda c: c.delete("plans", ids=[1]), [("delete", "1", "ok", None)]),
    (lambda c: c.delete("plans", filter="balance > 7"), [("update", "", "ok", None)]),
    (lambda c: c.drop_collection("plans"), [("delete", "", "ok", None)]),
    (lambda c: c.has_collection("plans"), []),
]


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(client: Any, act: Callable[[Any], Any], expected: list[tuple[Any, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def ready() -> None:
        if not client.has_collection("plans"):
            client.create_collection("plans", dimension=3)
        client.upsert("plans", [row()])

    def attempt() -> str:
        try:
            return str(act(client))
        except Exception as error:
            return type(error).__name__

    plain = attempt()
    ready()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    assert told(captured, "part") == expected


def test_asyncio(client: Any) -> None:
    """The same, awaited."""

    async def act() -> None:
        mine = pymilvus.AsyncMilvusClient(uri=client._config.uri)
        (found,) = await mine.get("plans", ids=[1])
        await mine.upsert("plans", [{**found, "balance": found["balance"] + 50}])
        await mine.close()

    with capture() as captured:
        asyncio.run(act())
    assert told(captured) == [("read", "1", "ok"), ("write", "1", "ok")]
    read, write = (each for each in captured.accesses if each["noclobber.system"] == "milvus")
    assert write["noclobber.version.base"] == read["noclobber.version.read"]


def test_race_and_twin(tmp_path: Path) -> None:
    """One lost update; none under a lock."""
    (finding,), _, balance = judged(tmp_path / "plain.jsonl", "milvus", "plain", str(tmp_path))
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert balance in ("10000150", "10000080")
    findings, summary, balance = judged(tmp_path / "locked.jsonl", "milvus", "locked", str(tmp_path))
    assert (findings, balance) == ([], "10000130")
    assert summary["defended"] == {"lock": 2}


def test_secrets_stay(client: Any) -> None:
    """Neither fields nor filters."""
    with capture() as captured:
        client.upsert("plans", [row(owner="planted-owner-hunter2")])
        client.query("plans", filter="owner == 'planted-owner-hunter2'")
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    raw = b"planted-owner-hunter2"
    for form in (raw.decode(), base64.b64encode(raw).decode(), raw.hex()):
        assert form not in text
