"""odysseus#1940: while a model tidies what is remembered, somebody remembers more; the tidied copy replaces it.

Argument: path of a JSON file. Mended: what the model decided is applied to a fresh copy, under a lock.
"""

import asyncio
import json
import sys
from pathlib import Path

from filelock import AsyncFileLock

HOW = "plain"
PATH = Path(sys.argv[1])


def load() -> list[str]:
    """What is remembered."""
    return json.loads(PATH.read_text())


def save(memories: list[str]) -> None:
    """Replace it at once, so that nobody sees a half."""
    scratch = PATH.with_name(f"{PATH.name}.new")
    scratch.write_text(json.dumps(memories))
    scratch.replace(PATH)


async def consolidate(lock: AsyncFileLock) -> None:
    """Have the model say what to drop, and drop it."""
    seen = load()
    await asyncio.sleep(0)  # the model answers at once
    dropped = {memory for memory in seen if memory.startswith("again:")}
    if HOW == "mended":
        async with lock:
            save([memory for memory in load() if memory not in dropped])
    else:
        save([memory for memory in seen if memory not in dropped])


async def remember(lock: AsyncFileLock) -> None:
    """Add one."""
    if HOW == "mended":
        async with lock:
            save([*load(), "takes no sugar"])
        return
    seen = load()
    await asyncio.sleep(0)
    save([*seen, "takes no sugar"])


async def main() -> None:
    """Both, the second a little later."""
    lock = AsyncFileLock(f"{PATH}.lock", timeout=10)
    tidying = asyncio.create_task(consolidate(lock), name="consolidate")
    await asyncio.sleep(0.02)  # luck
    await asyncio.gather(tidying, asyncio.create_task(remember(lock), name="chat"))


PATH.write_text(json.dumps(["likes tea", "again: likes tea"]))
asyncio.run(main())
