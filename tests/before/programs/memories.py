"""adk-python#5244 and pydantic-ai#4322: state kept in the process; tool calls read it, await a model, and write it.

Mended: an asyncio lock, held from the read to the write.
"""

import asyncio
import contextlib

from noclobber import lock, tracked

HOW = "plain"
sessions = tracked({"s1": 0}, name="sessions")


async def tool(turn: asyncio.Lock, amount: int) -> None:
    """One tool call: what it writes rests on what it read before the model answered."""
    async with lock(turn, name="turn") if HOW == "mended" else contextlib.nullcontext():
        state = sessions["s1"]
        await asyncio.sleep(0)  # the model answers at once
        sessions["s1"] = state + amount


async def main() -> None:
    """Two calls, the second a little later."""
    turn = asyncio.Lock()
    first = asyncio.create_task(tool(turn, 50), name="tool-first")
    await asyncio.sleep(0.02)
    second = asyncio.create_task(tool(turn, 70), name="tool-second")
    await asyncio.gather(first, second)


asyncio.run(main())
