"""Two agents add to one balance in fsspec's memory file system; nothing here knows of noclobber.

Arguments: who runs (`threads` or `tasks`), how (`plain` or `locked`), and a lock's file.
"""

import asyncio
import sys
import threading

import filelock
import fsspec

WHO, HOW, LOCK = sys.argv[1:]
TIMEOUT_S = 20
PATH = "/bank/balance"
system = fsspec.filesystem("memory")
system.pipe(PATH, b"1000000100")


def add(amount: int, old: bytes) -> None:
    """Write what was decided."""
    system.pipe(PATH, str(int(old) + amount).encode())


def work(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    if HOW == "locked":
        with filelock.FileLock(LOCK):
            add(amount, system.cat(PATH))
    else:
        old = system.cat(PATH)
        read.wait(TIMEOUT_S)
        add(amount, old)


async def awork(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    if HOW == "locked":
        async with filelock.AsyncFileLock(LOCK):
            old = system.cat(PATH)
            await asyncio.sleep(0)
            add(amount, old)
    else:
        old = system.cat(PATH)
        await read.wait()
        add(amount, old)


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(awork(50, read), awork(-20, read)), TIMEOUT_S)


if WHO == "tasks":
    asyncio.run(both())
else:
    barrier = threading.Barrier(2)
    agents = [threading.Thread(target=work, args=(amount, barrier)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
print(system.cat(PATH).decode())
