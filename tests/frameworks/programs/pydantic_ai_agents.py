"""Agents of Pydantic AI that share an account or a conversation; nothing here knows of noclobber.

Third argument: `tasks`, `threads` (plain tools), `parallel` (one agent, two calls at once), `conversation`.
"""

import asyncio
import sys

from account import HOW, SECRET, aadd, add, meet
from pydantic_ai import Agent, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.conversation_store import ConversationConflict, InMemoryConversationStore
from pydantic_ai.models.function import FunctionModel

WAY = sys.argv[3]


async def deposit(amount: int, note: str = "") -> str:
    """Add to the balance."""
    return await aadd(amount)


def deposit_here(amount: int, note: str = "") -> str:
    """Add to the balance, in a thread."""
    return add(amount)


def agent(name: str, *amounts: int) -> Agent:
    """An agent whose model asks for the deposits at once, and then has done."""
    tool = deposit_here if WAY == "threads" else deposit

    def model(messages, info) -> ModelResponse:
        if len(messages) > 1 or not amounts:
            return ModelResponse(parts=[TextPart("done")])
        given = [{"amount": amount, "note": SECRET} for amount in amounts]
        calls = [ToolCallPart(tool.__name__, each, tool_call_id=f"call-{name}-{n}") for n, each in enumerate(given)]
        return ModelResponse(parts=calls)

    return Agent(FunctionModel(model), name=name, tools=[tool])


async def two() -> list[str]:
    runs = [agent(name, amount) for name, amount in (("payer", 50), ("charger", -20))]
    done = await asyncio.gather(*(each.run("go on", conversation_id=f"c-{each.name}") for each in runs))
    return [each.output for each in done]


async def one() -> list[str]:
    return [(await agent("both", 50, -20).run("go on", conversation_id="c-both")).output]


class Meeting(InMemoryConversationStore):
    """A store of one's own, where two saves meet; the plain one forgets to look what it replaces."""

    async def write_record(self, record, *, new_entries=(), expected_revision) -> None:
        if expected_revision is not None:
            await meet()
        if HOW == "plain":
            self._records[record.conversation_id] = record
            self._entries |= {each.id: each for each in new_entries}
        else:
            await super().write_record(record, new_entries=new_entries, expected_revision=expected_revision)


async def converse() -> list[str]:
    """Two agents load a conversation, talk, and save it at the same time."""
    store = Meeting()
    await store.save(await agent("first").run(SECRET, conversation_id="shared"))

    async def turn(name: str) -> str:
        loaded = await store.load("shared")
        done = await agent(name).run(SECRET, conversation=loaded)
        try:
            await store.save(done)
        except ConversationConflict:
            return "refused"
        return "saved"

    return sorted(await asyncio.gather(turn("left"), turn("right")))


print(asyncio.run({"parallel": one, "conversation": converse}.get(WAY, two)()))
