"""filelock's locks on real files: taking, giving back, refusal, and which locks an access was made under."""

import asyncio
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import filelock
import pytest

from noclobber import access, strands
from noclobber.resources import file_uri
from noclobber.testing import Captured, capture

TIMEOUT_S = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A lock's file."""
    return tmp_path / "state.lock"


def told(captured: Captured) -> list[tuple[Any, ...]]:
    """Op and outcome of each access, and how many locks it was made under."""
    return [
        (a["noclobber.op"], a["noclobber.outcome"], len(a.get("noclobber.locks", ()))) for a in captured.accesses
    ]  # fmt: skip


def touch() -> None:
    with access("custom://state", "read"):
        pass


def test_held_between_acquire_and_release(path: Path) -> None:
    """Two spans that name the file, every attribute of them; accesses inside name it too."""
    with capture() as captured:
        with filelock.FileLock(path):
            touch()
        touch()
        lock, inside, unlock, outside = captured.accesses
        spans = captured.spans
    assert {name: value for name, value in lock.items() if not name.startswith("code.")} == {
        "noclobber.op": "lock",
        "noclobber.resource": file_uri(str(path)),
        "noclobber.system": "file",
        "noclobber.outcome": "ok",
        "noclobber.agent": "test",
        "noclobber.strand": "test-1",
        "noclobber.run": "run-test",
        "noclobber.seq": 1,
        "noclobber.lock.owner": "test-1",
    }
    assert (unlock["noclobber.op"], unlock["noclobber.lock.owner"]) == ("unlock", "test-1")
    assert (inside["noclobber.locks"], outside.get("noclobber.locks")) == ([file_uri(str(path))], None)
    assert (spans[0].name, spans[0].library) == ("lock file", "filelock")


def test_taken_again_is_one_hold(path: Path) -> None:
    """Its holder may take it as often as it likes."""
    with capture() as captured:
        lock = filelock.FileLock(path)
        with lock, lock:
            pass
        with lock.acquire(), lock.acquire():
            lock.release(force=True)
        touch()
        ops = told(captured)
    assert ops == [("lock", "ok", 0), ("unlock", "ok", 0)] * 2 + [("read", "ok", 0)]


def test_refused(path: Path) -> None:
    """Who does not get it in time holds nothing."""
    with capture(background=True) as captured:
        holding, asked = threading.Event(), threading.Event()

        def hold() -> None:
            with filelock.FileLock(path):
                holding.set()
                assert asked.wait(TIMEOUT_S)

        thread = threading.Thread(target=hold)
        thread.start()
        assert holding.wait(TIMEOUT_S)
        for arguments in ({"blocking": False}, {"timeout": 0.01}):
            with pytest.raises(filelock.Timeout):
                filelock.FileLock(path).acquire(**arguments)
        touch()
        asked.set()
        thread.join(TIMEOUT_S)
        mine = [each[:3] for each, a in zip(told(captured), captured.accesses, strict=True)
                if a["noclobber.strand"] == strands.current().id and a["noclobber.op"] != "join"]  # fmt: skip
    assert mine == [("lock", "rejected", 0), ("lock", "rejected", 0), ("read", "ok", 0)]


def test_another_thread_may_give_it_back(path: Path) -> None:
    """A lock that one thread takes and another gives back is held by neither afterwards, and told as one hold."""
    with capture(background=True) as captured:
        lock = filelock.FileLock(path, thread_local=False)
        lock.acquire()
        thread = threading.Thread(target=lock.release)
        thread.start()
        thread.join(TIMEOUT_S)
        touch()
        accesses = [a for a in captured.accesses if a["noclobber.op"] != "join"]
    assert [a["noclobber.op"] for a in accesses] == ["lock", "unlock", "read"]
    assert accesses[0]["noclobber.lock.owner"] == accesses[1]["noclobber.lock.owner"]
    assert accesses[0]["noclobber.strand"] != accesses[1]["noclobber.strand"]
    assert "noclobber.locks" not in accesses[2]


@pytest.mark.skipif(not hasattr(filelock.SoftFileLock, "lifetime"), reason="lifetimes came with filelock 3.24")
def test_soft_lock_has_a_lease(path: Path) -> None:
    """Others may break a soft lock after its lifetime; a native one ignores it."""
    with capture() as captured, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with filelock.SoftFileLock(path, lifetime=30), filelock.FileLock(path.with_suffix(".native"), lifetime=30):
            pass
        leases = [a.get("noclobber.lock.ttl_ms") for a in captured.accesses]
    assert leases == [30_000, None, None, 30_000]


def test_tasks(path: Path) -> None:
    """Asyncio's locks are told as the plain ones; two tasks hold it in turn."""

    async def work() -> None:
        async with filelock.AsyncFileLock(path):
            touch()
            await asyncio.sleep(0)
            touch()
        touch()

    async def act() -> None:
        await asyncio.wait_for(asyncio.gather(work(), work()), TIMEOUT_S)

    with capture(fixed=False) as captured:
        asyncio.run(act())
        by_strand: dict[str, list[Any]] = {}
        for (op, outcome, held), a in zip(told(captured), captured.accesses, strict=True):
            if op != "join":
                by_strand.setdefault(a["noclobber.strand"], []).append((op, outcome, held))
    one = [("lock", "ok", 0), ("read", "ok", 1), ("read", "ok", 1), ("unlock", "ok", 0), ("read", "ok", 0)]
    assert list(by_strand.values()) == [one, one]


def test_cancelled_while_waiting(path: Path) -> None:
    """A task that is cancelled while it waits for a lock never held it."""

    async def act() -> None:
        waiting = asyncio.Event()

        async def wait() -> None:
            waiting.set()
            async with filelock.AsyncFileLock(path):
                raise AssertionError

        async with filelock.AsyncFileLock(path):
            task = asyncio.ensure_future(wait())
            await waiting.wait()
            for _ in range(3):
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    with capture(fixed=False) as captured:
        asyncio.run(asyncio.wait_for(act(), TIMEOUT_S))
        locks = [each for each in told(captured) if each[0] in ("lock", "unlock")]
    assert sorted(locks) == [("lock", "error", 0), ("lock", "ok", 0), ("unlock", "ok", 0)]


def test_one_file_has_one_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a lock's file is written."""
    monkeypatch.chdir(path.parent)
    path.with_name("link").symlink_to(path)
    with capture() as captured:
        for name in (path, "state.lock", "./../" + path.parent.name + "/state.lock", "link"):
            try:
                with filelock.FileLock(name):
                    pass
            except OSError:  # newer versions refuse links
                assert name == "link"
        names = {a["noclobber.resource"] for a in captured.accesses}
    assert names == {file_uri(str(path))}


def test_the_class_is_what_it_was_afterwards(path: Path) -> None:
    """Hooks come out again, and locks that were made before are seen."""
    lock, before = filelock.FileLock(path), filelock.BaseFileLock.acquire
    with capture() as captured:
        assert filelock.BaseFileLock.acquire is not before
        with lock:
            pass
        assert told(captured) == [("lock", "ok", 0), ("unlock", "ok", 0)]
    assert filelock.BaseFileLock.acquire is before


def test_left_held_at_the_end(path: Path) -> None:
    """A program that ends with a lock in hand ends as ever."""
    program = f"import filelock; lock = filelock.FileLock({str(path)!r}); lock.acquire()"
    done = subprocess.run(
        [sys.executable, "-m", "noclobber.cli", "run", "--file", str(path.with_suffix(".jsonl")), "--file-only", "--",
         sys.executable, "-c", program],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
