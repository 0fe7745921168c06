"""Steps of a LlamaIndex workflow that share an account, or their context's store; nothing here knows of noclobber.

Third argument: `account`, `store`, `chain` (one step after the other, which is safe).
"""

import asyncio
import sys

from account import HOW, SECRET, aadd, meet
from workflows import Context, Workflow, step
from workflows.events import Event, StartEvent, StopEvent

WAY = sys.argv[3]


class Pay(Event):
    note: str = SECRET


class Done(Event):
    pass


async def change(ctx: Context, amount: int) -> None:
    if WAY == "account":
        await aadd(amount)
    elif HOW == "safe":
        async with ctx.store.edit_state() as state:
            state["balance"] = state["balance"] + amount
    else:
        balance = await ctx.store.get("balance")
        if WAY == "store":
            await meet()
        await ctx.store.set("balance", balance + amount)


class Bank(Workflow):
    """Two steps wait for one event."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Pay:
        await ctx.store.set("balance", 10000100)
        await ctx.store.set("note", SECRET)
        return Pay()

    @step
    async def deposit(self, ctx: Context, ev: Pay) -> Done:
        await change(ctx, 50)
        return Done()

    @step
    async def withdraw(self, ctx: Context, ev: Pay) -> Done:
        await change(ctx, -20)
        return Done()

    @step
    async def close(self, ctx: Context, ev: Done) -> StopEvent | None:
        if ctx.collect_events(ev, [Done, Done]) is None:
            return None
        return StopEvent(result="done")


class Chain(Workflow):
    """One step after the other."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Pay:
        await ctx.store.set("balance", 10000100)
        await change(ctx, 50)
        return Pay()

    @step
    async def withdraw(self, ctx: Context, ev: Pay) -> StopEvent:
        await change(ctx, -20)
        state = await ctx.store.get_state()
        return StopEvent(result=f"done {state['balance']}")


async def main() -> str:
    return str(await (Chain() if WAY == "chain" else Bank()).run())


print(asyncio.run(main()))
