"""Two races of mem0 that its users have reported; nothing here knows of noclobber.

`forget` (mem0ai/mem0#5553): one call deletes all memories of a user; its own tasks take them out of the rows of names
beside each other. `learn` (mem0ai/mem0#6243): two agents add memories of one user that speak of one person.
Arguments: which; a folder. Printed is what the row of a name links to in the end, and how many memories there are.
"""

import asyncio
import logging
import sys

from mem0 import AsyncMemory
from mem0_scripted import config, scripted

logging.disable()
WHICH, FOLDER = sys.argv[1:3]
MEMORIES = 6


async def main() -> None:
    memory = AsyncMemory.from_config(config(FOLDER))
    said = [f"Ann likes thing number {number}" for number in range(MEMORIES)]
    await memory.add("fact: Ann is a friend", user_id="all")
    if WHICH == "learn":
        await asyncio.gather(*(memory.add(f"fact: {each}", user_id="all") for each in said))
    else:
        for each in said:
            await memory.add(f"fact: {each}", user_id="all")
        await memory.delete_all(user_id="all")
    (rows,) = memory.entity_store.list(filters={"user_id": "all"})
    kept = (await memory.get_all(filters={"user_id": "all"}))["results"]
    print([len(row.payload["linked_memory_ids"]) for row in rows], len(kept))


with scripted():
    asyncio.run(main())
