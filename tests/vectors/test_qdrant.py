"""Qdrant, embedded: what each method is told as, sync and asyncio, and agents that race."""

import base64
import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vector_stage import judged, printed, told

from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import capture

qdrant_client = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed; run `nox -s vectors`")
models = qdrant_client.models

VECTOR = [0.1, 0.2, 0.3]
PAYLOAD = {"balance": 10_000_100, "owner": "ann of the long name"}


def point(identifier: Any = 1, payload: dict[str, Any] | None = None) -> Any:
    return models.PointStruct(id=identifier, vector=VECTOR, payload=payload)


def config() -> Any:
    return models.VectorParams(size=3, distance=models.Distance.COSINE)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """An embedded database with one point."""
    made = qdrant_client.QdrantClient(path=str(tmp_path / "qdrant"))
    made.create_collection("plans", vectors_config=config())
    made.upsert("plans", [point(1, PAYLOAD)])
    yield made
    made.close()


def test_retrieve_and_upsert_whole(client: Any, tmp_path: Path) -> None:
    """A read and the write after it, attribute by attribute."""
    with capture(agent="planner") as captured:
        (record,) = client.retrieve("plans", ids=[1])
        client.upsert("plans", [point(1, {**record.payload, "balance": 10_000_150})])
        read, write = captured.accesses
    folder = "/".join([host_name(), *str((tmp_path / "qdrant").resolve()).split("/")[1:]])
    common = {
        "noclobber.resource": f"qdrant://{folder}/plans/1",
        "noclobber.system": "qdrant",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.size": 8 + len(PAYLOAD["owner"]),  # type: ignore[arg-type]
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.verbatim": False,
        "code.function.name": "test_retrieve_and_upsert_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.version.read": read["noclobber.version.read"],
        "db.operation.name": "retrieve",
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
    assert (captured.spans[1].name, captured.spans[1].library) == ("write qdrant", "qdrant_client")


def by_owner() -> Any:
    return models.Filter(must=[models.FieldCondition(key="owner", match=models.MatchValue(value=PAYLOAD["owner"]))])


TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda c: c.retrieve("plans", [1, 7]), [("read", "1", "ok", None), ("read", "7", "not_found", None)]),
    (lambda c: c.retrieve("plans", [1], with_payload=["owner"]), [("read", "1", "ok", "payload.owner")]),
    (lambda c: c.retrieve("plans", [1], with_payload=False, with_vectors=True), [("read", "1", "ok", "vector")]),
    (lambda c: c.scroll("plans"), [("scan", "", "ok", None)]),
    (lambda c: c.query_points("plans", VECTOR), [("scan", "", "ok", None)]),
    (lambda c: c.set_payload("plans", {"x": 1, "y": 2}, points=[1]),
     [("write", "1", "ok", ["payload.x", "payload.y"])]),
    (lambda c: c.set_payload("plans", {"x": 1}, points=by_owner()), [("update", "", "ok", None)]),
    (lambda c: c.set_payload("plans", {"x": 1}, points=[99]), [("write", "99", "unknown", "payload.x")]),
    (lambda c: c.overwrite_payload("plans", {"x": 1}, points=[1]), [("write", "1", "ok", None)]),
    (lambda c: c.delete_payload("plans", ["owner"], points=[1]), [("write", "1", "ok", "payload.owner")]),
    (lambda c: c.clear_payload("plans", points_selector=[1]), [("write", "1", "ok", None)]),
    (lambda c: c.update_vectors("plans", [models.PointVectors(id=1, vector=VECTOR)]),
     [("write", "1", "ok", "vector")]),
    (lambda c: c.upsert("plans", models.Batch(ids=[1, 2], vectors=[VECTOR] * 2, payloads=[PAYLOAD] * 2)),
     [("write", "1", "ok", None), ("write", "2", "ok", None)]),
    (lambda c: c.upsert("plans", [point(1, PAYLOAD)], update_filter=by_owner()), [("write", "1", "unknown", None)]),
    (lambda c: c.upsert("plans", [point(1, PAYLOAD)], wait=False), [("write", "1", "unknown", None)]),
    (lambda c: c.upsert("nowhere", [point(1, PAYLOAD)]), [("write", "1", "error", None)]),
    (lambda c: c.delete("plans", points_selector=[1]), [("delete", "1", "ok", None)]),
    (lambda c: c.delete("plans", points_selector=models.FilterSelector(filter=by_owner())),
     [("update", "", "ok", None)]),
    (lambda c: c.upload_points("plans", [point(3, PAYLOAD)]), [("update", "", "ok", None)]),
    (lambda c: c.count("plans"), []),
    (lambda c: c.retrieve("plans"), []),
]  # fmt: skip


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(client: Any, act: Callable[[Any], Any], expected: list[tuple[Any, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt() -> str:
        client.upsert("plans", [point(1, PAYLOAD)])
        try:
            return repr(act(client))
        except Exception as error:
            return repr(error)

    plain = attempt()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    assert told(captured, "part")[1:] == expected


async def test_asyncio() -> None:
    """The same, awaited; two databases in memory are two places."""
    with capture() as captured:
        for _ in range(2):
            async with contextlib.AsyncExitStack() as stack:
                client = qdrant_client.AsyncQdrantClient(":memory:")
                stack.push_async_callback(client.close)
                await client.create_collection("plans", vectors_config=config())
                await client.upsert("plans", [point(1, PAYLOAD)])
                (record,) = await client.retrieve("plans", ids=[1])
                assert record.payload == PAYLOAD
                await client.set_payload("plans", {"balance": 10_000_150}, points=[1])
                await client.delete_collection("plans")
    assert [each[:3] for each in told(captured)] == [
        ("write", "1", "ok"), ("read", "1", "ok"), ("write", "1", "ok"), ("delete", "", "ok"),
    ] * 2  # fmt: skip
    assert captured.accesses[2]["noclobber.version.base"] == printed(b"10000100")
    assert len({each["noclobber.resource"] for each in captured.accesses}) == 4


def test_normalised_vectors_are_no_finding(tmp_path: Path) -> None:
    """A cosine collection gives back other numbers than it was sent, and nothing comes of it."""
    findings, summary, balance = judged(tmp_path / "a.jsonl", "qdrant", "locked", "threads", str(tmp_path / "a"))
    assert (findings, balance) == ([], "10000130")
    assert summary["defended"] == {"lock": 2}


def test_race_and_twins(tmp_path: Path) -> None:
    """One lost update by upserts in threads, one by payloads in tasks; none where each has a field of its own."""
    for kind in ("threads", "tasks"):
        (finding,), _, _ = judged(tmp_path / f"{kind}.jsonl", "qdrant", "plain", kind, str(tmp_path / f"{kind}-plain"))
        assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
        findings, _, balance = judged(
            tmp_path / "apart.jsonl", "qdrant", "apart", kind, str(tmp_path / f"{kind}-apart")
        )
        assert (findings, balance) == ([], "10000150")


def test_a_server_that_is_not_there() -> None:
    """Nobody knows what it did; and its name is its address."""
    with warnings.catch_warnings(), capture() as captured:
        warnings.simplefilter("ignore")
        client = qdrant_client.QdrantClient(host="127.0.0.1", port=1, check_compatibility=False)
        with pytest.raises(Exception, match="refused"):
            client.upsert("plans", [point(1, PAYLOAD)])
        client.close()
    (write,) = captured.accesses
    assert (write["noclobber.outcome"], write["noclobber.resource"]) == ("unknown", f"qdrant://{host_name()}:1/plans/1")


def test_secrets_stay(client: Any) -> None:
    """Neither fields nor filters nor vectors."""
    with capture() as captured:
        client.upsert("plans", [point(1, {"owner": "planted-owner-hunter2"})])
        client.scroll("plans", scroll_filter=by_owner())
        client.query_points("plans", VECTOR, query_filter=by_owner())
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("planted-owner-hunter2", str(PAYLOAD["owner"])):
        raw = secret.encode()
        for form in (secret, base64.b64encode(raw).decode(), raw.hex()):
            assert form not in text
