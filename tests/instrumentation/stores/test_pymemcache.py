"""pymemcache against a real server: attributes, guards, unanswered writes, and answers as without noclobber."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from memcached_stage import memcached
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheError
from pymemcache.serde import pickle_serde
from within import in_its_thread

from noclobber import testing, versions
from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import Captured, capture

TIMEOUT_S = 10
Server = tuple[str, int]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own."""
    with memcached() as found:
        yield found


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client that waits for answers, on an empty server."""
    made = Client(server, default_noreply=False, timeout=TIMEOUT_S)
    made.flush_all()
    yield made
    made.close()


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.resource"].rpartition("/")[2],
            each["noclobber.outcome"],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
    ]


def printed(value: bytes) -> str:
    before = versions.use_key(testing.KEY)
    try:
        return versions.fingerprint(value)
    finally:
        versions.use_key(before)


def test_get_and_set_whole(client: Client, server: Server) -> None:
    """A read and the write after it, attribute by attribute."""
    client.set("acct:42", "a balance of 100")
    with capture(agent="teller") as captured:
        client.get("acct:42")
        client.set("acct:42", "a balance of 150", expire=60)
        read, write = captured.accesses
    common = {
        "noclobber.resource": f"memcached://{host_name()}:{server[1]}/acct:42",
        "noclobber.system": "memcached",
        "noclobber.outcome": "ok",
        "noclobber.agent": "teller",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.size": 16,
        "noclobber.version.kind": "fingerprint",
        "code.function.name": "test_get_and_set_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.version.read": printed(b"a balance of 100"),
        "db.operation.name": "get",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.version.written": printed(b"a balance of 150"),
        "noclobber.version.base": printed(b"a balance of 100"),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "noclobber.ttl_ms": 60_000,
        "db.operation.name": "set",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write memcached", "pymemcache")


def test_cas(client: Client) -> None:
    """What `cas` compared is the value that came with its token; an applied one replaced just that."""
    client.set("acct", b"a balance of 100")
    with capture() as captured:
        _, token = client.gets("acct")
        assert client.cas("acct", b"a balance of 150", token) is True
        assert client.cas("acct", b"a balance of 180", token) is False
        client.delete("acct")
        assert client.cas("acct", b"a balance of 210", token) is None
        assert client.cas("acct", b"a balance of 240", b"777777") is None
    read = printed(b"a balance of 100")
    names = ("version.base", "version.base.source", "version.overwritten", "version.read", "guard")
    assert told(captured, *names) == [
        ("read", "acct", "ok", None, None, None, read, None),
        ("write", "acct", "ok", read, "explicit", read, None, "version"),
        ("write", "acct", "rejected", read, "explicit", None, None, "version"),
        ("delete", "acct", "ok", printed(b"a balance of 150"), "observed", None, None, None),
        ("write", "acct", "rejected", read, "explicit", None, "absent", "version"),
        ("write", "acct", "rejected", None, None, None, None, "version"),
    ]


TABLE: list[tuple[Callable[[Client], Any], list[tuple[str, ...]]]] = [
    (lambda c: c.get("no"), [("read", "no", "not_found")]),
    (lambda c: c.get_many(["plan", "no"]), [("read", "plan", "ok"), ("read", "no", "not_found")]),
    (lambda c: c.get_many({"plan": 1}.keys()), [("read", "plan", "ok")]),
    (lambda c: c.gets_many(k for k in ["plan"]), []),
    (lambda c: c.add("plan", "another plan"), [("write", "plan", "rejected")]),
    (lambda c: c.add("fresh", "another plan"), [("write", "fresh", "ok")]),
    (lambda c: c.replace("no", "another plan"), [("write", "no", "no_effect")]),
    (lambda c: c.append("plan", "!"), [("update", "plan", "ok")]),
    (lambda c: c.prepend("no", "!"), [("update", "no", "no_effect")]),
    (lambda c: c.incr("hits", 5), [("update", "hits", "ok")]),
    (lambda c: c.decr("no", 5), [("update", "no", "no_effect")]),
    (lambda c: c.incr("plan", 5), [("update", "plan", "error")]),
    (lambda c: c.set_many({"a": "1", "b": "2"}), [("write", "a", "ok"), ("write", "b", "ok")]),
    (lambda c: c.delete("plan"), [("delete", "plan", "ok")]),
    (lambda c: c.delete_many(["plan", "no"]), [("delete", "plan", "ok"), ("delete", "no", "no_effect")]),
    (lambda c: c.set("a key", "x"), [("write", "a%20key", "error")]),
    (lambda c: c.set("big", b"x" * 2_000_000), [("write", "big", "unknown")]),
    (lambda c: c.flush_all(), [("delete", "", "ok")]),
    (lambda c: c.touch("plan", 50), []),
    (lambda c: c.stats()[b"threads"], []),
    (lambda c: c.version(), []),
    (lambda c: c.get_many([]), []),
]


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_command(client: Client, act: Callable[[Client], Any], expected: list[tuple[str, ...]]) -> None:
    """What each command is told as; its answer, or its error, is the one that it has without noclobber."""

    def attempt() -> Any:
        client.flush_all()
        client.set_many({"plan": "a long plan", "hits": "100"})
        try:
            return act(client)
        except (MemcacheError, OSError, KeyError) as error:
            return repr(error)

    plain = attempt()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    assert told(captured)[3:] == expected


def test_a_write_without_an_answer_ends_with_the_next_one(client: Client, server: Server) -> None:
    """It is a strand of its own that lasts until its connection has answered something else, and is waited for then."""
    quick = Client(server, timeout=TIMEOUT_S)
    with capture() as captured:
        quick.set("acct", "a balance of 100")
        quick.delete("plan")
        assert captured.accesses == []
        quick.get("acct")
    quick.close()
    assert [each[::3] for each in told(captured, "strand")] == [
        ("write", "test-2"), ("delete", "test-3"), ("read", "test-1"), ("join", "test-1"), ("join", "test-1"),
    ]  # fmt: skip
    write, _, read = captured.spans[:3]
    assert write.end_ns > read.start_ns


def test_a_write_that_is_never_answered_is_unknown(server: Server) -> None:
    """At the end of the program, and where the connection breaks."""
    quick = Client(server, timeout=TIMEOUT_S)
    with capture() as captured:
        quick.set("acct", "a balance of 100")
    assert told(captured) == []
    from noclobber.stores import pymemcache as hook

    with capture() as captured:
        quick.set("acct", "a balance of 150")
        hook._give_up()
        quick.get("acct")
    quick.close()
    assert told(captured) == [("write", "acct", "unknown"), ("read", "acct", "ok")]


def test_what_was_written_elsewhere_meanwhile_is_no_base(client: Client, server: Server) -> None:
    """A later read by another connection is the base, whenever the unanswered write is told."""
    quick = Client(server, timeout=TIMEOUT_S)
    with capture() as captured:
        quick.set("acct", "a balance of 100")
        while client.get("acct") != b"a balance of 100":
            pass
        client.set("acct", "a balance of 150")
        quick.get("acct")
        client.set("acct", "a balance of 180")
    quick.close()
    last = captured.accesses[-1]
    assert last["noclobber.version.base"] == printed(b"a balance of 150")


@pytest.mark.parametrize("kind", [PooledClient, HashClient])
def test_other_clients(kind: Any, client: Client, server: Server) -> None:
    """Pools and rings of servers pass through the same methods; each call is told once."""
    made = kind([server] if kind is HashClient else server, default_noreply=False, key_prefix=b"app:")
    with capture() as captured:
        made.set("acct", "a balance of 100")
        made.get("acct")
        made.get_many(["acct"])
    assert told(captured) == [
        ("write", "app:acct", "ok"), ("read", "app:acct", "ok"), ("read", "app:acct", "ok"),
    ]  # fmt: skip
    made.close()


def test_errors_that_a_client_ignores_are_told(server: Server) -> None:
    """A miss that is none: nobody knows what is there."""
    with socket.create_server(("127.0.0.1", 0)) as silent, capture() as captured:
        client = Client(silent.getsockname(), ignore_exc=True, timeout=0.1)
        assert client.get("acct", "fallback") == "fallback"
        with pytest.raises(TimeoutError):
            client.set("acct", "x", noreply=False)
    assert told(captured, "version.read") == [("read", "acct", "error", None), ("write", "acct", "unknown", None)]


def test_pickled_values_are_not_verbatim(client: Client, server: Server) -> None:
    """A request's print of them proves nothing by being unequal to a reply's."""
    pickling = Client(server, serde=pickle_serde, default_noreply=False)
    with capture() as captured:
        for value in ({"balance": (1, 2)}, True, 1.5, "text", b"bytes", 10_000_001):
            pickling.set("acct", value)
            assert pickling.get("acct") == value
    pickling.close()
    shown = [each.get("noclobber.version.verbatim") for each in captured.accesses]
    assert shown == [False] * 6 + [None] * 6


def test_a_value_that_changes_after_the_call(server: Server) -> None:
    """What was written is what it was at the call."""
    pickling = Client(server, serde=pickle_serde, default_noreply=False)
    with capture() as captured:
        plan = {"balance": 100}
        pickling.set("acct", plan)
        plan["balance"] = 0
    pickling.close()
    assert captured.accesses[0]["noclobber.version.written"] == printed(b'{"balance":100}')


def test_secrets_stay(client: Client) -> None:
    """Neither values nor tokens are in any span, in no form."""
    with capture() as captured:
        client.set("acct", "planted value: hunter2 and more")
        _, token = client.gets("acct")
        client.cas("acct", "planted value: hunter3 and more", token)
        client.append("acct", "planted tail")
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    for secret in ("planted value: hunter2 and more", "planted value: hunter3 and more", "planted tail"):
        raw = secret.encode()
        for form in (secret, base64.b64encode(raw).decode(), raw.hex(), quote(secret, safe="")):
            assert form not in text


def test_threads_with_clients_of_their_own(server: Server) -> None:
    """Each strand's unanswered writes are its own."""
    with capture(fixed=False) as captured:

        def act(name: str) -> None:
            mine = Client(server, timeout=TIMEOUT_S)
            for number in range(20):
                mine.set(name, f"a state with number {number}")
                mine.get(name)
            mine.close()

        threads = [threading.Thread(target=act, args=(f"key-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    found = [each for each in told(captured) if each[0] != "join"]
    assert len(found) == 160
    assert {each[2] for each in found} == {"ok"}


def test_what_a_recorded_call_does_in_its_thread(client: Client) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture() as captured:
        in_its_thread(lambda: client.set("a", "1"))
        assert captured.accesses == []
        client.get("a")
        assert told(captured) == [("read", "a", "ok")]
