"""Agents of the OpenAI Agents SDK that share an account or a conversation; nothing here knows of noclobber.

Third argument: `runs` (two agents beside each other, async tools), `threads` (plain tools), `streamed`, `parallel` (one
agent, two tool calls at once), `handoff`, `row` (one after the other in one session), `session` (a fourth argument: the
file of conversations).
"""

import asyncio
import sys

from account import HOW, SECRET, aadd, add
from agents import Agent, Runner, SQLiteSession, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

WAY = sys.argv[3]


@function_tool
async def deposit(amount: int, note: str = "") -> str:
    """Add to the balance."""
    return await aadd(amount)


@function_tool
def deposit_here(amount: int, note: str = "") -> str:
    """Add to the balance, in a thread."""
    return add(amount)


thinking, added = asyncio.Event(), asyncio.Event()


@function_tool
async def think() -> str:
    """Wait until the other one has added to the conversation."""
    thinking.set()
    await asyncio.wait_for(added.wait(), 20)
    return "thought"


@function_tool
async def look() -> str:
    """Do nothing."""
    return "looked"


def call(tool: str, amount: int, call_id: str):
    return function_call(tool, {"amount": amount, "note": SECRET}, call_id=call_id)


def agent(name: str, amount: int, tool=deposit) -> Agent:
    steps = [[call(tool.name, amount, f"call-{name}")], [assistant_message("done")]]
    return Agent(name=name, model=ScriptedModel(steps), tools=[tool])


async def streamed(one: Agent, session: SQLiteSession) -> str:
    result = Runner.run_streamed(one, "go on", session=session)
    async for _ in result.stream_events():
        pass
    return result.final_output


async def two() -> list[str]:
    tool = deposit_here if WAY == "threads" else deposit
    agents = [agent("payer", 50, tool), agent("charger", -20, tool)]
    if WAY == "streamed":
        return list(await asyncio.gather(*(streamed(each, SQLiteSession(f"s-{each.name}")) for each in agents)))
    done = await asyncio.gather(
        *(Runner.run(each, "go on", session=SQLiteSession(f"s-{each.name}")) for each in agents)
    )
    return [each.final_output for each in done]


async def one() -> list[str]:
    calls = [call("deposit", 50, "call-1"), call("deposit", -20, "call-2")]
    both = Agent(name="both", model=ScriptedModel([calls, [assistant_message("done")]]), tools=[deposit])
    return [(await Runner.run(both, "go on")).final_output]


async def handed_over() -> list[str]:
    second = agent("second", 50)
    over = function_call("transfer_to_second", {}, call_id="call-over")
    first = Agent(name="first", model=ScriptedModel([[over]]), handoffs=[second])
    return [(await Runner.run(first, "go on", session=SQLiteSession("s-first"))).final_output]


async def in_a_row() -> list[str]:
    """Three runs of one conversation, each after the one before."""
    session = SQLiteSession("s-row")
    return [
        (await Runner.run(agent(name, 50), SECRET, session=session)).final_output for name in ("one", "two", "three")
    ]


async def talk() -> list[str]:
    """While one run thinks, another one adds to its conversation; the safe ones have one each."""

    async def turn(name: str, tool: str) -> str:
        if name == "right":
            await thinking.wait()
        steps = [[function_call(tool, {}, call_id=f"call-{name}")], [assistant_message(SECRET)]]
        session = SQLiteSession("shared" if HOW == "plain" else name, sys.argv[4])
        one = Agent(name=name, model=ScriptedModel(steps), tools=[think, look])
        done = await Runner.run(one, SECRET, session=session)
        if name == "right":
            added.set()
        return done.final_output.replace(SECRET, "done")

    return list(await asyncio.gather(turn("left", "think"), turn("right", "look")))


print(asyncio.run({"parallel": one, "handoff": handed_over, "row": in_a_row, "session": talk}.get(WAY, two)()))
