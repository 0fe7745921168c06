"""adk-python#5244: two invocations read a user's state, which is kept in memory, and each writes what it made of it.

Mended: each invocation writes under a key of its own.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import ToolContext
from google.genai import types

HOW = "plain"
APP, USER = "shop", "user-1"
logging.disable()


class Scripted(BaseLlm):
    """A model that asks for one call, and then has done."""

    item: str

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> AsyncIterator[LlmResponse]:
        """The next answer."""
        part = types.Part(text="done")
        if not llm_request.contents[-1].parts[0].function_response:
            call = types.FunctionCall(id=f"call-{self.item}", name="put", args={"item": self.item})
            part = types.Part(function_call=call)
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def put(item: str, tool_context: ToolContext) -> str:
    """Put an item into the user's basket."""
    if HOW == "mended":
        tool_context.state[f"user:basket-{item}"] = item
    else:
        tool_context.state["user:basket"] = [*tool_context.state["user:basket"], item]
    return "put"


async def invoke(service: InMemorySessionService, item: str) -> None:
    """One invocation, in a session of its own."""
    agent = LlmAgent(name=f"shopper_{item}", model=Scripted(model="scripted", item=item), tools=[put])
    runner = Runner(app_name=APP, agent=agent, session_service=service)
    message = types.Content(role="user", parts=[types.Part(text=item)])
    async for _ in runner.run_async(user_id=USER, session_id=item, new_message=message):
        pass


async def main() -> None:
    """Two, the second a little later."""
    service = InMemorySessionService()
    for session in ("tea", "sugar", "milk"):
        state = {"user:basket": ["a cup"]}
        await service.create_session(app_name=APP, user_id=USER, session_id=session, state=state)
    await invoke(service, "tea")  # which imports what the framework needs
    first = asyncio.create_task(invoke(service, "sugar"), name="invocation-sugar")
    await asyncio.sleep(0.1)
    await asyncio.gather(first, asyncio.create_task(invoke(service, "milk"), name="invocation-milk"))


asyncio.run(main())
