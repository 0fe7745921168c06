"""Agents of AutoGen that share an account; nothing here knows of noclobber.

Third argument: `publish` (two subscribers of one topic), `ask` (a planner asks one after the other, which is safe),
`chat` (two assistants with tools), `team` (assistants in one team, one after the other).
"""

import asyncio
import sys
from dataclasses import dataclass

import redis.asyncio
from account import KEY, SECRET, URL, aadd
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import (
    AgentId,
    DefaultTopicId,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TypeSubscription,
    message_handler,
)  # fmt: skip
from autogen_core.models import ChatCompletionClient, CreateResult, ModelInfo, RequestUsage

WAY = sys.argv[3]


@dataclass
class Go:
    note: str = SECRET


async def one_by_one(amount: int) -> str:
    """Read, then write, where nobody else is at work."""
    async with redis.asyncio.Redis.from_url(URL) as client:
        balance = int(await client.get(KEY))
        await asyncio.sleep(0)
        await client.set(KEY, balance + amount)
    return "done"


class Worker(RoutedAgent):
    """Adds when it is told to."""

    def __init__(self, amount: int) -> None:
        super().__init__("adds")
        self.amount = amount

    @message_handler
    async def go(self, message: Go, ctx: MessageContext) -> str:
        return await (one_by_one if WAY == "ask" else aadd)(self.amount)


class Planner(RoutedAgent):
    """Asks one worker after the other."""

    @message_handler
    async def go(self, message: Go, ctx: MessageContext) -> str:
        for name in ("payer", "charger"):
            await self.send_message(Go(), AgentId(name, self.id.key))
        return await one_by_one(1)


async def in_a_runtime() -> str:
    runtime = SingleThreadedAgentRuntime()
    for name, amount in (("payer", 50), ("charger", -20)):
        await Worker.register(runtime, name, lambda amount=amount: Worker(amount))
        await runtime.add_subscription(TypeSubscription("default", name))
    await Planner.register(runtime, "planner", lambda: Planner("asks"))
    runtime.start()
    if WAY == "publish":
        await runtime.publish_message(Go(), DefaultTopicId("default", "order-7"))
    else:
        await runtime.send_message(Go(), AgentId("planner", "order-7"))
    await runtime.stop_when_idle()
    return "done"


class Scripted(ChatCompletionClient):
    """A model that asks for one deposit, and then has done."""

    component_type = "model"

    def __init__(self, name: str, amount: int) -> None:
        call = FunctionCall(id=f"call-{name}", name="deposit", arguments=f'{{"amount": {amount}, "note": "{SECRET}"}}')
        self.turns = [[call], "done"]

    async def create(self, messages, **kwargs) -> CreateResult:
        turn = self.turns.pop(0)
        reason = "stop" if isinstance(turn, str) else "function_calls"
        return CreateResult(finish_reason=reason, content=turn, usage=RequestUsage(0, 0), cached=False)

    async def create_stream(self, messages, **kwargs):
        yield await self.create(messages)

    async def close(self) -> None:
        pass

    def actual_usage(self) -> RequestUsage:
        return RequestUsage(0, 0)

    total_usage = actual_usage

    def count_tokens(self, messages, **kwargs) -> int:
        return 0

    remaining_tokens = count_tokens

    @property
    def capabilities(self) -> ModelInfo:
        return self.model_info

    @property
    def model_info(self) -> ModelInfo:
        about = dict.fromkeys(("vision", "json_output", "structured_output"), False)
        return ModelInfo(function_calling=True, family="unknown", **about)


async def deposit(amount: int, note: str) -> str:
    """Add to the balance."""
    return await (one_by_one if WAY == "team" else aadd)(amount)


def assistant(name: str, amount: int) -> AssistantAgent:
    return AssistantAgent(name, Scripted(name, amount), tools=[deposit])


async def chatting() -> str:
    done = await asyncio.gather(
        *(each.run(task="go on") for each in (assistant("payer", 50), assistant("charger", -20)))
    )
    return " ".join(str(len(each.messages)) for each in done)


async def in_a_team() -> str:
    members = [assistant("payer", 50), assistant("charger", -20)]
    team = RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(3))
    return str(len((await team.run(task="go on")).messages))


print(asyncio.run({"chat": chatting, "team": in_a_team}.get(WAY, in_a_runtime)()))
