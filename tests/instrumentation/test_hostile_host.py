"""Hosts that do everything to break what runs inside them: the program goes on and gets what it gets without us.

Each program is run twice, bare and recorded, and what it saw is compared; real Redis, real disk errors.
"""

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from reachability import touch
from spans_in_file import spans_of

import noclobber
from noclobber import recorder, strands
from noclobber.guard import GUARD
from noclobber.testing import capture


class Hateful:
    """An argument that can be neither shown, compared nor hashed."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no eq")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class Leaving(BaseException):
    """What a program may raise that is no Exception."""


class Fleeing:
    """An argument that ends the thread which looks at it."""

    def __repr__(self) -> str:
        raise SystemExit("no repr")


class Sulking(bytes):
    """Bytes whose own methods raise."""

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def decode(self, *_: Any, **__: Any) -> str:
        raise RuntimeError("no text")


def answer(do: Callable[[], Any]) -> tuple[str, Any]:
    """What `do` returned, or the type and arguments of what it raised."""
    try:
        return "returned", do()
    except BaseException as error:
        return type(error).__name__, error.args


ACTS: dict[str, Callable[[redis.Redis], Any]] = {
    "a value that is hateful": lambda client: client.set("a", Hateful()),  # type: ignore[arg-type]
    "a value that flees": lambda client: client.set("a", Fleeing()),  # type: ignore[arg-type]
    "a key that is hateful": lambda client: client.get(Hateful()),  # type: ignore[arg-type]
    "a command that is hateful": lambda client: client.execute_command(Hateful()),
    "no command": lambda client: client.execute_command(),
    "many keys, one hateful": lambda client: client.mget("a", Hateful()),  # type: ignore[arg-type]
    "fields, one hateful": lambda client: client.hset("h", mapping={"a": Hateful()}),  # type: ignore[dict-item]
    "bytes that sulk": lambda client: client.set("a", Sulking(b"1")),
    "in a pipeline": lambda client: client.pipeline().set("a", 1).set("b", Hateful()).execute(),  # type: ignore[arg-type]
    "ten megabytes": lambda client: (client.set("big", b"x" * 10_000_000), len(client.get("big") or b"")),
    "a list of ten thousand": lambda client: (client.rpush("l", *range(10_000)), len(client.lrange("l", 0, -1))),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_arguments_that_raise(
    client: redis.Redis, act: Callable[[redis.Redis], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer or error, with the same words, as without; and the next call is recorded."""
    bare = answer(lambda: act(client))
    client.flushall()
    with capture() as captured:
        monkeypatch.setattr(GUARD, "reraises", False)
        assert answer(lambda: act(client)) == bare
        client.get("after")
        assert [each["noclobber.op"] for each in captured.accesses][-1] == "read"


def test_sql_parameters_that_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in SQL, where parameters are kept for the drain."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")

    def act() -> Any:
        return connection.execute("INSERT INTO t VALUES (?, ?)", (1, Hateful()))

    bare = answer(act)
    with capture():
        monkeypatch.setattr(GUARD, "reraises", False)
        wrapped = sqlite3.connect(":memory:")
        wrapped.execute("CREATE TABLE t (id integer PRIMARY KEY, v text)")
        assert answer(lambda: wrapped.execute("INSERT INTO t VALUES (?, ?)", (1, Hateful()))) == bare
        wrapped.close()
    connection.close()


