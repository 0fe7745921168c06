"""Managers of multiprocessing, with a real manager's process: what each method is told as, and what it answers."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.managers import SyncManager
from typing import Any

import pytest

from noclobber import testing, versions
from noclobber.otlp import json_line
from noclobber.testing import Captured, capture

PLAN = "a plan that is long enough"


@pytest.fixture(scope="module")
def manager() -> Iterator[SyncManager]:
    """A manager's process, which starts afresh."""
    with multiprocessing.get_context("spawn").Manager() as made:
        yield made


def told(captured: Captured, *more: str) -> list[tuple[Any, ...]]:
    return [
        (
            each["noclobber.op"],
            each["noclobber.resource"].split("/", 4)[4],
            each["noclobber.outcome"],
            *(each.get(f"noclobber.{name}") for name in more),
        )
        for each in captured.accesses
        if not is_strand(each)
    ]


def is_strand(access: dict[str, Any]) -> bool:
    return access["noclobber.resource"].startswith("strand://")


def printed(value: bytes) -> str:
    before = versions.use_key(testing.KEY)
    try:
        return versions.fingerprint(value)
    finally:
        versions.use_key(before)


def test_read_and_write_whole(manager: SyncManager) -> None:
    """A read and the write after it, attribute by attribute."""
    shared = manager.dict(plan=PLAN)
    with capture(agent="planner") as captured:
        assert shared["plan"] == PLAN
        shared["plan"] = PLAN + "!"
        read, write = captured.accesses
    common = {
        "noclobber.resource": read["noclobber.resource"],
        "noclobber.system": "multiprocessing",
        "noclobber.outcome": "ok",
        "noclobber.agent": "planner",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.version.kind": "fingerprint",
        "code.function.name": "test_read_and_write_whole",
        "code.file.path": __file__,
        "code.line.number": read["code.line.number"],
    }
    assert read["noclobber.resource"].startswith("manager://")
    assert read["noclobber.resource"].endswith("/plan")
    assert read == common | {
        "noclobber.op": "read",
        "noclobber.seq": 1,
        "noclobber.size": len(PLAN),
        "noclobber.version.read": printed(PLAN.encode()),
        "db.operation.name": "__getitem__",
    }
    assert write == common | {
        "noclobber.op": "write",
        "noclobber.seq": 2,
        "noclobber.size": len(PLAN) + 1,
        "noclobber.version.written": printed(f"{PLAN}!".encode()),
        "noclobber.version.base": printed(PLAN.encode()),
        "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": "test-1",
        "noclobber.version.base.seq": 1,
        "noclobber.version.base.end_ns": captured.spans[0].end_ns,
        "db.operation.name": "__setitem__",
        "code.line.number": read["code.line.number"] + 1,
    }
    assert (captured.spans[1].name, captured.spans[1].library) == ("write multiprocessing", "multiprocessing")


ON_DICT: list[tuple[Callable[[Any], Any], list[tuple[str, ...]]]] = [
    (lambda d: d["no"], [("read", "no", "not_found")]),
    (lambda d: d.get("plan"), [("read", "plan", "ok")]),
    (lambda d: "plan" in d, [("read", "plan", "ok")]),
    (lambda d: "no" in d, [("read", "no", "not_found")]),
    (lambda d: d.update(a=1, b=2), [("write", "a", "ok"), ("write", "b", "ok")]),
    (lambda d: d.update([("a", 1)]), [("write", "a", "ok")]),
    (lambda d: d.__delitem__("plan"), [("delete", "plan", "ok")]),
    (lambda d: d.__delitem__("no"), [("delete", "no", "no_effect")]),
    (lambda d: d.pop("plan"), [("delete", "plan", "ok")]),
    (lambda d: d.pop("no"), [("delete", "no", "no_effect")]),
    (lambda d: d.pop("no", None), [("delete", "no", "ok")]),
    (lambda d: d.setdefault("no", 5), [("update", "no", "ok")]),
    (lambda d: sorted(d.keys()), [("scan", "", "ok")]),
    (lambda d: d.copy(), [("scan", "", "ok")]),
    (lambda d: d.clear(), [("delete", "", "ok")]),
    (len, []),
    (lambda d: d.get(), []),
]


