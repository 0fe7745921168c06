"""Two agents add to one balance in a MongoDB document; nothing here knows of noclobber.

Arguments: `sync` or `asyncio`; how (`plain`, `safe`: the filter asks for the version that was read, or `counted`: the
store adds); the server's URL.
"""

import asyncio
import sys
import threading
from typing import Any

from pymongo import AsyncMongoClient, MongoClient

KIND, HOW, URL = sys.argv[1:]
TIMEOUT_S = 20


def change(account: dict[str, Any], amount: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is asked for, and what is set."""
    new = {"$set": {"balance": account["balance"] + amount}}
    if HOW == "safe":
        return {"_id": "ann", "version": account["version"]}, {**new, "$inc": {"version": 1}}
    return {"_id": "ann"}, {"$inc": {"balance": amount}} if HOW == "counted" else new


def work_sync(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread, with a client of its own."""
    met = False
    with MongoClient(URL) as client:
        accounts = client.bank.accounts
        while True:
            account = accounts.find_one({"_id": "ann"})
            if not met:
                met = True
                read.wait(TIMEOUT_S)
            if accounts.update_one(*change(account, amount)).matched_count:
                return


async def work_async(amount: int, turn: int, read: list[asyncio.Event]) -> None:
    """One agent, in a task."""
    async with AsyncMongoClient(URL) as client:
        accounts = client.bank.accounts
        while True:
            account = await accounts.find_one({"_id": "ann"})
            read[turn].set()
            await read[1 - turn].wait()
            if (await accounts.update_one(*change(account, amount))).matched_count:
                return


async def all_async() -> None:
    """Both, in one loop."""
    read = [asyncio.Event(), asyncio.Event()]
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(work_async(amount, turn, read) for turn, amount in enumerate((50, -20))))


with MongoClient(URL) as stage:
    stage.bank.accounts.delete_one({"_id": "ann"})
    stage.bank.accounts.insert_one({"_id": "ann", "balance": 1_000_000_100, "version": 1_000_000_001})
    if KIND == "sync":
        barrier = threading.Barrier(2)
        threads = [threading.Thread(target=work_sync, args=(amount, barrier)) for amount in (50, -20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    else:
        asyncio.run(all_async())
    print(stage.bank.accounts.find_one("ann")["balance"])
