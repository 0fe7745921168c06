"""harness-sdk#1176 (Strands): a client's time runs out, it asks again, and two turns write into one conversation.

Argument: URL of a Redis. Mended: a turn's messages are appended at once, at its end.
"""

import asyncio
import sys

import httpx
import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

HOW = "plain"
(URL,) = sys.argv[1:]
KEY = "conversation:88"
client = redis.asyncio.Redis.from_url(URL)


async def turn(request: Request) -> PlainTextResponse:
    """One turn of the conversation: what the user says, and what the model answers."""
    number = request.query_params["attempt"]
    said, answer = f"user: how much is it? ({number})", f"model: it is 42 ({number})"
    if HOW == "plain":
        await client.rpush(KEY, said)
    known = await client.get("price")  # a tool
    await client.rpush(KEY, *([answer] if HOW == "plain" else [said, answer]))
    return PlainTextResponse((known or b"").decode())


async def main() -> None:
    """The same question twice, the second time because the first took too long."""
    await client.delete(KEY)
    await client.set("price", "42 in all, taxes included")
    app = Starlette(routes=[Route("/turn", turn)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot") as asking:
        first = asyncio.create_task(asking.get("/turn?attempt=1"), name="attempt-1")
        await asyncio.wait({first}, timeout=0.02)
        await asyncio.gather(first, asyncio.create_task(asking.get("/turn?attempt=2"), name="attempt-2"))
    await client.aclose()


asyncio.run(main())