@pytest.mark.parametrize(("act", "expected"), ON_DICT)
def test_each_method(manager: SyncManager, act: Callable[[Any], Any], expected: list[tuple[str, ...]]) -> None:
    """Told as what it is, with the answer or the error that it has without noclobber."""

    def attempt() -> Any:
        shared = manager.dict(plan=PLAN)
        try:
            return act(shared)
        except (KeyError, TypeError) as error:
            return repr(error)

    plain = attempt()
    with capture() as captured:
        watched = attempt()
    assert watched == plain
    made, *rest = [(op, key.partition("/")[2], outcome) for op, key, outcome in told(captured)][1:]
    assert made == ("write", "plan", "ok")
    assert rest == expected


def test_a_copy_is_a_base(manager: SyncManager) -> None:
    """Who read all of it has read what he then writes."""
    shared = manager.dict(plan=PLAN, other=PLAN * 2)
    with capture() as captured:
        shared["plan"] = shared.copy()["plan"] + "!"
    write = captured.accesses[1]
    assert write["noclobber.version.base"] == printed(PLAN.encode())


def test_lists_and_what_is_not_recorded(manager: SyncManager) -> None:
    """A list has no versions; queues and events are left alone."""
    with capture() as captured:
        shared = manager.list([PLAN])
        shared.append(PLAN)
        assert shared[0] == PLAN
        shared.pop()
        manager.Value("u", PLAN)
        manager.Queue().put(PLAN)
        manager.Event().set()
    assert [(op, outcome) for op, _, outcome in told(captured)] == [
        ("update", "ok"), ("read", "ok"), ("update", "ok"), ("write", "ok"),
    ]  # fmt: skip


def test_a_number_that_is_given_again(manager: SyncManager) -> None:
    """What an object held that is gone is no base of what another with its number holds."""
    with capture() as captured:
        for _ in range(200):
            shared = manager.dict()
            shared.get("plan", "another plan of the same length")
            shared["plan"] = PLAN
            del shared
    writes = [each for each in captured.accesses if each["noclobber.op"] == "write"]
    assert len({each["noclobber.resource"] for each in writes}) < 200
    assert [each for each in writes if "noclobber.version.base" in each] == []


def test_locks(manager: SyncManager) -> None:
    """Taken, held by what is done meanwhile, given back; an RLock once for all its depths."""
    shared, lock = manager.dict(), manager.RLock()
    with capture() as captured:
        with lock, lock:
            shared["plan"] = PLAN
        shared["plan"] = PLAN
    ops = [(op, held) for op, _, _, held in told(captured, "locks")]
    name = captured.accesses[0]["noclobber.resource"]
    assert ops == [("lock", None), ("write", [name]), ("unlock", None), ("write", None)]


def test_a_lock_that_another_has(manager: SyncManager) -> None:
    """Turned away, and then not held."""
    lock = manager.Lock()
    with capture() as captured:
        assert lock.acquire()
        thread = threading.Thread(target=lambda: lock.acquire(False))
        thread.start()
        thread.join(10)
        lock.release()
    found = [(op, outcome) for op, _, outcome in told(captured) if op in ("lock", "unlock")]
    assert found == [("lock", "ok"), ("lock", "rejected"), ("unlock", "ok")]


def test_objects_that_show_nothing_have_no_version(manager: SyncManager) -> None:
    """Never an address for a content."""
    shared = manager.dict()
    with capture() as captured:
        shared["plan"] = object()
        shared["plan"] = {1, 2}
    assert [each.get("noclobber.version.kind") for each in captured.accesses] == [None, "fingerprint"]


def test_secrets_stay(manager: SyncManager) -> None:
    """Values are in no span."""
    shared = manager.dict()
    with capture() as captured:
        shared["plan"] = "planted value: hunter2 and more"
        shared.copy()
        shared.pop("plan")
    text = "".join(json_line(captured.resource, export) for export in captured.exports)
    assert "hunter2" not in text
    assert b"planted value: hunter2 and more".hex() not in text
