"""Two agents add to one balance in a file; nothing here knows of noclobber.

Arguments: who runs (`threads` or `tasks`), how (`plain` or `locked`), and the file.
"""

# ruff: noqa: ASYNC240, PTH123  agents do such things

import asyncio
import json
import sys
import threading
from pathlib import Path

import filelock

WHO, HOW, WHERE = sys.argv[1:]
PATH = Path(WHERE)
TIMEOUT_S = 20


def added(text: str, amount: int) -> str:
    """The file's next content."""
    return json.dumps({"balance": json.loads(text)["balance"] + amount})


def book(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    if HOW == "locked":
        with filelock.FileLock(f"{WHERE}.lock"):
            PATH.write_text(added(PATH.read_text(), amount))
    else:
        with open(WHERE) as file:
            text = file.read()
        read.wait(TIMEOUT_S)
        with open(WHERE, "w") as file:
            file.write(added(text, amount))


async def abook(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    if HOW == "locked":
        async with filelock.AsyncFileLock(f"{WHERE}.lock"):
            text = PATH.read_text()
            await asyncio.sleep(0)
            PATH.write_text(added(text, amount))
    else:
        text = PATH.read_text()
        await read.wait()
        PATH.write_text(added(text, amount))


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(abook(50, read), abook(-20, read)), TIMEOUT_S)


if WHO == "tasks":
    asyncio.run(both())
else:
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=book, args=(amount, barrier)) for amount in (50, -20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
