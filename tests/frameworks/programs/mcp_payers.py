"""Two agents of one run that pay the same order through an MCP server; nothing here knows of noclobber."""

import asyncio

from account import HOW, SECRET
from agents import Agent, Runner, SQLiteSession, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from mcp import Client
from mcp_tools import server


async def main() -> list[str]:
    async with Client(server) as client:
        await client.session.list_tools()

        @function_tool
        async def settle(order: str) -> str:
            """Pay an order."""
            await client.session.call_tool("pay" if HOW == "plain" else "pay_once", {"order": order})
            return "settled"

        steps = [[function_call("settle", {"order": SECRET}, call_id="call-settle")], [assistant_message("done")]]
        both = [Agent(name=name, model=ScriptedModel(steps), tools=[settle]) for name in ("left", "right")]
        done = await asyncio.gather(*(Runner.run(each, "pay", session=SQLiteSession("order-7")) for each in both))
        return [each.final_output for each in done]


print(asyncio.run(main()))
