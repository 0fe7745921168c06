"""A crowd of conversations with the OpenAI Agents SDK; nothing here knows of noclobber.

The shapes are those of its examples: sessions in SQLite, in SQLAlchemy and with branches, tool calls, a handoff to
a specialist, agents as tools, corrections that take back the last turn. Each user has a conversation of their own.
`shared` adds two runs in one conversation, of which one comes while the other thinks.
Arguments: `apart` or `shared`; a folder.
"""

import asyncio
import sys
from pathlib import Path

from agents import Agent, Runner, SQLiteSession, function_tool
from agents.extensions.memory import AdvancedSQLiteSession, AsyncSQLiteSession, SQLAlchemySession
from agents.testing import ScriptedModel, assistant_message, function_call

HOW, FOLDER = sys.argv[1], Path(sys.argv[2])
USERS, TURNS = 6, 10
thinking, added = asyncio.Event(), asyncio.Event()


@function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    await asyncio.sleep(0)
    return f"The weather in {city} is cloudy."


@function_tool
async def think() -> str:
    """Wait until the other one has added to the conversation."""
    thinking.set()
    await asyncio.wait_for(added.wait(), 30)
    return "thought"


@function_tool
async def look() -> str:
    """Do nothing."""
    return "looked"


def steps(*tools: str):
    """A model that calls these tools, one a turn of its own, and then answers."""
    calls = [
        [function_call(each, {"city": "York"} if each == "weather" else {}, call_id=f"c-{each}")] for each in tools
    ]
    return ScriptedModel([*calls, [assistant_message("it is cloudy")]])


def concierge(turn: int) -> Agent:
    """Answers itself, hands over, or asks another agent as a tool."""
    specialist = Agent(name="forecaster", model=steps("weather"), tools=[weather])
    if turn % 3 == 0:
        return Agent(name="concierge", model=steps("weather"), tools=[weather])
    if turn % 3 == 1:
        over = ScriptedModel([[function_call("transfer_to_forecaster", {}, call_id="c-over")]])
        return Agent(name="concierge", model=over, handoffs=[specialist])
    asked = [[function_call("ask", {"input": "York?"}, call_id="c-ask")], [assistant_message("it is cloudy")]]
    tool = specialist.as_tool("ask", "Ask the forecaster.")
    return Agent(name="concierge", model=ScriptedModel(asked), tools=[tool])


def sessions(user: int):
    """One conversation of each kind."""
    name = f"user-{user}"
    url = f"sqlite+aiosqlite:///{FOLDER}/alchemy-{user}.db"
    return [
        SQLiteSession(name, FOLDER / "talk.db"),
        AsyncSQLiteSession(name, FOLDER / "atalk.db"),
        AdvancedSQLiteSession(session_id=name, db_path=FOLDER / f"branches-{user}.db", create_tables=True),
        SQLAlchemySession.from_url(name, url=url, create_tables=True),
    ]


async def converse(session) -> int:
    """Turns one after the other, each with all that was said before; the third is taken back and said anew."""
    for turn in range(TURNS):
        await Runner.run(concierge(turn), f"How is York, {turn}?", session=session)
        if turn == 3:
            await session.pop_item()
            await session.add_items([{"role": "assistant", "content": "I take that back."}])
        if turn == 5 and isinstance(session, AdvancedSQLiteSession):
            await session.create_branch_from_turn(3)
    return len(await session.get_items())


async def talk(name: str, tool: str) -> None:
    """While one run thinks, another one adds to its conversation."""
    if name == "right":
        await thinking.wait()
    agent = Agent(name=name, model=steps(tool), tools=[think, look])
    await Runner.run(agent, "go on", session=SQLiteSession("shared", FOLDER / "talk.db"))
    if name == "right":
        added.set()


async def main() -> None:
    everyone = [each for user in range(USERS) for each in sessions(user)]
    print(await asyncio.gather(*(converse(each) for each in everyone)))
    if HOW == "shared":
        await asyncio.gather(talk("left", "think"), talk("right", "look"))
        items = await SQLiteSession("shared", FOLDER / "talk.db").get_items()
        print([each.get("role", each.get("type")) for each in items])
    for each in everyone:
        closing = getattr(each, "close", None)
        if closing is not None and asyncio.iscoroutine(done := closing()):
            await done


asyncio.run(main())
