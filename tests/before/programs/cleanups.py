"""spring-ai-alibaba#4790: the clean-up of a run that has ended comes late, and deletes what the next run has put there.

Argument: URL of a Redis. Mended: deleted only while it is still what was seen (WATCH and MULTI).
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import redis.asyncio
from redis.exceptions import WatchError

HOW = "plain"
(URL,) = sys.argv[1:]
KEY = "thread:88:state"


async def change(client: redis.asyncio.Redis, decide: Callable[[Any], Any]) -> None:
    """Put what `decide` makes of the state in its place; None: delete it."""
    while True:
        async with client.pipeline() as pipe:
            if HOW == "mended":
                await pipe.watch(KEY)
                seen = await pipe.get(KEY)
                pipe.multi()
            else:
                seen = await client.get(KEY)
            state = decide(json.loads(seen) if seen else {"run": "none", "notes": []})
            pipe.set(KEY, json.dumps(state)) if state is not None else pipe.delete(KEY)
            try:
                await pipe.execute()
            except WatchError:
                continue  # somebody was faster: look again
            return


async def clean_up(client: redis.asyncio.Redis) -> None:
    """Delete the state, if it is still of the run that is over."""
    await change(client, lambda state: None if state["run"] == "run-1" else state)


async def begin(client: redis.asyncio.Redis) -> None:
    """The next run of the thread takes over what it finds."""
    await change(client, lambda state: {"run": "run-2", "notes": [*state["notes"], "the user was here again"]})


async def main() -> None:
    """The clean-up is done before the next run begins, if luck has it."""
    async with redis.asyncio.Redis.from_url(URL) as client:
        await client.set(KEY, json.dumps({"run": "run-1", "notes": ["the user was here"]}))
        cleaning = asyncio.create_task(clean_up(client), name="clean-up")
        await asyncio.sleep(0.02)
        await asyncio.gather(cleaning, asyncio.create_task(begin(client), name="run-2"))


asyncio.run(main())
