"""Agents of Microsoft's Agent Framework that share an account or a workflow's state; nothing here knows of noclobber.

Third argument: `agents` (two with tools), `workflow` (two executors of one superstep), `state` (the workflow's state).
"""

import asyncio
import sys

from account import HOW, SECRET, aadd, meet
from agent_framework import (
    Agent,
    AgentSession,
    BaseChatClient,
    ChatResponse,
    Content,
    Executor,
    FunctionInvocationLayer,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    tool,
)  # fmt: skip

WAY = sys.argv[3]


@tool(approval_mode="never_require")
async def deposit(amount: int, note: str) -> str:
    """Add to the balance."""
    return await aadd(amount)


class Scripted(FunctionInvocationLayer, BaseChatClient):
    """A model that asks for one deposit, and then has done."""

    def __init__(self, name: str, amount: int) -> None:
        super().__init__()
        given = {"amount": amount, "note": SECRET}
        call = Content.from_function_call(f"call-{name}", "deposit", arguments=given)
        self.turns = [call, Content.from_text("done")]

    def _inner_get_response(self, *, messages, stream, options, **kwargs):
        async def answer() -> ChatResponse:
            return ChatResponse(messages=[Message("assistant", [self.turns.pop(0)])])

        return answer()


async def two_agents() -> list[str]:
    agents = [
        Agent(Scripted(name, amount), name=name, tools=[deposit]) for name, amount in (("payer", 50), ("charger", -20))
    ]
    runs = (each.run("go on", session=AgentSession(session_id=f"s-{each.name}")) for each in agents)
    return [each.text for each in await asyncio.gather(*runs)]


class Begin(Executor):
    @handler
    async def go(self, message: str, ctx: WorkflowContext[str]) -> None:
        ctx.set_state("balance", 10000100)
        ctx.set_state("note", SECRET)
        await ctx.send_message("go on")


class Change(Executor):
    def __init__(self, name: str, amount: int) -> None:
        super().__init__(id=name)
        self.amount = amount

    @handler
    async def go(self, message: str, ctx: WorkflowContext[str]) -> None:
        if WAY == "workflow":
            await aadd(self.amount)
        elif HOW == "plain":
            balance = ctx.get_state("balance")
            await meet()
            ctx.set_state("balance", balance + self.amount)
        else:
            ctx.set_state(f"balance-{self.id}", self.amount)
        await ctx.send_message("done")


class End(Executor):
    @handler
    async def go(self, messages: list[str], ctx: WorkflowContext[None, str]) -> None:
        await ctx.yield_output(messages[0])


async def in_a_workflow() -> list[str]:
    begin, end = Begin(id="begin"), End(id="end")
    both = [Change("payer", 50), Change("charger", -20)]
    builder = WorkflowBuilder(start_executor=begin)
    workflow = builder.add_fan_out_edges(begin, both).add_fan_in_edges(both, end).build()
    return (await workflow.run("go on")).get_outputs()


print(asyncio.run(two_agents() if WAY == "agents" else in_a_workflow()))
