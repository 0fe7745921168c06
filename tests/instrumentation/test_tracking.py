"""`noclobber.tracked`: a dictionary as it was, whose writes know what they replaced."""

import threading
from collections import defaultdict
from typing import Any

import pytest

import noclobber
from noclobber.testing import capture


def told(captured: Any) -> list[tuple[Any, ...]]:
    names = ("op", "outcome", "version.read", "version.base", "version.overwritten", "version.written")
    return [tuple(a.get(f"noclobber.{name}") for name in names) for a in captured.accesses]


def test_versions_of_a_key() -> None:
    """Counted from 1, replaced versions known, nothing there is 0 and begins a new life."""
    plain = {"a": 1}
    with capture() as captured:
        shared = noclobber.tracked(plain, name="state")
        assert shared["a"] == 1
        shared["a"] = 2
        del shared["a"]
        with pytest.raises(KeyError, match="'a'"):
            shared["a"]
        shared["a"] = 3
        assert told(captured) == [
            ("read", "ok", "1", None, None, None),
            ("write", "ok", None, "1", "1", "2"),
            ("delete", "ok", None, "2", "2", "0"),
            ("read", "not_found", "0", None, None, None),
            ("write", "ok", None, "0", "0", "1"),
        ]
        assert captured.accesses[0]["noclobber.resource"] == "mem://test/state/a"
        assert {a["noclobber.version.kind"] for a in captured.accesses} == {"counter"}
    assert plain == {"a": 3}


def test_it_behaves_like_the_dictionary() -> None:
    """Answers and errors are those of the object itself."""
    with capture() as captured:
        shared = noclobber.tracked({"a": 1}, name="s")
        assert (len(shared), list(shared), "a" in shared, "b" in shared, shared.get("b")) == (
            1,
            ["a"],
            True,
            False,
            None,
        )
        assert (shared.setdefault("a", 5), shared.setdefault("b", 6), shared.pop("b"), shared.pop("b", 0)) == (
            1,
            6,
            6,
            0,
        )
        with pytest.raises(KeyError):
            shared.pop("b")
        with pytest.raises(KeyError):
            del shared["b"]
        shared.update({"c": 7})
        assert dict(shared) == {"a": 1, "c": 7}
        assert repr(shared) == "tracked({'a': 1, 'c': 7}, name='s')"
        with pytest.raises(TypeError, match="unhashable"):
            shared[[]]  # type: ignore[index]  # a mistake
        seqs = [a["noclobber.seq"] for a in captured.accesses]
        assert captured.accesses[-1]["noclobber.outcome"] == "error"
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_dictionary_with_defaults_keeps_them() -> None:
    """Asking makes the key, as ever."""
    with capture() as captured:
        shared = noclobber.tracked(defaultdict(list), name="s")
        shared["a"].append(1)
        assert shared["a"] == [1]
        assert [row[:3] for row in told(captured)] == [("read", "ok", "1"), ("read", "ok", "1")]


def test_pop_and_setdefault_are_one_step_among_threads() -> None:
    """Of many threads one gets it."""
    got: list[Any] = []
    with capture(background=True):
        for _ in range(50):
            shared = noclobber.tracked({"a": 1}, name="s")
            barrier = threading.Barrier(4)

            def work(shared: Any = shared, barrier: threading.Barrier = barrier) -> None:
                barrier.wait(10)
                got.append(shared.pop("a", None))

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert (got.count(1), got.count(None)) == (50, 150)


def test_a_lost_update_shows_as_one() -> None:
    """Two threads that read, then write: the second write replaced what it had not read."""
    with capture(background=True) as captured:
        shared = noclobber.tracked({"balance": 100}, name="bank")
        both = threading.Barrier(2)

        def add(amount: int) -> None:
            balance = shared["balance"]
            both.wait(10)
            shared["balance"] = balance + amount

        threads = [threading.Thread(target=add, args=(amount,)) for amount in (50, -20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writes = sorted(row[3:] for row in told(captured) if row[0] == "write")
    assert writes == [("1", "1", "2"), ("1", "2", "3")]


def test_switched_off_it_is_the_dictionary() -> None:
    """Without a recorder nothing is kept."""
    from noclobber import recorder

    before = recorder.swap(None)
    try:
        shared = noclobber.tracked({}, name="s")
        shared["a"] = 1
        assert shared.pop("a") == 1
    finally:
        recorder.swap(before)
