"""Values whose versions are counted: what is got, replaced, deleted and refused."""

import threading

import pytest

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Op
from noclobber.frameworks.counted import Counted
from noclobber.frameworks.seams import recorded
from noclobber.testing import capture


def told(held: dict[str, int]) -> Counted:
    return Counted("some", "some.state", lambda name: f"some://state/{name}", held.__contains__)


def test_each_access_tells_its_version() -> None:
    """Nothing there is 0, and what follows a delete begins a new life."""
    held: dict[str, int] = {}
    counted = told(held)
    with capture() as captured:
        assert counted.got("a", lambda: held.get("a")) is None
        counted.set("a", lambda: held.update(a=5))
        counted.set("a", lambda: held.update(a=6))
        assert counted.got("a", lambda: held["a"]) == 6
        counted.deleted("a", held.clear)
        counted.set("a", lambda: held.update(a=7))
    names = ("op", "outcome", "version.read", "version.base", "version.overwritten", "version.written")
    assert [tuple(each.get(f"noclobber.{name}") for name in names) for each in captured.accesses] == [
        ("read", "not_found", "0", None, None, None),
        ("write", "ok", None, "0", "0", "1"),
        ("write", "ok", None, "1", "1", "2"),
        ("read", "ok", "2", None, None, None),
        ("delete", "ok", None, "2", "2", "0"),
        ("write", "ok", None, "0", "0", "1"),
    ]
    assert {each["noclobber.version.kind"] for each in captured.accesses} == {"counter"}


def test_what_was_there_before_is_version_one() -> None:
    """Somebody has set it before it was watched."""
    counted = told({"a": 1})
    with capture() as captured:
        counted.got("a", lambda: 1)
        counted.set("a", lambda: None)
    assert [each.get("noclobber.version.written") for each in captured.accesses] == [None, "2"]


def test_what_the_object_refuses_changes_nothing() -> None:
    """Its own error is raised, and no number is used up."""
    counted = told({"a": 1})

    def refuse() -> None:
        raise ValueError("too big")

    with capture() as captured:
        with pytest.raises(ValueError, match="too big"):
            counted.set("a", refuse)
        counted.set("a", lambda: None)
    outcomes = [(each["noclobber.outcome"], each.get("noclobber.version.written")) for each in captured.accesses]
    assert outcomes == [("error", None), ("ok", "2")]


def test_it_works_where_noclobber_is_off() -> None:
    """And counts on."""
    held: dict[str, int] = {}
    counted = told(held)
    counted.set("a", lambda: held.update(a=5))
    assert counted.got("a", lambda: held["a"]) == 5


def test_a_thread_of_a_recorded_call_is_part_of_it() -> None:
    """What a call that is recorded does in threads of its own is told once, as that call."""
    held = {"a": 1}
    counted = told(held)

    class Library:
        def work(self) -> None:
            thread = threading.Thread(target=counted.got, args=("a", lambda: held["a"]))
            thread.start()
            thread.join()

    def begin(*_: object) -> Call | None:
        return recorder.begin("library")

    def finish(_self: object, call: Call, _result: object, error: BaseException | None) -> None:
        recorder.end(call, lambda _: [Access(Op.READ, "library://whole", "library")], None, error)

    with capture() as captured:
        recorded(begin, finish)(Library.work)(Library())
        counted.got("a", lambda: 1)
    assert [each["noclobber.resource"] for each in captured.accesses if each["noclobber.op"] == "read"] == [
        "library://whole", "some://state/a",
    ]  # fmt: skip
