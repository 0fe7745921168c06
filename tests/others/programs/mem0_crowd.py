"""A crowd of agents that remember with mem0; nothing here knows of noclobber.

The shapes are those of mem0's quickstart: what is said is turned into facts by a model and added, searched before an
answer, corrected, deleted. Each agent has a user of its own in one memory that all share. `shared` adds two agents who
correct one memory at once, and two who add to one user. The model, the embedder and what finds names in a text are
scripted. Arguments: `threads` or `tasks`; `apart` or `shared`; a folder.
"""

import asyncio
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from mem0 import AsyncMemory, Memory
from mem0_scripted import config, scripted

logging.disable()  # the library tells of what is not installed
WAY, HOW, FOLDER = sys.argv[1:4]
USERS, FACTS = 6, 16
both_have_read = threading.Barrier(2, timeout=30)
both_are_here = asyncio.Event()
come: list[str] = []


def use(memory: Memory, user: str) -> int:
    """One agent's day, in order."""
    for number in range(FACTS):
        memory.add(f"fact: {user} met Ann on day {number}", user_id=user, infer=number % 2 == 0)
        found = memory.search("whom did we meet?", filters={"user_id": user}, threshold=0.0)["results"]
        newest = found[0]["id"]
        memory.update(newest, text=f"{memory.get(newest)['memory']}, and was glad")
        if number % 4 == 3:
            memory.delete(found[-1]["id"])
    return len(memory.get_all(filters={"user_id": user})["results"])


async def ause(memory: AsyncMemory, user: str) -> int:
    for number in range(FACTS):
        await memory.add(f"fact: {user} met Ann on day {number}", user_id=user, infer=number % 2 == 0)
        found = (await memory.search("whom did we meet?", filters={"user_id": user}, threshold=0.0))["results"]
        newest = found[0]["id"]
        await memory.update(newest, text=f"{(await memory.get(newest))['memory']}, and was glad")
        if number % 4 == 3:
            await memory.delete(found[-1]["id"])
    return len((await memory.get_all(filters={"user_id": user}))["results"])


def correct(memory: Memory, memory_id: str, what: str) -> None:
    known = memory.get(memory_id)["memory"]
    both_have_read.wait()
    memory.update(memory_id, text=f"{known} {what}")


async def acorrect(memory: AsyncMemory, memory_id: str, what: str) -> None:
    known = (await memory.get(memory_id))["memory"]
    come.append(what)
    if len(come) == 2:
        both_are_here.set()
    await asyncio.wait_for(both_are_here.wait(), 30)
    await memory.update(memory_id, text=f"{known} {what}")


def in_threads() -> None:
    memory = Memory.from_config(config(FOLDER))
    with ThreadPoolExecutor(USERS) as pool:
        print(list(pool.map(lambda n: use(memory, f"User{n}"), range(USERS))))
        if HOW == "shared":
            first = memory.add("Tom likes tea", user_id="all", infer=False)["results"][0]["id"]
            for each in [pool.submit(correct, memory, first, what) for what in ("and coffee", "but no sugar")]:
                each.result(60)
            print(memory.get(first)["memory"])


async def in_tasks() -> None:
    memory = AsyncMemory.from_config(config(FOLDER))
    print(await asyncio.gather(*(ause(memory, f"User{n}") for n in range(USERS))))
    if HOW == "shared":
        first = (await memory.add("Tom likes tea", user_id="all", infer=False))["results"][0]["id"]
        await asyncio.gather(*(acorrect(memory, first, what) for what in ("and coffee", "but no sugar")))
        print((await memory.get(first))["memory"])


with scripted():
    if WAY == "threads":
        in_threads()
    else:
        asyncio.run(in_tasks())
