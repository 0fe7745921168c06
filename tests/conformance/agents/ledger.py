"""Two agents add to one balance in a file; nothing here knows of noclobber.

Arguments: who runs (`threads`, `processes` or `tasks`), how (`plain` or `locked`), and the file.
"""

# ruff: noqa: ASYNC240, PTH123  agents do such things

import asyncio
import json
import multiprocessing
import sys
import threading
from pathlib import Path
from typing import Any

import filelock

WHO, HOW, WHERE = sys.argv[1:]
PATH = Path(WHERE)
TIMEOUT_S = 20


def added(text: str, amount: int) -> str:
    """The file's next content."""
    return json.dumps({"balance": json.loads(text)["balance"] + amount})


def book(amount: int, read: Any) -> None:
    """One agent, in a thread or a process."""
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
    make: Any = multiprocessing.get_context("fork") if WHO == "processes" else threading
    kind = make.Process if WHO == "processes" else make.Thread
    barrier = make.Barrier(2)
    agents = [kind(target=book, args=(amount, barrier)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