@pytest.mark.parametrize("raised", [Leaving("gone"), KeyboardInterrupt(), GeneratorExit(), SystemExit(3)])
def test_what_is_no_exception_goes_through(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    """The same object comes out, the outcome is unknown, and the strand is not left in the middle of a call."""

    def leave(*_: Any, **__: Any) -> Any:
        raise raised

    with capture() as captured:
        client.get("a")
        monkeypatch.setattr(client, "_execute_command", leave)
        with pytest.raises(type(raised)) as found:
            client.set("a", 1)
        assert found.value is raised
        monkeypatch.undo()
        client.get("a")
        assert [(each["noclobber.op"], each["noclobber.outcome"]) for each in captured.accesses] == [
            ("read", "not_found"), ("write", "unknown"), ("read", "not_found"),
        ]  # fmt: skip
        assert strands.current().suppressed == 0


def test_under_a_trace_function(client: redis.Redis) -> None:
    """A debugger or a coverage tool traces every line: the same answers, spans and code sites."""

    def traced(frame: Any, event: str, argument: Any) -> Any:
        return traced

    with capture() as captured:
        before = sys.gettrace()
        sys.settrace(traced)
        try:
            client.set("a", 1)
            value = client.get("a")
        finally:
            sys.settrace(before)
        assert value == b"1"
        write, read = captured.accesses
    assert (write["noclobber.op"], read["noclobber.op"]) == ("write", "read")
    assert read["code.line.number"] == write["code.line.number"] + 1
    assert read["code.function.name"] == "test_under_a_trace_function"


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_library_that_somebody_else_patches(client: redis.Redis, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """Patched by others before or after, the call is recorded once and theirs is called once."""
    calls = []
    original = redis.Redis.execute_command

    def theirs(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        return original(self, *args, **options) if order == "before" else inner(self, *args, **options)

    if order == "before":
        monkeypatch.setattr(redis.Redis, "execute_command", theirs)
    with capture() as captured:
        inner = redis.Redis.execute_command
        if order == "after":
            monkeypatch.setattr(redis.Redis, "execute_command", theirs)
        client.get("a")
        assert len(captured.accesses) == len(calls) == 1
        if order == "after":
            monkeypatch.undo()


def test_a_wall_clock_that_jumps(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sets the time back by a year between two calls: the spans' times go on."""
    with capture(fixed=False) as captured:
        client.set("a", 1)
        real = time.time_ns()
        monkeypatch.setattr(time, "time", lambda: (real - 365 * 86_400 * 10**9) / 1e9)
        monkeypatch.setattr(time, "time_ns", lambda: real - 365 * 86_400 * 10**9)
        client.set("a", 2)
        first, second = captured.spans
    assert real - 60 * 10**9 < first.start_ns < first.end_ns <= second.start_ns < second.end_ns < real + 60 * 10**9


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_the_files_problem(tmp_path: Path, valkey: str) -> None:
    """Writing spans fails with 'no space left': the program neither hears of it nor ends otherwise."""
    program = tmp_path / "agent.py"
    program.write_text(f"import redis\nclient = redis.Redis.from_url({valkey!r})\nprint(client.set('full', 1))\n")
    command = [sys.executable, "-m", "noclobber", "run", "--file", "/dev/full", "--file-only", "--"]
    done = subprocess.run(
        [*command, sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "Traceback" not in done.stderr


def alive(references: list["weakref.ref[Any]"]) -> int:
    gc.collect()
    return sum(reference() is not None for reference in references)


@contextlib.contextmanager
def many_strands() -> Iterator[Callable[[int], None]]:
    """Lets many tasks, each with an access, come and go under one recorder whose spans are all taken."""

    async def task() -> None:
        touch("a")

    async def generations(number: int) -> None:
        for _ in range(number // 500):
            await asyncio.gather(*(task() for _ in range(500)))

    with capture(fixed=False, background=True, flush_interval_s=0.01) as captured:
        captured.recorder._sink.send = lambda *_: True  # type: ignore[union-attr,method-assign]

        def come_and_go(number: int) -> None:
            asyncio.run(generations(number))
            assert captured.recorder.flush(600)
            gc.collect()

        come_and_go(5_000)
        yield come_and_go


def test_strands_that_are_gone_leave_nothing() -> None:
    """Five thousand tasks, each a strand: what stays of one is less than what one is."""
    with many_strands() as come_and_go:
        tracemalloc.start()
        come_and_go(5_000)
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.long
def test_a_million_strands_leave_nothing() -> None:
    """A server that lives for weeks: the process has not grown by what a tenth of them would be."""
    process = psutil.Process()
    with many_strands() as come_and_go:
        before = process.memory_info().rss
        come_and_go(1_000_000)
        assert process.memory_info().rss - before < 50_000_000


def test_memory_is_bounded_at_any_rate(monkeypatch: pytest.MonkeyPatch, client: redis.Redis) -> None:
    """A drain that does not get to run: what is over the ring's limit is dropped and counted, big values too."""
    with capture(fixed=False, ring_max=1000) as captured:
        client.set("big", b"x" * 1_000_000)
        captured.recorder.flush()
        tracemalloc.start()
        for _ in range(300):
            client.get("big")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 100_000_000
        for _ in range(3000):
            client.get("small")
        assert len(captured.recorder._ring) <= 1000
        captured.recorder.flush()
        assert captured.marks[-1]["noclobber.dropped"] == captured.recorder.dropped > 2000


@pytest.fixture
def child() -> Callable[[Callable[[], None]], int]:
    """Runs something in a forked child; its exit status."""

    def run(do: Callable[[], None]) -> int:
        pid = os.fork()
        if not pid:  # pragma: no cover
            try:
                do()
                os._exit(0)
            except BaseException:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


def test_a_fork_in_the_middle_of_calls(child: Callable[[Callable[[], None]], int]) -> None:
    """A child that is forked while threads record is neither stuck nor does it send what is its parent's."""
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            touch("a")

    with capture(fixed=False, background=True, flush_interval_s=0.001) as captured:
        threads = [threading.Thread(target=busy) for _ in range(3)]
        for thread in threads:
            thread.start()

        def in_child() -> None:
            active = recorder.active()
            assert active is not None
            with noclobber.access("x://child", "read"):
                pass
            assert active.flush(10)
            assert active.accesses == 1

        try:
            for _ in range(5):
                assert child(in_child) == 0
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert captured.recorder.dropped == 0


SERVER = """
import redis
client = redis.Redis.from_url({url!r})
client.get("preloaded")

def app(environ, start_response):
    client.incr("served")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


def test_gunicorn_preload_and_a_reload(tmp_path: Path, valkey: str, client: redis.Redis) -> None:
    """Workers forked of a master that has made accesses already, and new ones after HUP: each access is there once."""
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    import signal
    import socket
    import urllib.request

    (tmp_path / "served.py").write_text(SERVER.format(url=valkey))
    out, pid = tmp_path / "out.jsonl", tmp_path / "pid"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "noclobber", "run", "--file", str(out), "--file-only", "--", sys.executable, "-m",
        "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "--pid", str(pid), "--graceful-timeout", "5",
        "served:app",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)

    def ask(number: int) -> None:
        for _ in range(number):
            deadline = time.monotonic() + 20
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)

    try:
        ask(20)
        process.send_signal(signal.SIGHUP)
        ask(20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    served = int(client.get("served") or 0)
    spans = [span for span in spans_of(out) if span["noclobber.op"] in ("update", "read")]
    assert served >= 40
    assert sum(span["noclobber.op"] == "update" for span in spans) == served
    assert len({(span["noclobber.strand"], span["noclobber.seq"]) for span in spans}) == len(spans)


def test_uvloop(tmp_path: Path, valkey: str, client: redis.Redis) -> None:
    """The same accesses, order and answers under another event loop."""
    pytest.importorskip("uvloop", reason="uvloop is not installed")
    program = tmp_path / "agent.py"
    program.write_text(
        "import asyncio, redis.asyncio, uvloop\n"
        "async def main():\n"
        f"    async with redis.asyncio.from_url({valkey!r}) as client:\n"
        "        await client.set('a', 1)\n"
        "        print(await asyncio.gather(client.get('a'), asyncio.create_task(client.incr('a'))))\n"
        "        await client.get('a')\n"
        "uvloop.run(main())\n"
    )
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "noclobber", "run", "--file", str(out), "--file-only", "--", sys.executable]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    spans = spans_of(out)
    ops = sorted(span["noclobber.op"] for span in spans if span["noclobber.op"] != "mark")
    assert [op for op in ops if op != "join"] == ["read", "read", "update", "write"]
    assert ops.count("join") >= 2
    assert spans[-1]["noclobber.frontier_ns"] == 2**63 - 1
