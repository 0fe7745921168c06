"""ZooKeeper by kazoo: nodes, transactions, locks, and agents that race on one node."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from broker_stage import zookeeper
from judging_agents import judged
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, LockTimeout, NodeExistsError, NoNodeError, RolledBackError
from within import in_its_thread

from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

TIMEOUT_S = 20
NAMES = ("version.read", "version.written", "version.overwritten", "version.expected", "guard")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own."""
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as found:
        root = KazooClient(found)
        root.start(TIMEOUT_S)
        root.create("/test")
        root.stop()
        root.close()
        yield found


@pytest.fixture
def client(address: str) -> Iterator[KazooClient]:
    """A client that sees nothing yet."""
    made = KazooClient(f"{address}/test")
    made.start(TIMEOUT_S)
    yield made
    for child in made.get_children("/"):
        made.delete(child, recursive=True)
    made.stop()
    made.close()


def told(captured: Captured, *names: str) -> list[tuple[Any, ...]]:
    return [
        (each["noclobber.op"], each["noclobber.outcome"], *(each.get(f"noclobber.{name}") for name in names))
        for each in captured.accesses
    ]


def test_nodes(client: KazooClient) -> None:
    """Versions on both sides, one more than ZooKeeper's; guards, and what they refuse."""
    with capture(agent="keeper") as captured:
        assert client.exists("/balance") is None
        client.create("/balance", b"planted-100")
        with pytest.raises(NodeExistsError):
            client.create("/balance", b"planted-0")
        assert client.get("/balance")[0] == b"planted-100"
        assert client.set("/balance", b"planted-150").version == 1
        client.set("/balance", b"planted-200", version=1)
        with pytest.raises(BadVersionError):
            client.set("/balance", b"planted-250", version=1)
        client.delete("/balance", 2)
        with pytest.raises(NoNodeError):
            client.delete("/balance")
        with pytest.raises(NoNodeError):
            client.get("/balance")
        sent = "".join(json_line(captured.resource, export) for export in captured.exports)
    none = (None, None, None)
    assert told(captured, *NAMES) == [
        ("read", "not_found", "0", None, *none),
        ("write", "ok", None, "1", None, None, "unique"),
        ("write", "rejected", None, "1", None, None, "unique"),
        ("read", "ok", "1", None, *none),
        ("write", "ok", None, "2", "1", None, None),
        ("write", "ok", None, "3", "2", "2", "version"),
        ("write", "rejected", None, None, None, "2", "version"),
        ("delete", "ok", None, "0", None, "3", "version"),
        ("delete", "no_effect", None, "0", *none),
        ("read", "not_found", "0", None, *none),
    ]
    (resource,) = {each["noclobber.resource"] for each in captured.accesses}
    assert (resource.startswith("zookeeper://"), resource.rpartition("/test/")[2]) == (True, "balance")
    assert {each["noclobber.version.kind"] for each in captured.accesses} == {"counter"}
    assert "planted" not in sent


def test_transactions(client: KazooClient) -> None:
    """All applies, or nothing does; what another operation's version refused is rejected, too."""
    client.create("/a", b"1")
    with capture() as captured:
        with client.transaction() as transaction:
            transaction.set_data("/a", b"2", 0)
            transaction.create("/b", b"1")
        failing = client.transaction()
        failing.set_data("/a", b"3", 0)
        failing.delete("/b")
        answers = failing.commit()
        found = told(captured, "version.written", "version.expected")
    assert isinstance(answers[0], BadVersionError | RolledBackError)
    assert found == [
        ("write", "ok", "2", "1"), ("write", "ok", "1", None),
        ("write", "rejected", None, "1"), ("delete", "rejected", "0", None),
    ]  # fmt: skip


def test_what_goes_with_a_node(client: KazooClient) -> None:
    """A recursive delete is told of the node and of all below it; sequence nodes by the name that they get."""
    client.create("/tree/leaf", b"1", makepath=True)
    with capture() as captured:
        client.create("/tree/n-", b"1", sequence=True)
        client.delete("/tree", recursive=True)
        resources = [each["noclobber.resource"].rpartition("/test/")[2] for each in captured.accesses]
    assert resources == ["tree/n-0000000001", "tree/", "tree"]


def test_locks(client: KazooClient, address: str) -> None:
    """A hold has the number of its node; what a lock does to its nodes is part of it; who waits in vain is refused."""
    other = KazooClient(f"{address}/test")
    other.start(TIMEOUT_S)
    with contextlib.closing(other), capture() as captured:
        with client.Lock("/lock"):
            client.create("/inside", b"1")
            with pytest.raises(LockTimeout):
                other.Lock("/lock").acquire(timeout=0.1)
            assert not other.Lock("/lock").acquire(blocking=False)
        client.set("/inside", b"2")
        with client.ReadLock("/lock"):
            pass
        found = told(captured, "lock.token", "lock.mode")
        held = [each.get("noclobber.locks") for each in captured.accesses if each["noclobber.op"] == "write"]
        other.stop()
    tokens = [each[2] for each in found if each[:2] in (("lock", "ok"), ("unlock", "ok"))]
    assert [each[:2] for each in found] == [
        ("lock", "ok"), ("write", "ok"), ("lock", "rejected"), ("lock", "rejected"), ("unlock", "ok"), ("write", "ok"),
        ("lock", "ok"), ("unlock", "ok"),
    ]  # fmt: skip
    assert (tokens[0] == tokens[1], tokens[2] == tokens[3], tokens[1] < tokens[2]) == (True, True, True)
    assert (len(held[0]), held[0][0].endswith(f"#{tokens[0]}"), held[1]) == (1, True, None)
    assert [each[3] for each in found][-2:] == ["shared", "shared"]


@pytest.mark.parametrize(("how", "defence"), [("safe", "rejected"), ("locked", "lock")])
def test_race_and_twin(how: str, defence: str, address: str, tmp_path: Path) -> None:
    """A balance that two agents add to, and the same with a version, and with a lock."""
    host, at = address.split(":")
    plain = judged(tmp_path / "plain.jsonl", "nodes.py", "kazoo", "plain", host, at, scope="kazoo")
    assert plain.kinds == [("lost_update", "certain")]
    safe = judged(tmp_path / "safe.jsonl", "nodes.py", "kazoo", how, host, at, scope="kazoo")
    assert (safe.kinds, int(safe.printed) - int(plain.printed)) == ([], 30)
    assert safe.summary["defended"].get(defence, 0) >= 1


def test_what_a_recorded_call_does_in_its_thread(client: KazooClient) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: client.create("/balance", b"1"))
        assert captured.accesses == []
        client.get("/balance")
        assert told(captured) == [("read", "ok")]
