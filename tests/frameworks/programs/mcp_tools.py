"""Two agents that pay through an MCP server; nothing here knows of noclobber.

Arguments after how and Redis' URL: `retry` (one order is paid by two agents of one run), `hints` (every kind of tool).
"""

import asyncio
import logging
import sys

import mcp.types
from account import HOW, SECRET
from agents import Agent, Runner, SQLiteSession, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from mcp import Client
from mcp.server import MCPServer

logging.disable()  # the server tells of the tool that fails
server = MCPServer("payments")


def hints(**given: bool) -> mcp.types.ToolAnnotations:
    return mcp.types.ToolAnnotations(**given)


@server.tool(annotations=hints(destructive_hint=True))
def pay(order: str) -> str:
    """Pay, each time."""
    return "paid"


@server.tool(annotations=hints(idempotent_hint=True))
def pay_once(order: str) -> str:
    """Pay, unless it is paid."""
    return "paid"


@server.tool(annotations=hints(read_only_hint=True))
def balance(order: str) -> str:
    """Look."""
    return "100"


@server.tool()
def mystery(order: str) -> str:
    """Say nothing about itself."""
    return "done"


@server.tool(annotations=hints(destructive_hint=True))
def broken(order: str) -> str:
    """Fail on the way."""
    raise RuntimeError("no answer from the bank")


async def agents_of(client: Client) -> list[str]:
    """Two agents of one run, each told to pay the same order."""

    @function_tool
    async def settle(order: str) -> str:
        """Pay an order."""
        await client.session.call_tool("pay" if HOW == "plain" else "pay_once", {"order": order})
        return "settled"

    steps = [[function_call("settle", {"order": SECRET}, call_id="call-settle")], [assistant_message("done")]]
    both = [Agent(name=name, model=ScriptedModel(steps), tools=[settle]) for name in ("left", "right")]
    done = await asyncio.gather(*(Runner.run(each, "pay", session=SQLiteSession("order-7")) for each in both))
    return [each.final_output for each in done]


async def main() -> list[str]:
    async with Client(server) as client:
        await client.session.list_tools()
        if sys.argv[3] == "retry":
            return await agents_of(client)
        names = ("pay", "pay_once", "balance", "mystery", "broken")
        replies = [await client.session.call_tool(name, {"order": SECRET}) for name in names]
        return [str(each.is_error) for each in replies]


print(asyncio.run(main()))
