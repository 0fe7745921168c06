"""The tools of an MCP server, each with other hints, called once; nothing here knows of noclobber.

Works with both generations of the library: `MCPServer` and `Client` of version 2, `FastMCP` of version 1.
"""

import asyncio
import logging

import mcp.types
from account import SECRET

try:
    from mcp import Client
    from mcp.server import MCPServer

    NAMES = ("read_only_hint", "destructive_hint", "idempotent_hint")
except ImportError:
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.shared.memory import create_connected_server_and_client_session

    NAMES = ("readOnlyHint", "destructiveHint", "idempotentHint")
    Client = None

logging.disable()  # the server tells of the tool that fails
LOOKS, DESTROYS, REPEATS = NAMES
server = MCPServer("payments")


def hints(name: str) -> mcp.types.ToolAnnotations:
    return mcp.types.ToolAnnotations(**{name: True})


@server.tool(annotations=hints(DESTROYS))
def pay(order: str) -> str:
    """Pay, each time."""
    return "paid"


@server.tool(annotations=hints(REPEATS))
def pay_once(order: str) -> str:
    """Pay, unless it is paid."""
    return "paid"


@server.tool(annotations=hints(LOOKS))
def balance(order: str) -> str:
    """Look."""
    return "100"


@server.tool()
def mystery(order: str) -> str:
    """Say nothing about itself."""
    return "done"


@server.tool(annotations=hints(DESTROYS))
def broken(order: str) -> str:
    """Fail on the way."""
    raise RuntimeError("no answer from the bank")


async def call_all(session: mcp.ClientSession) -> list[str]:
    await session.list_tools()
    names = ("pay", "pay_once", "balance", "mystery", "broken")
    replies = [await session.call_tool(name, {"order": SECRET}) for name in names]
    return [str(getattr(each, "is_error", getattr(each, "isError", None))) for each in replies]


async def main() -> list[str]:
    if Client is None:
        async with create_connected_server_and_client_session(server._mcp_server) as session:
            return await call_all(session)
    async with Client(server) as client:
        return await call_all(client.session)


if __name__ == "__main__":
    print(asyncio.run(main()))
