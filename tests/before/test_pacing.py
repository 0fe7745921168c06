"""Holds: whose, after what, how long; the same for the same seed, on every kind of strand; bounded; off by itself."""

import asyncio
import contextlib
import sqlite3
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import noclobber
from noclobber import recorder, tasks, tracked
from noclobber.pacing import seams
from noclobber.pacing.chaos import Chaos
from noclobber.pacing.holds import HOLD_S_MAX, Hold
from noclobber.pacing.plan import DEFAULT, Plan, PlanError, Rule, load, plan_of
from noclobber.testing import Captured, capture

READS = frozenset({"read"})


def always(seconds: float, *after: str, **more: Any) -> Plan:
    """A plan that holds after each of these."""
    return Plan(rules=(Rule(frozenset(after), chance=1.0, seconds=(seconds, seconds), **more),))


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A process that is instrumented, on the real clock."""
    with capture(fixed=False) as found:
        yield found


def kinds_of(captured: Captured) -> list[tuple[str, str]]:
    """Agent and operation of each access, in the order in which they ended."""
    spans = sorted(captured.spans, key=lambda span: span.end_ns)
    return [
        (str(span.attributes["noclobber.agent"]), str(span.attributes["noclobber.op"]))
        for span in spans
        if span.attributes["noclobber.op"] in ("read", "write")
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sead = 1", "there is no `sead`"),
        ("seed = -1", "`seed` is a whole number"),
        ("[[hold]]\nafter = 'reed'", "rule 1: `after` is one or more of"),
        ("[[hold]]\nafter = 'read'\nchance = 2", "rule 1: `chance` is a number from 0 to 1"),
        ("[[hold]]\nafter = 'read'\nseconds = [2, 1]", "the shortest first"),
        ("[[hold]]\nafter = 'read'\nseconds = 61", "a number from 0 to 60"),
        ("[[hold]]\nresource = 7", "`resource` is a pattern"),
        ("hold = 7", "`hold` is a list of tables"),
    ],
)
def test_a_plan_that_says_nonsense(text: str, said: str) -> None:
    """Is refused in a sentence."""
    with pytest.raises(PlanError, match=said):
        plan_of(tomllib.loads(text))


def test_a_plan(tmp_path: Path) -> None:
    """From a file; without rules it has those that widen windows."""
    file = tmp_path / "plan.toml"
    file.write_text("seed = 7\n[[hold]]\nafter = ['read', 'lock']\nsystem = 'redis'\nseconds = 0.5\nlease = true\n")
    assert load(file) == Plan(7, (Rule(frozenset({"read", "lock"}), system="redis", seconds=(0.5, 0.5), lease=True),))
    assert plan_of({"seed": 3}).rules == DEFAULT.rules
    with pytest.raises(PlanError, match="can't be read"):
        load(tmp_path / "none.toml")


def racing_tasks(new_loop: Callable[[], Any] | None) -> list[tuple[str, str]]:
    """What six tasks did that read and write one thing, held by seed 11."""
    with capture(fixed=False) as captured:
        shared = tracked({"x": 0}, name="plan")

        async def work(name: str) -> None:
            with noclobber.agent(name):
                value = shared["x"]
                await asyncio.sleep(0)
                shared["x"] = value + 1

        async def main() -> None:
            await asyncio.gather(*(work(f"a{number}") for number in range(6)))

        with (
            noclobber.chaos(11, plan=Plan(rules=(Rule(READS, chance=0.8, seconds=(0.01, 0.6)),))),
            asyncio.Runner(loop_factory=new_loop) as runner,
        ):
            runner.run(main())
        return kinds_of(captured)


def test_one_seed_is_one_interleaving() -> None:
    """Twice on asyncio's loop, and on uvloop: the same accesses in the same order, and not the one without chaos."""
    uvloop = pytest.importorskip("uvloop", reason="uvloop belongs to the extra `test`")
    first = racing_tasks(None)
    assert len(first) == 12
    assert first == racing_tasks(None) == racing_tasks(uvloop.new_event_loop)
    writers = [agent for agent, op in first if op == "write"]
    assert writers != sorted(writers)


