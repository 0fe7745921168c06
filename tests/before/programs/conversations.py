"""openai-agents-python#3820: two turns find that their session has no conversation yet, and each creates one.

Argument: URL of a NATS server with JetStream. Mended: the id is created, which the server refuses to the second one.
"""

import asyncio
import contextlib
import sys

import nats
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

HOW = "plain"
(URL,) = sys.argv[1:]


async def conversation_of(sessions: KeyValue, turn: str) -> str:
    """The id of the session's conversation; a new one where it has none."""
    try:
        return ((await sessions.get("s-1")).value or b"").decode()
    except KeyNotFoundError:
        mine = f"conversation-of-{turn}"
        if HOW == "plain":
            await sessions.put("s-1", mine.encode())
            return mine
    try:
        await sessions.create("s-1", mine.encode())
    except KeyWrongLastSequenceError:
        return await conversation_of(sessions, turn)
    return mine


async def main() -> None:
    """Two turns, the second a little later."""
    connection = await nats.connect(URL)
    stream = connection.jetstream()
    with contextlib.suppress(NotFoundError):
        await stream.delete_key_value("sessions")
    sessions = await stream.create_key_value(bucket="sessions")
    first = asyncio.create_task(conversation_of(sessions, "first"), name="turn-first")
    await asyncio.sleep(0.03)
    second = asyncio.create_task(conversation_of(sessions, "second"), name="turn-second")
    await asyncio.gather(first, second)
    await connection.close()


asyncio.run(main())
