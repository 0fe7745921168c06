"""Interleavings: one seed is one order on every loop; hypothesis finds the race, and makes it as small as it can be."""

import asyncio
import itertools
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis.asyncio
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from noclobber import tasks, tracked
from noclobber.pacing.turns import Stuck
from noclobber_analyzer.interleavings import AgentMachine, Outcome, RaceFound, interleave, operation, schedules
from noclobber_analyzer.report.spacetime import ROWS_MAX, Event, spacetime

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
FEW = settings(
    database=None, derandomize=True, deadline=None, max_examples=30, stateful_step_count=8,
    phases=(Phase.generate, Phase.shrink),
)  # fmt: skip


@pytest.fixture(scope="module")
def url(valkey: str) -> Iterator[str]:
    """The server, for classes that no fixture reaches."""
    Bank.url = valkey
    yield valkey
    Bank.url = ""


def balances(seed: object, url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Outcome:
    """Three agents withdraw twice from one account in Redis."""

    async def withdraw() -> None:
        async with redis.asyncio.Redis.from_url(url) as client:
            for _ in range(2):
                balance = int(await client.get("acct:1") or 100)
                await client.set("acct:1", balance - 1)

    return interleave(dict.fromkeys(("A", "B", "C"), withdraw), seed, loop_factory=new_loop)  # type: ignore[arg-type]


def test_one_seed_is_one_interleaving(url: str) -> None:
    """Twice on asyncio's loop, twice on uvloop; another seed is another one. A real server answers."""
    orders = [balances(11, url, new_loop).order for new_loop in LOOPS * 2]
    assert len(orders[0]) == 12
    assert orders[0] == orders[1] == orders[2] == orders[3] != balances(12, url, LOOPS[0]).order


class Bank(AgentMachine):
    """Agents move money in Redis, and do much else."""

    url: ClassVar[str] = ""

    async def prepare(self) -> None:
        """An account with money."""
        self.client = redis.asyncio.Redis.from_url(self.url)
        await self.client.set("acct:1", "100")

    async def clean_up(self) -> None:
        """Close the client."""
        await self.client.aclose()

    @operation()
    async def look(self) -> None:
        """Read only."""
        await self.client.get("acct:1")

    @operation(name=st.sampled_from(["x", "y"]))
    async def note(self, name: str) -> None:
        """Something else."""
        await self.client.incr(f"seen:{name}")

    @operation(amount=st.integers(1, 9))
    async def withdraw(self, amount: int) -> None:
        """Read, decide, write."""
        balance = int(await self.client.get("acct:1") or 0)
        await self.client.set("acct:1", balance - amount)


class SafeBank(Bank):
    """The same, with a withdrawal that the server does."""

    @operation(amount=st.integers(1, 9))
    async def withdraw(self, amount: int) -> None:
        """One command."""
        await self.client.decrby("acct:1", amount)


def test_a_race_shrinks_to_its_four_accesses(url: str) -> None:
    """Out of a program of three agents with many operations: read A, read B, write A, write B, and nothing else."""
    with pytest.raises(RaceFound) as caught:
        run_state_machine_as_test(Bank, settings=FEW)
    assert [(agent, op) for agent, op, _ in caught.value.outcome.order][1:] == [
        ("A", "read"), ("B", "read"), ("A", "write"), ("B", "write"),
    ]  # fmt: skip
    said = str(caught.value)
    for words in ("1 race on shared state", "LOST UPDATE", "  fix: ", "write acct:1  <- overwriter"):
        assert words in said


def test_its_safe_twin_passes(url: str) -> None:
    """Whatever the order."""
    run_state_machine_as_test(SafeBank, settings=settings(FEW, max_examples=10))


class Ledger(AgentMachine):
    """Agents that keep their own promise, told by `settled` alone."""

    agents: ClassVar = ("planner", "writer")
    kinds: ClassVar = ("fork",)

    async def prepare(self) -> None:
        """A counter that noclobber does not watch."""
        self.count, self.done = 0, 0
        self.seen = tracked({"x": 0}, name="seen")

    @operation()
    async def add(self) -> None:
        """Unwatched state goes wrong in watched orders, too."""
        count = self.count
        self.seen["x"]
        await asyncio.sleep(0)
        self.count = count + 1
        self.done += 1

    async def settled(self) -> None:
        """Each addition counts."""
        count = self.count
        if count != self.done:
            raise AssertionError(f"{self.done} were added, {count} counted")


def test_an_invariant_fails_with_its_interleaving() -> None:
    """The smallest one, drawn beside what the assertion says."""
    with pytest.raises(AssertionError, match="2 were added, 1 counted") as caught:
        run_state_machine_as_test(Ledger, settings=FEW)
    assert [line.split() for line in str(caught.value).splitlines()[2:]] == [
        ["planner", "writer"], ["1", "read", "x", "|"], ["2", "|", "read", "x"],
    ]  # fmt: skip


def work(shared: Any, lock: Any = None) -> Callable[[], Any]:
    """An agent that adds to `x`, under a lock if there is one."""

    async def add() -> int:
        if lock is not None:
            async with lock:
                return await unguarded()
        return await unguarded()

    async def unguarded() -> int:
        value: int = shared["x"]
        await asyncio.sleep(0)
        shared["x"] = value + 1
        await asyncio.sleep(0)
        return value

    return add


def test_hypothesis_chooses_the_order() -> None:
    """Of agents that are functions: found, and told with as few switches as there can be."""

    @settings(FEW)
    @given(order=schedules())
    def two_agents(order: Any) -> None:
        agent = work(tracked({"x": 0}, name="plan"))
        interleave({"planner": agent, "writer": agent}, order).check()

    with pytest.raises(RaceFound) as caught:
        two_agents()
    switches = [agent for agent, _, _ in caught.value.outcome.order]
    assert sum(one != other for one, other in itertools.pairwise(switches)) == 2


def test_numbers_replay_an_order() -> None:
    """A list of numbers chooses as it says; none at all lets each agent run to its end."""
    agent = work(tracked({"x": 0}, name="plan"))
    agents = {"planner": agent, "writer": agent}
    serial, racing = interleave(agents), interleave(agents, [0, 1])
    assert ([agent for agent, *_ in serial.order], serial.findings) == (["planner"] * 2 + ["writer"] * 2, ())
    assert [agent for agent, *_ in racing.order] == ["planner", "writer", "writer", "planner"]
    assert [str(each.kind) for each in racing.findings] == ["lost_update"]
    assert serial.results == (0, 1)


@pytest.mark.parametrize("new_loop", LOOPS)
def test_who_waits_for_a_lock_is_passed_over(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """No order makes the locked twin race, and none of them waits for a time to run out."""
    for seed in range(8):
        agent = work(tracked({"x": 0}, name="plan"), asyncio.Lock())
        outcome = interleave(dict.fromkeys("abc", agent), seed, loop_factory=new_loop, patience_s=30)
        assert (outcome.findings, sorted(map(str, outcome.results))) == ((), ["0", "1", "2"])


def test_who_can_never_go_on_is_told() -> None:
    """Two locks in two orders."""
    one, other = asyncio.Lock(), asyncio.Lock()
    shared = tracked({"x": 0}, name="plan")

    def both(first: asyncio.Lock, second: asyncio.Lock) -> Callable[[], Any]:
        async def take() -> None:
            async with first:
                shared["x"]
                await asyncio.sleep(0)
                async with second:
                    pass

        return take

    with pytest.raises(Stuck, match="a, b wait for one another"):
        interleave({"a": both(one, other), "b": both(other, one)}, [0, 1, 1], patience_s=0.05)
    assert tasks.around is None


@pytest.mark.parametrize("way", ["gather", "group", "wait_for"])
def test_tasks_that_an_agent_starts_take_turns_too(way: str) -> None:
    """They are strands of their own: two tool calls of one agent race."""
    shared = tracked({"x": 0}, name="plan")
    tool = work(shared)

    async def plan() -> None:
        if way == "gather":
            await asyncio.gather(tool(), tool())
        elif way == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(tool())
                group.create_task(tool())
        else:
            await asyncio.wait_for(asyncio.gather(tool(), tool()), 30)

    kinds = {tuple(each.kind for each in interleave({"planner": plan}, seed).findings) for seed in range(12)}
    assert kinds == {(), ("lost_update",)}


def test_what_an_agent_raises_is_raised(tmp_path: Path) -> None:
    """And nothing is left behind: no hook, no task, no pacer. SQLite's calls are access points, too."""
    file = tmp_path / "a.db"

    async def fails() -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES (1)")
        await asyncio.sleep(0)
        connection.close()
        raise KeyError("mine")

    async def waits() -> None:
        await asyncio.Event().wait()

    with pytest.raises(KeyError, match="mine"):
        interleave({"a": fails}, 1)
    with pytest.raises(Stuck):
        interleave({"a": waits}, patience_s=0.01)
    assert tasks.around is None


def test_a_diagram_of_very_many_accesses_shows_both_ends() -> None:
    """And says how many it leaves out; nothing in a name can paint on a terminal."""
    events = [Event(str(number), f"agent\x1b{number % 2}", "read x") for number in range(ROWS_MAX + 7)]
    lines = list(spacetime(events))
    assert len(lines) == ROWS_MAX + 2
    assert [line.strip() for line in lines if "more" in line] == ["... 7 more ..."]
    assert re.match(r" +agent\\x1b0 +agent\\x1b1", lines[0])
    assert not any("\x1b" in line for line in lines)
