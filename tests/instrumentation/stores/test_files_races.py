"""Agents that race on local files: by writing, by replacing, under locks, in tasks and threads."""

# ruff: noqa: PTH105, PTH123, SIM115  all ways to open and move files are under test

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
from driver_stage import TIMEOUT_S, findings, judged, together
from files_stage import folder, path, watching
from within import in_its_thread

import noclobber
from noclobber.testing import Captured, capture

__all__ = ["folder", "path"]


def put(path: Path, text: str, how: str) -> None:
    if how == "replace":
        beside = path.with_name(f"beside-{threading.get_ident()}")
        beside.write_text(text)
        os.replace(beside, path)
    elif how == "update":
        with open(path, "r+") as file:
            file.truncate(0)
            file.write(text)
    else:
        path.write_text(text)


def race(path: Path, how: str, *, stale: bool) -> Captured:
    """Two agents add to one balance, both from what they read before; or one after the other."""
    read, wrote = threading.Barrier(2), threading.Event()

    def book(amount: int, *, first: bool) -> None:
        if not stale and not first:
            assert wrote.wait(TIMEOUT_S)
        state = json.loads(path.read_text())
        if stale:
            read.wait(TIMEOUT_S)
            assert first or wrote.wait(TIMEOUT_S)
        put(path, json.dumps({"balance": state["balance"] + amount}), how)
        wrote.set()

    captured: Captured
    tables = ({"pattern": "file://*/beside-*", "ignore": True},)
    with watching(path.parent, background=True, fixed=False, tables=tables) as captured:
        together(lambda: book(50, first=True), lambda: book(-20, first=False))
    return captured


@pytest.mark.parametrize("how", ["write", "replace", "update"])
def test_lost_update(path: Path, tmp_path: Path, how: str) -> None:
    """Both wrote what they computed from one state, whichever way they wrote it: one update is lost."""
    assert findings(race(path, how, stale=True), tmp_path) == [("lost_update", "likely")]


@pytest.mark.parametrize("how", ["write", "replace", "update"])
def test_in_turn(path: Path, tmp_path: Path, how: str) -> None:
    """The second read what the first had written."""
    assert findings(race(path, how, stale=False), tmp_path) == []


def test_appending_loses_nothing(path: Path, tmp_path: Path) -> None:
    """The system adds each line atomically."""
    read = threading.Barrier(2)

    def log() -> None:
        path.read_text()
        read.wait(TIMEOUT_S)
        with open(path, "a") as file:
            file.write("one more line\n")

    with watching(path.parent, background=True, fixed=False) as captured:
        together(log, log)
    evaluation = judged(captured, tmp_path)
    assert evaluation.findings == []
    assert [str(each.reason) for each in evaluation.defended] == ["atomic", "atomic"]


def locked(path: Path, guard: Callable[[], Any]) -> Captured:
    """Two agents add to one balance, each inside the same lock."""

    def book(amount: int) -> None:
        with guard():
            state = json.loads(path.read_text())
            path.write_text(json.dumps({"balance": state["balance"] + amount}))

    captured: Captured
    with watching(path.parent, background=True, fixed=False) as captured:
        together(lambda: book(50), lambda: book(-20))
    return captured


def test_under_a_file_lock(path: Path, tmp_path: Path) -> None:
    """Read and written inside one hold: nothing is lost, and the lock is why."""
    evaluation = judged(locked(path, lambda: filelock.FileLock(tmp_path / "state.lock")), tmp_path)
    assert evaluation.findings == []
    assert [str(each.reason) for each in evaluation.defended] == ["lock", "lock"]
    assert json.loads(path.read_text()) == {"balance": 100_030}


def test_a_lock_for_a_part_of_it_is_none(path: Path, tmp_path: Path) -> None:
    """A file that was opened before the lock was taken, or closed after it was given back, was not written under it."""
    with watching(path.parent) as captured:
        lock = filelock.FileLock(tmp_path / "state.lock")
        early = open(path, "w")
        with lock:
            early.close()
            path.read_text()
            late = open(path, "w")
        late.close()
        held = [("noclobber.locks" in a) for a in captured.accesses if "lock" not in a["noclobber.op"]]
    assert held == [False, True, False]


def test_under_a_named_lock(path: Path, tmp_path: Path) -> None:
    """A lock of the process that was given a name defends as well."""
    guard = noclobber.lock(threading.Lock(), name="ledger")
    evaluation = judged(locked(path, lambda: guard), tmp_path)
    assert evaluation.findings == []
    assert [str(each.reason) for each in evaluation.defended] == ["lock", "lock"]


def test_tasks_and_threads(path: Path, tmp_path: Path) -> None:
    """Tasks whose files are read and written in threads race as those that do it themselves."""

    async def book(amount: int, read: asyncio.Barrier) -> None:
        state = json.loads(await asyncio.to_thread(path.read_text))
        await read.wait()
        await asyncio.to_thread(path.write_text, json.dumps({"balance": state["balance"] + amount}))

    async def act() -> None:
        read = asyncio.Barrier(2)
        await asyncio.wait_for(asyncio.gather(book(50, read), book(-20, read)), TIMEOUT_S)

    with watching(path.parent, background=True, fixed=False) as captured:
        asyncio.run(act())
    assert findings(captured, tmp_path) == [("lost_update", "likely")]


def test_what_a_recorded_call_does_in_its_thread(path: Path, folder: Path) -> None:
    """It is part of that call, which is told already; what the agent does itself is told."""
    with capture(watch_files=(f"{folder}/",)) as captured:
        in_its_thread(path.read_text)
        assert captured.accesses == []
        path.read_text()
        assert [each["noclobber.op"] for each in captured.accesses] == ["read"]
