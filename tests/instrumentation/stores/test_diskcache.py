"""diskcache in a real folder: what each method is told as, transactions and their end, and what it answers."""

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diskcache
import pytest

from noclobber import testing, versions
from noclobber.otlp import json_line
from noclobber.resources import host_name
from noclobber.testing import Captured, capture

PLAN = "a plan that is long enough"
TIMEOUT_S = 10


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Any]:
    """A cache with one key."""
    with diskcache.Cache(str(tmp_path / "cache"), timeout=0.2) as made:
        made["plan"] = PLAN
        yield made


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.resource"].rpartition("/")[2],
            each["noclobber.outcome"],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
        if not each["noclobber.resource"].startswith("strand://")
    ]


def printed(value: bytes) -> str:
    before = versions.use_key(testing.KEY)
    try:
        return versions.fingerprint(value)
    finally:
        versions.use_key(before)


def test_get_and_set_whole(cache: Any, tmp_path: Path) -> None:
    """A read and the write after it, attribute by attribute; nothing of its SQL."""
    with capture(agent="planner") as captured:
        assert cache["plan"] == PLAN
        cache.set("plan", PLAN + "!", expire=60)
        read, write = captured.accesses
    folder = "/".join([host_name(), *str(tmp_path / "cache").split("/")[1:]])
    common = {
        "noclobber.resource": f"cache://{folder}/plan",
        "noclobber.system": "diskcache",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.version.kind": "fingerprint",
        "code.function.name": "test_get_and_set_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.size": len(PLAN),
        "noclobber.version.read": printed(PLAN.encode()),
        "db.operation.name": "get",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.size": len(PLAN) + 1,
        "noclobber.ttl_ms": 60_000,
        "noclobber.version.written": printed(f"{PLAN}!".encode()),
        "noclobber.version.base": printed(PLAN.encode()),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "set",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write diskcache", "diskcache")


TABLE: list[tuple[Callable[[Any], Any], list[tuple[Any, ...]]]] = [
    (lambda c: c.get("plan"), [("read", "plan", "ok", None)]),
    (lambda c: c.get("no"), [("read", "no", "not_found", True)]),
    (lambda c: c["no"], [("read", "no", "not_found", True)]),
    (lambda c: c.get("no", PLAN), [("read", "no", "ok", True)]),
    (lambda c: c.get("plan", expire_time=True, tag=True), [("read", "plan", "ok", None)]),
    (lambda c: c.read("plan"), [("read", "plan", "ok", None)]),
    (lambda c: "plan" in c, [("read", "plan", "ok", None)]),
    (lambda c: "no" in c, [("read", "no", "not_found", True)]),
    (lambda c: c.add("plan", "another"), [("write", "plan", "rejected", None)]),
    (lambda c: c.add("fresh", "another"), [("write", "fresh", "ok", None)]),
    (lambda c: c.set(("a", 1), [1, 2]), [("write", "tuple(%5B%22a%22,1%5D)", "ok", None)]),
    (lambda c: (c.set(1, "x"), c.set("1", "y")), [("write", "int(1)", "ok", None), ("write", "1", "ok", None)]),
    (lambda c: c.incr("hits"), [("update", "hits", "ok", None)]),
    (lambda c: c.decr("hits", 2), [("update", "hits", "ok", None)]),
    (lambda c: c.incr("no", default=None), [("update", "no", "error", None)]),
    (lambda c: c.pop("plan"), [("delete", "plan", "ok", None)]),
    (lambda c: c.pop("no"), [("delete", "no", "no_effect", None)]),
    (lambda c: c.delete("plan"), [("delete", "plan", "ok", None)]),
    (lambda c: c.delete("no"), [("delete", "no", "no_effect", None)]),
    (lambda c: c.clear(), [("delete", "", "ok", None)]),
    (lambda c: c.evict("tag"), [("update", "", "ok", True)]),
    (lambda c: c.push("task"), [("update", "", "ok", True)]),
    (lambda c: c.touch("plan", 50), []),
    (lambda c: (len(c), c.stats(), c.volume(), c.expire(), c.cull(), c.check()), []),
    (lambda c: c.get(), []),
]


@pytest.mark.parametrize(("act", "expected"), TABLE)
def test_each_method(tmp_path: Path, act: Callable[[Any], Any], expected: list[tuple[Any, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt(name: str) -> str:
        with diskcache.Cache(str(tmp_path / name)) as cache:
            cache["plan"] = PLAN
            try:
                answer = act(cache)
                return str(getattr(answer, "read", lambda: answer)())
            except (KeyError, TypeError) as error:
                return repr(error)

    plain = attempt("plain")
    with capture() as captured:
        watched = attempt("watched")
    assert watched == plain
    assert told(captured, "partial")[1:] == expected


def test_transactions(cache: Any) -> None:
    """One unit and one lock, also where they are nested; what raises takes everything back."""
    with capture() as captured:
        with cache.transact(), cache.transact():
            cache["plan"] = cache["plan"] + "!"
        with contextlib.suppress(ZeroDivisionError), cache.transact():
            cache["plan"] = "something else"
            raise ZeroDivisionError
        assert cache["plan"] == PLAN + "!"
        cache["plan"] = PLAN + "!!"
    assert " ".join(each[0] for each in told(captured)) == (
        "lock begin read write commit unlock lock begin write abort unlock read write"
    )
    accesses = captured.accesses
    first = {each["noclobber.txn.id"] for each in accesses[1:5]}
    assert len(first | {accesses[8]["noclobber.txn.id"]}) == 2
    assert accesses[3]["noclobber.locks"] == [accesses[0]["noclobber.resource"]]
    assert accesses[3]["noclobber.unit.kind"] == "txn"
    assert "noclobber.txn.id" not in accesses[-1]
    assert accesses[-1]["noclobber.version.base"] == printed(f"{PLAN}!".encode())


def test_a_transaction_that_another_is_in(cache: Any) -> None:
    """Turned away after its timeout, and then nothing is held."""
    raised: list[str] = []
    with diskcache.Cache(cache.directory, timeout=0.05) as mine, capture() as captured:

        def other() -> None:
            try:
                with mine.transact():
                    raised.append("two at once")
            except diskcache.Timeout:
                raised.append("timeout")

        thread = threading.Thread(target=other)
        with cache.transact():
            thread.start()
            thread.join(TIMEOUT_S)
    assert raised == ["timeout"]
    assert [each[::2] for each in told(captured) if each[0] in ("lock", "unlock")] == [
        ("lock", "ok"), ("lock", "rejected"), ("unlock", "ok"),
    ]  # fmt: skip


def test_shards_and_what_is_built_on_a_cache(tmp_path: Path) -> None:
    """Each access is told once, under the folder of its shard."""
    with capture() as captured:
        with diskcache.FanoutCache(str(tmp_path / "fan"), shards=2) as fan:
            fan["plan"] = PLAN
            assert fan["plan"] == PLAN
        index = diskcache.Index(str(tmp_path / "index"))
        index["plan"] = PLAN
        assert index["plan"] == PLAN
        index.cache.close()
    assert [each[:2] for each in told(captured)] == [("write", "plan"), ("read", "plan")] * 2
    assert len({each["noclobber.resource"] for each in captured.accesses}) == 2


def test_secrets_stay(cache: Any) -> None:
    """Values are in no span."""
    with capture() as captured:
        cache["plan"] = "planted value: hunter2"
        cache.pop("plan")
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    raw = b"planted value: hunter2"
    for form in (raw.decode(), base64.b64encode(raw).decode(), raw.hex()):
        assert form not in text
