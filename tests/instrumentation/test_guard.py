"""A mistake of ours never reaches the program: it is counted, logged once, and the program goes on."""

import asyncio
import logging
import threading
from typing import Any

import pytest
import redis
from reachability import touch

import noclobber
from noclobber import edges, recorder, strands
from noclobber.guard import GUARD, Guard
from noclobber.stores import redis as hooks
from noclobber.testing import capture


class MistakeError(Exception):
    """Ours."""


def broken(*args: Any, **words: Any) -> Any:
    raise MistakeError


@pytest.fixture
def swallowing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Captures as in life: mistakes are swallowed."""
    with capture() as captured:
        monkeypatch.setattr(GUARD, "reraises", False)
        yield captured


def test_each_cause_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the place; the count goes on."""
    guard = Guard()
    guard.reraises = False
    with caplog.at_level(logging.WARNING, "noclobber"):
        for _ in range(3):
            with guard:
                broken()
    assert (len(caplog.records), list(guard.failures.values())) == (1, [3])
    assert "the program is not affected" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), asyncio.CancelledError()])
def test_what_is_not_ours_goes_through(error: BaseException) -> None:
    """Interrupts and cancellations are the program's."""
    with pytest.raises(type(error)), GUARD:
        raise error


@pytest.mark.parametrize("name", ["count", "kept", "_build", "begin"])
def test_broken_redis_hooks_change_nothing(
    client: redis.Redis, swallowing: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever part of a hook fails, answers and errors are the program's own."""
    monkeypatch.setattr(recorder.Recorder if name == "begin" else hooks, name, broken)
    assert client.set("k", "v") is True
    assert client.get("k") == b"v"
    assert client.pipeline().set("k", "w").get("k").execute() == [True, b"w"]
    client.lpush("l", 1)
    with pytest.raises(redis.ResponseError):
        client.get("l")
    with client.lock("lock"):
        pass
    assert swallowing.marks[-1]["noclobber.op"] == "mark"


def test_broken_strands_change_nothing(swallowing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and threads run, and their results come, whatever happens to their edges."""
    for module in (edges, strands):
        monkeypatch.setattr(module, "Strand", broken)
    monkeypatch.setattr(recorder.Recorder, "note_spawn", broken)
    monkeypatch.setattr(recorder.Recorder, "edge", broken)

    async def job(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def body() -> list[int]:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(job(1))
        two = await asyncio.wait_for(asyncio.shield(job(2)), 5)
        return [one.result(), two, *(await asyncio.gather(job(3), asyncio.to_thread(int, 4)))]

    assert asyncio.run(body()) == [1, 2, 3, 4]
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def test_a_base_crosses_steps_tasks_and_threads() -> None:
    """Read in one tool call and written in another, in whatever strand each runs: the base is there, and recalled."""

    async def read() -> None:
        with noclobber.step("read"), noclobber.access("x://acct", "read") as a:
            a.read(version=1)

    async def think_and_write() -> None:
        await asyncio.create_task(read())

        def write() -> None:
            with noclobber.step("write"), noclobber.access("x://acct", "write") as a:
                a.written(version=2)

        await asyncio.to_thread(write)

    with capture() as captured:
        with noclobber.run("conversation"):
            asyncio.run(think_and_write())
        (write,) = [a for a in captured.accesses if a["noclobber.op"] == "write"]
    assert (write["noclobber.version.base"], write["noclobber.version.base.source"]) == ("1", "recalled")
    assert write["noclobber.version.base.strand"] != write["noclobber.strand"]


def test_being_installed_is_not_being_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`opentelemetry-instrument` brings noclobber in only where the environment asks for it."""
    from noclobber.bootstrap import activate, otel

    called: list[bool] = []
    monkeypatch.setattr(activate, "activate", lambda: called.append(True))
    for name in [name for name in __import__("os").environ if name.startswith("NOCLOBBER")]:
        monkeypatch.delenv(name)
    otel.pre_instrument()
    monkeypatch.setenv("NOCLOBBER_AGENT", "planner")
    otel.pre_instrument()
    assert called == [True]


@pytest.mark.parametrize("name", ["begin", "end"])
def test_a_broken_recorder_changes_nothing(swallowing: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Neither what a program says by itself nor its tracked objects notice."""
    monkeypatch.setattr(recorder.Recorder, name, broken)
    touch("a")
    shared = noclobber.tracked({"a": 1}, name="s")
    shared["a"] += 1
    assert shared.pop("a") == 2
