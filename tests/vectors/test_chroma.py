"""Chroma, embedded and as a server: what each method is told as, and agents that race."""

import base64
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from vector_stage import judged, printed, told

from noclobber.otlp import json_line
from noclobber.testing import capture
from noclobber_sidecar.sockets import free_port

chromadb = pytest.importorskip("chromadb", reason="chromadb is not installed; run `nox -s vectors`")

VECTOR = [0.1, 0.2, 0.3]
TEXT = "a text that is long enough"
START_TIMEOUT_S = 60


@pytest.fixture
def collection() -> Iterator[Any]:
    """A collection in memory, with one record."""
    client = chromadb.EphemeralClient()
    made = client.create_collection("plans", embedding_function=None)
    made.add(ids=["a"], embeddings=[VECTOR], metadatas=[{"balance": 10_000_100, "owner": "ann"}], documents=[TEXT])
    yield made
    client.delete_collection("plans")


def test_get_and_update_whole(collection: Any) -> None:
    """A read and the write of one field after it, attribute by attribute."""
    with capture(agent="planner") as captured:
        found = collection.get(ids=["a"])
        collection.update(ids=["a"], metadatas=[{"balance": found["metadatas"][0]["balance"] + 50}])
        read, write = captured.accesses
    common = {
        "noclobber.resource": f"chroma://default_tenant/default_database/{collection.id}/a",
        "noclobber.system": "chroma",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.version.kind": "fingerprint",
        "noclobber.version.verbatim": False,
        "code.function.name": "test_get_and_update_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.size": 8 + 3 + len(TEXT),
        "noclobber.version.read": read["noclobber.version.read"],
        "db.operation.name": "get",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.part": "metadata.balance",
        "noclobber.size": 8,
        "noclobber.content.numeric": True,
        "noclobber.version.weak": True,
        "noclobber.version.written": printed(b"10000150"),
        "noclobber.version.base": printed(b"10000100"),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "update",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write chroma", "chromadb")


TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda c: c.get(ids="a"), [("read", "a", "ok", None)]),
    (lambda c: c.get(ids=["a", "no"]), [("read", "a", "ok", None), ("read", "no", "not_found", None)]),
    (lambda c: c.get(["a"], include=["documents"]), [("read", "a", "ok", "document")]),
    (lambda c: c.get(), [("scan", "", "ok", None)]),
    (lambda c: c.get(where={"owner": "ann"}), [("scan", "", "ok", None)]),
    (lambda c: c.query(query_embeddings=[VECTOR], n_results=1), [("scan", "", "ok", None)]),
    (lambda c: c.upsert("a", VECTOR, {"x": 1}, TEXT), [("write", "a", "ok", ["document", "metadata.x"])]),
    (lambda c: c.update(["a"], embeddings=[VECTOR]), [("write", "a", "ok", "vector")]),
    (lambda c: c.add(ids=["a", "b/c"], embeddings=[VECTOR] * 2, documents=[TEXT, "b"]),
     [("write", "a", "unknown", None), ("write", "b%2Fc", "unknown", None)]),
    (lambda c: c.delete(ids=["a"]), [("delete", "a", "ok", None)]),
    (lambda c: c.delete(where={"owner": "ann"}), [("update", "", "ok", None)]),
    (lambda c: c.upsert(ids=["a", "a"], embeddings=[VECTOR] * 2),
     [("write", "a", "error", "vector"), ("write", "a", "error", "vector")]),
    (lambda c: c.count(), []),
]  # fmt: skip


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(collection: Any, act: Callable[[Any], Any], expected: list[tuple[Any, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt() -> Any:
        collection.upsert(["a"], [VECTOR], [{"owner": "ann"}], [TEXT])
        try:
            return act(collection)
        except Exception as error:
            return repr(error)

    plain = attempt()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    assert told(captured, "part")[1:] == expected


def test_a_search_is_a_base(collection: Any) -> None:
    """Who found a record by likeness has read it."""
    with capture() as captured:
        collection.query(query_embeddings=[VECTOR], n_results=1)
        collection.update(["a"], [VECTOR], documents=["another text"])
    search, write = captured.accesses
    assert search["noclobber.scan.approximate"] is True
    assert search["noclobber.result.resources"] == [f"{search['noclobber.resource']}a"]
    assert write["noclobber.version.base"] == printed(TEXT.encode())


def test_secrets_stay(collection: Any) -> None:
    """Neither texts, nor fields, nor vectors, nor filters."""
    with capture() as captured:
        collection.upsert(["a"], [VECTOR], [{"note": "planted-note-hunter2"}], ["planted text: hunter3"])
        collection.get(where={"note": "planted-note-hunter2"})
        collection.get(ids=["a"], include=["embeddings"])
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("planted-note-hunter2", "planted text: hunter3", "0.1, 0.2"):
        raw = secret.encode()
        for form in (secret, base64.b64encode(raw).decode(), raw.hex()):
            assert form not in text


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """A Chroma server; its port."""
    port = free_port("127.0.0.1", 0)
    program = Path(sys.executable).with_name("chroma")
    process = subprocess.Popen(
        [str(program), "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_race_and_twins(tmp_path: Path) -> None:
    """One lost update; none where a lock is held, and none where each agent changes a field of its own."""
    (finding,), _, _ = judged(tmp_path / "plain.jsonl", "chroma", "plain", "sync", str(tmp_path / "plain"))
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert '"noclobber.chromadb"' in (tmp_path / "plain.jsonl").read_text()
    findings, _, balance = judged(tmp_path / "apart.jsonl", "chroma", "apart", "sync", str(tmp_path / "apart"))
    assert (findings, balance) == ([], "10000150")
    findings, summary, balance = judged(tmp_path / "lock.jsonl", "chroma", "locked", "sync", str(tmp_path / "lock"))
    assert (findings, balance) == ([], "10000130")
    assert summary["defended"] == {"lock": 2}


def test_tasks_over_a_server(tmp_path: Path) -> None:
    """The asyncio client."""
    with server(tmp_path / "data") as port:
        (finding,), _, _ = judged(tmp_path / "plain.jsonl", "chroma", "plain", "async", str(port))
        findings, _, balance = judged(tmp_path / "apart.jsonl", "chroma", "apart", "async", str(port))
    assert (finding["kind"], finding["certainty"]) == ("lost_update", "likely")
    assert (findings, balance) == ([], "10000150")