def test_a_thread_is_held_after_its_access(captured: Captured) -> None:
    """Between the read and the write that rests on it; the hold is no part of either."""
    shared = tracked({"x": 0}, name="plan")
    with noclobber.chaos(plan=always(0.05, "read")) as chaos:
        shared["x"] = shared["x"] + 1
    read, write = captured.spans
    assert write.start_ns - read.end_ns >= 50_000_000 > read.end_ns - read.start_ns
    assert [(each.op, each.number, each.seconds) for each in chaos.injected] == [("read", 1, 0.05)]
    assert captured.recorder.dropped == 0


def test_a_task_is_held_and_its_loop_is_not(captured: Captured) -> None:
    """Others go on meanwhile; a cancellation ends the hold and reaches the task."""
    shared = tracked({"x": 0}, name="plan")
    ticks = 0

    async def held() -> str:
        shared["x"]
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return "cancelled"
        return "not"

    async def main() -> str:
        nonlocal ticks
        task = asyncio.create_task(held())
        for _ in range(50):
            await asyncio.sleep(0.001)
            ticks += 1
        assert not task.done()
        task.cancel()
        return await task

    began = time.monotonic()
    with noclobber.chaos(plan=always(30.0, "read")):
        assert asyncio.run(main()) == "cancelled"
    assert ticks == 50
    assert time.monotonic() - began < 20


def test_async_redis_is_held_where_its_call_returns(captured: Captured, valkey: str) -> None:
    """A coroutine that goes from GET to SET without another await is held in between."""
    import redis.asyncio

    async def main() -> bytes:
        async with redis.asyncio.Redis.from_url(valkey) as client:
            await client.set("k", "1")
            value: bytes = await client.get("k")
            await client.set("k", value + b"1")
            return value

    with noclobber.chaos(plan=always(0.05, "read")):
        assert asyncio.run(main()) == b"1"
    _, read, write = (span for span in captured.spans if span.attributes["noclobber.op"] in ("read", "write"))
    assert write.start_ns - read.end_ns >= 50_000_000


def test_who_finds_nothing_is_held(captured: Captured) -> None:
    """Also where a library says so by an error: what comes next may rest on it. A call that failed holds nobody."""
    shared = tracked({"x": 0}, name="plan")
    with noclobber.chaos(plan=always(0.001, "read")) as chaos, contextlib.suppress(KeyError):
        shared["y"]
    assert [each.op for each in chaos.injected] == ["read"]


async def test_a_seam_that_raises_is_a_place_to_wait(captured: Captured) -> None:
    """An async library that says by an error that nothing is there holds its caller before it has that."""

    class Bucket:
        async def get(self) -> str:
            with noclobber.access("custom://bucket/x", "read") as a:
                a.not_found()
            raise KeyError("x")

    seams.seam(Bucket, "get")
    with noclobber.chaos(plan=always(0.05, "read")):
        began = time.monotonic()
        with pytest.raises(KeyError):
            await Bucket().get()
        assert time.monotonic() - began >= 0.05
    seams._known.pop((Bucket, "get"))


async def test_async_sqlalchemy_is_held_inside_its_greenlet(captured: Captured, tmp_path: Path) -> None:
    """Through the greenlet's own way to wait."""
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    async with engine.begin() as connection:
        await connection.execute(sa.text("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)"))
        await connection.execute(sa.text("INSERT INTO t VALUES (1, 5)"))
        with noclobber.chaos(plan=always(0.05, "read")) as chaos:
            (await connection.execute(sa.text("SELECT n FROM t WHERE id = 1"))).one()
            await connection.execute(sa.text("UPDATE t SET n = 6 WHERE id = 1"))
    await engine.dispose()
    assert [each.op for each in chaos.injected] == ["read"]
    (read,) = (span for span in captured.spans if span.attributes["noclobber.op"] == "read")
    *_, update = (span for span in captured.spans if span.attributes["noclobber.op"] == "write")
    assert update.start_ns - read.end_ns >= 50_000_000


