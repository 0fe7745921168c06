"""etcd by etcd3gw: keys, ranges, transactions, locks, and agents that race on one key."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_stage import HOST, etcd
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import ConnectionFailedError
from judging_agents import judged
from within import in_its_thread

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server of its own; its port."""
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
def client(at: int) -> Iterator[Etcd3Client]:
    """A client of an empty server."""
    made = Etcd3Client(HOST, at, timeout=10)
    made.delete_prefix("a")
    yield made
    made.session.close()


def told(captured: Captured, *names: str) -> list[tuple[Any, ...]]:
    return [
        (each["noclobber.op"], each["noclobber.outcome"], *(each.get(f"noclobber.{name}") for name in names))
        for each in captured.accesses
    ]


def test_keys(client: Etcd3Client) -> None:
    """Revisions on both sides; a guard that compares the value alone is none that versions tell."""
    with capture(agent="keeper") as captured:
        assert client.get("a/key") == []
        client.put("a/key", "planted-100")
        assert client.get("a/key") == [b"planted-100"]
        assert client.replace("a/key", "planted-100", "planted-150")
        assert not client.create("a/key", "planted-0")
        assert client.delete("a/key")
        assert not client.delete("a/key")
        assert client.create("a/key", "planted-1")
        found = told(captured, "version.read", "version.written", "version.base", "guard")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    one = int(found[1][3])
    assert found == [
        ("read", "not_found", "0", None, None, None),
        ("write", "ok", None, str(one), "0", None),
        ("read", "ok", str(one), None, None, None),
        ("write", "ok", None, str(one + 1), str(one), None),
        ("write", "rejected", None, None, str(one + 1), "unique"),
        ("delete", "ok", None, "0", str(one + 1), None),
        ("delete", "no_effect", None, "0", "0", None),
        ("write", "ok", None, str(one + 3), "0", "unique"),
    ]
    assert {each["noclobber.resource"].partition("/a/")[2] for each in captured.accesses} == {"key"}
    assert "planted" not in sent


def test_transactions(client: Etcd3Client) -> None:
    """A compared revision is a guard; of a refused transaction both branches are told."""
    client.put("a/key", "100")
    ((_, known),) = client.get("a/key", metadata=True)
    name, value = (base64.b64encode(each).decode() for each in (b"a/key", b"150"))
    change = {
        "compare": [{"key": name, "result": "EQUAL", "target": "MOD", "mod_revision": known["mod_revision"]}],
        "success": [{"request_put": {"key": name, "value": value}}],
        "failure": [{"request_range": {"key": name}}],
    }
    with capture() as captured:
        assert [client.transaction(change).get("succeeded", False) for _ in range(2)] == [True, False]
        found = told(captured, "guard", "version.expected", "version.read")
    before = known["mod_revision"]
    assert found == [
        ("write", "ok", "version", before, None),
        ("read", "ok", None, None, str(int(before) + 1)),
        ("write", "rejected", "version", before, None),
    ]


def test_ranges(client: Etcd3Client) -> None:
    """A range is a scan, and what it found is a base; one that is deleted does not say what it held."""
    for key in ("a/1", "a/2"):
        client.put(key, "a value of some length")
    with capture() as captured:
        assert len(client.get_prefix("a/")) == 2
        client.put("a/1", "another value")
        client.delete_prefix("a/")
        scan, write, delete = captured.accesses
    assert (scan["noclobber.op"], len(scan["noclobber.result.resources"])) == ("scan", 2)
    assert write["noclobber.version.base"] == scan["noclobber.result.versions"][0]
    assert (delete["noclobber.op"], delete["noclobber.partial"]) == ("delete", True)


def test_no_answer(at: int) -> None:
    """A put without an answer may have been applied; the error is the program's own."""
    gone = Etcd3Client(HOST, 1, timeout=1, api_path="/v3/")
    with capture() as captured:
        with pytest.raises(ConnectionFailedError):
            gone.put("a/key", "100")
        assert told(captured, "version.written") == [("write", "unknown", None)]


def test_locks(client: Etcd3Client) -> None:
    """A lock is held from its taking to its giving back, for as long as its lease."""
    with capture() as captured:
        lock = client.lock("ledger", ttl=30)
        assert lock.acquire()
        assert not client.lock("ledger").acquire()
        client.put("a/inside", "1")
        lock.refresh()
        assert lock.release()
        client.put("a/inside", "2")
        found = told(captured, "lock.ttl_ms")
        held = [len(each.get("noclobber.locks", ())) for each in captured.accesses if each["noclobber.op"] == "write"]
    assert [each[:2] for each in found] == [
        ("lock", "ok"), ("lock", "rejected"), ("write", "ok"), ("lock", "ok"), ("unlock", "ok"), ("write", "ok"),
    ]  # fmt: skip
    assert (found[0][2], held) == (30_000, [1, 0])


def test_race_and_twin(at: int, tmp_path: Path) -> None:
    """A balance that two agents add to, and the same with a compared revision."""
    plain = judged(tmp_path / "plain.jsonl", "nodes.py", "etcd3gw", "plain", HOST, str(at), scope="etcd3gw")
    assert plain.kinds == [("lost_update", "certain")]
    safe = judged(tmp_path / "safe.jsonl", "nodes.py", "etcd3gw", "safe", HOST, str(at), scope="etcd3gw")
    assert (safe.kinds, int(safe.printed) - int(plain.printed)) == ([], 30)
    assert safe.summary["defended"].get("rejected", 0) >= 1


def test_what_a_recorded_call_does_in_its_thread(client: Etcd3Client) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: client.put("a/key", "1"))
        assert captured.accesses == []
        client.get("a/key")
        assert told(captured) == [("read", "ok")]
