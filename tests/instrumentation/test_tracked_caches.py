"""`noclobber.tracked` around cachetools: what a cache forgets by itself is nobody's delete and nobody's lost update."""

import random
import threading
from pathlib import Path
from typing import Any

import cachetools
import pytest

import noclobber
from noclobber import tracking
from noclobber.otlp import json_line
from noclobber.testing import capture
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp

TIMEOUT_S = 20


def told(captured: Any) -> list[tuple[Any, ...]]:
    names = ("op", "outcome", "version.read", "version.base", "version.overwritten", "version.written", "partial")
    return [tuple(a.get(f"noclobber.{name}") for name in names) for a in captured.accesses]


def findings(captured: Any, folder: Path) -> list[tuple[str, str]]:
    file = folder / "spans.jsonl"
    file.write_text("".join(json_line(captured.resource, export) + "\n" for export in captured.exports))
    return [(str(each.kind), str(each.certainty)) for each in evaluate(read_otlp([str(file)])).findings]


def test_what_is_forgotten() -> None:
    """Numbers go on, a miss has none, and what is written after it replaced nothing."""
    with capture() as captured:
        cache = noclobber.tracked(cachetools.LRUCache(1), name="plans")
        cache["a"] = 1
        assert cache["a"] == 1
        cache["a"] = 2
        cache["b"] = 3
        assert cache.get("a") is None
        cache["a"] = 4
        del cache["a"]
        assert cache.setdefault("a", 5) == 5
    assert told(captured) == [
        ("write", "ok", None, None, None, "1", None),
        ("read", "ok", "1", None, None, None, None),
        ("write", "ok", None, "1", "1", "2", None),
        ("write", "ok", None, None, None, "3", None),
        ("read", "not_found", None, None, None, None, True),
        ("write", "ok", None, None, None, "4", None),
        ("delete", "ok", None, "4", "4", "0", None),
        ("write", "ok", None, None, None, "5", None),
    ]
    assert {each.get("noclobber.version.kind") for each in captured.accesses} == {"ordered", None}


def race(cache: Any, *, safe: bool) -> None:
    """Two agents add to one balance; the safe ones take turns."""
    barrier, lock = threading.Barrier(2), noclobber.lock(threading.Lock(), name="turns")
    cache["acct"] = 100

    def act(name: str, amount: int) -> None:
        with noclobber.agent(name):
            if safe:
                with lock:
                    cache["acct"] = cache["acct"] + amount
                return
            balance = cache["acct"]
            barrier.wait(TIMEOUT_S)
            cache["acct"] = balance + amount

    threads = [threading.Thread(target=act, args=each) for each in (("deposit", 50), ("withdraw", -20))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)


@pytest.mark.parametrize("kind", [cachetools.LRUCache(8), cachetools.TTLCache(8, 60), cachetools.LFUCache(8)])
def test_race_and_twin(kind: Any, tmp_path: Path) -> None:
    """A lost update is certain, since all goes through it; under a lock there is none."""
    with capture(fixed=False) as captured:
        race(noclobber.tracked(kind, name="plans"), safe=False)
    assert findings(captured, tmp_path) == [("lost_update", "certain")]
    with capture(fixed=False) as captured:
        race(noclobber.tracked(kind, name="plans"), safe=True)
    assert findings(captured, tmp_path) == []


def test_forgetting_is_no_finding(tmp_path: Path) -> None:
    """Strands that take turns at a cache that is too small, each writing what it read or found missing."""
    lock = threading.Lock()
    with capture(fixed=False) as captured:
        cache = noclobber.tracked(cachetools.LRUCache(3), name="plans")

        def act(seed: int) -> None:
            choices = random.Random(seed)
            for _ in range(200):
                key = f"key-{choices.randrange(6)}"
                with lock:
                    found = cache.get(key)
                    if choices.random() < 0.7:
                        cache[key] = (found or 0) + 1
                    elif found is not None and choices.random() < 0.3:
                        del cache[key]

        threads = [threading.Thread(target=act, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    assert [each for each in findings(captured, tmp_path) if each[1] != "possible"] == []


def test_numbers_of_what_is_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the cache's own size."""
    monkeypatch.setattr(tracking, "FORGOTTEN_MAX", 10)
    cache = noclobber.tracked(cachetools.LRUCache(5), name="plans")
    for number in range(1000):
        cache[str(number)] = number
    assert len(cache._versions) <= 21


def test_cached_functions() -> None:
    """A tracked cache is a cache for `cachetools.cached`."""
    with capture() as captured:
        cache = noclobber.tracked(cachetools.TTLCache(8, 60), name="calls")

        @cachetools.cached(cache)  # type: ignore[misc]
        def double(number: int) -> int:
            return number * 2

        assert (double(21), double(21)) == (42, 42)
    assert [each["noclobber.op"] for each in captured.accesses] == ["read", "write", "read"]
