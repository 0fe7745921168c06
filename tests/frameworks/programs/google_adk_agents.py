"""Agents of Google ADK that share an account, or a user's state; nothing here knows of noclobber.

Third argument: `account` (two invocations), `user` (two sessions of one user, in memory), `stale` (one session, kept in
SQLite; a fourth argument: the file), `sequence` (two agents of one invocation, and then two more: safe).
"""

import asyncio
import logging
import sys

from account import HOW, SECRET, TIMEOUT_S, aadd, meet
from google.adk.agents import LlmAgent, SequentialAgent
from google.adk.errors._stale_session_error import StaleSessionError
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.adk.tools import ToolContext
from google.genai import types

logging.disable()
WAY = sys.argv[3]
APP, USER = "bank", "user-1"


at_work, other_is_done = asyncio.Event(), asyncio.Event()


class Scripted(BaseLlm):
    """A model that asks for one call, and then has done."""

    amount: int

    async def generate_content_async(self, llm_request, stream=False):
        last = llm_request.contents[-1].parts[0]
        part = types.Part(text="done")
        if not last.function_response:
            given = {"amount": self.amount, "note": SECRET}
            part = types.Part(function_call=types.FunctionCall(id=f"call{self.amount}", name="deposit", args=given))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def deposit(amount: int, note: str, tool_context: ToolContext) -> str:
    """Add to the balance."""
    if WAY == "account":
        return await aadd(amount)
    key = "balance" if WAY in ("stale", "sequence") else "user:balance" if HOW == "plain" else f"user:balance-{amount}"
    balance = tool_context.state.get(key, 10000100)
    if WAY == "user":
        await meet()
    elif WAY == "stale" and amount < 0:  # the other one's whole invocation comes between
        at_work.set()
        await asyncio.wait_for(other_is_done.wait(), TIMEOUT_S)
    tool_context.state[key] = balance + amount
    return "added"


async def turn(service, name: str, amount: int, session: str) -> str:
    agent = LlmAgent(name=name, model=Scripted(model="scripted", amount=amount), tools=[deposit])
    runner = Runner(app_name=APP, agent=agent, session_service=service)
    message = types.Content(role="user", parts=[types.Part(text=SECRET)])
    last = ""
    if WAY == "stale" and amount > 0:
        await asyncio.wait_for(at_work.wait(), TIMEOUT_S)
    try:
        async for event in runner.run_async(user_id=USER, session_id=session, new_message=message):
            if event.content and event.content.parts and event.content.parts[0].text:
                last = event.content.parts[0].text
    except StaleSessionError:
        return "refused"
    finally:
        if amount > 0:
            other_is_done.set()
    return last


async def in_sequence() -> list[str]:
    """Four agents, two by two, add to one session's balance, one after the other."""
    service = InMemorySessionService()
    await service.create_session(app_name=APP, user_id=USER, session_id="one", state={"balance": 10000100})
    for number in (1, 2):
        agents = [
            LlmAgent(name=f"{name}{number}", model=Scripted(model="scripted", amount=amount), tools=[deposit])
            for name, amount in (("payer", 50), ("charger", -20))
        ]
        runner = Runner(app_name=APP, agent=SequentialAgent(name="both", sub_agents=agents), session_service=service)
        message = types.Content(role="user", parts=[types.Part(text=SECRET)])
        async for _ in runner.run_async(user_id=USER, session_id="one", new_message=message):
            pass
    session = await service.get_session(app_name=APP, user_id=USER, session_id="one")
    return [str(session.state["balance"])]


async def main() -> list[str]:
    if WAY == "sequence":
        return await in_sequence()
    service = SqliteSessionService(sys.argv[4]) if WAY == "stale" else InMemorySessionService()
    sessions = ["shared", "shared"] if WAY == "stale" else ["one", "two"]
    state = {"balance": 10000100, "user:balance": 10000100}
    for session in sorted(set(sessions)):
        await service.create_session(app_name=APP, user_id=USER, session_id=session, state=state)
        state = None
    turns = [turn(service, "payer", 50, sessions[0]), turn(service, "charger", -20, sessions[1])]
    return sorted(await asyncio.gather(*turns))


print(asyncio.run(main()))