def test_rules_choose(captured: Captured, tmp_path: Path) -> None:
    """By system, resource and agent; the first that speaks decides."""
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    shared = tracked({"x": 0}, name="plan")
    rules = (
        Rule(READS, resource="*/plan/*", agent="other", chance=1.0, seconds=(9.0, 9.0)),
        Rule(READS, system="memory", chance=1.0, seconds=(0.001, 0.001)),
        Rule(READS, chance=1.0, seconds=(9.0, 9.0)),
    )
    with noclobber.chaos(plan=Plan(rules=rules)) as chaos, noclobber.agent("mine"):
        connection.execute("INSERT INTO t VALUES (1, 2)")
        shared["x"]
    connection.close()
    assert [(each.op, each.rule) for each in chaos.injected] == [("read", 2)]


def test_a_lease_runs_out(captured: Captured, valkey: str) -> None:
    """Held past its lock's lease, a holder writes without the lock."""
    import redis

    client = redis.Redis.from_url(valkey)
    with noclobber.chaos(plan=always(0.01, "lock", lease=True)) as chaos, client.lock("guard", timeout=0.1) as lock:
        assert not lock.owned()
        lock.local.token = None  # there is nothing left to give back
        lock.release = lambda: None  # type: ignore[method-assign]
    client.close()
    assert [round(each.seconds, 2) for each in chaos.injected] == [0.11]


def test_limits(captured: Captured) -> None:
    """So many holds, and so long together; no hold is longer than a minute."""
    shared = tracked({"x": 0}, name="plan")
    few = Plan(rules=always(0.001, "read").rules, holds_max=3)
    short = Plan(rules=always(0.01, "read").rules, total_s_max=0.025)
    for plan, count in ((few, 3), (short, 2)):
        with noclobber.chaos(plan=plan) as chaos:
            for _ in range(10):
                shared["x"]
        assert len(chaos.injected) == count
    assert max(next(Hold(1e9).waits()), HOLD_S_MAX) == HOLD_S_MAX


def test_off_it_leaves_nothing(captured: Captured) -> None:
    """After the block no seam is wrapped, no task driven, and the ring has its room again."""
    import redis.asyncio

    before = vars(redis.asyncio.Redis)["execute_command"]
    room = captured.recorder._ring_max
    with noclobber.chaos(1):
        assert vars(redis.asyncio.Redis)["execute_command"] is not before
        assert tasks.around is not None
        assert captured.recorder._ring_max < 0
    assert vars(redis.asyncio.Redis)["execute_command"] is before
    assert tasks.around is None
    assert (captured.recorder.pacer, captured.recorder._ring_max) == (None, room)
    assert not seams._paced


def test_nobody_else_pays() -> None:
    """The functions that run at each call do not ask whether somebody paces."""
    hot = (recorder.begun, recorder.ended, recorder.Recorder.begin, recorder.Recorder.end)
    assert [function.__name__ for function in hot if "pacer" in function.__code__.co_names] == []


def test_a_process_that_is_not_instrumented_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Chaos there says so once, and does nothing."""
    assert recorder.active() is None
    with noclobber.chaos(1) as chaos:
        tracked({"x": 0}, name="plan")["x"]
    assert chaos.injected == []
    assert "not instrumented" in caplog.text


def test_what_can_not_be_described_is_dropped_as_ever(captured: Captured) -> None:
    """A mistake of a hook's description is counted by the drain, and holds nobody."""
    chaos = Chaos(always(9.0, "read"))
    chaos.begin(captured.recorder)
    try:
        call = captured.recorder.begin("redis")
        with pytest.raises(ZeroDivisionError):
            captured.recorder.end(call, lambda _: 1 // 0)  # type: ignore[arg-type,return-value]
    finally:
        chaos.end(captured.recorder)
    assert chaos.injected == []


def test_strands_that_nobody_named_are_alike(captured: Captured) -> None:
    """Two workers get the same two sets of holds whichever comes first."""
    shared = tracked({"x": 0}, name="plan")

    def work() -> None:
        for _ in range(4):
            shared["x"]

    found = []
    for _ in range(2):
        with noclobber.chaos(3, plan=Plan(rules=(Rule(READS, seconds=(0.0, 0.002)),))) as chaos:
            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        found.append({(each.strand, each.number, each.seconds) for each in chaos.injected})
    assert found[0] == found[1] != set()
