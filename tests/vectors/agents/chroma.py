"""Two agents add to what a Chroma record says; nothing here knows of noclobber.

Arguments: how (`plain`; `apart`: each changes a field of its own; `locked`), the client (`memory`, `async`), and a
folder or a port.
"""

import asyncio
import sys
import threading
from collections.abc import Callable

import chromadb
from filelock import FileLock

HOW, KIND, WHERE = sys.argv[1:]
TIMEOUT_S = 20
VECTOR = [0.1, 0.2, 0.3]
START = {"balance": 10_000_100, "seen": 20_000_000}


def changed(record: dict, amount: int) -> dict:
    """What one agent makes of a record's fields."""
    if HOW == "apart":
        return {"balance": record["balance"] + amount} if amount > 0 else {"seen": record["seen"] + 1}
    return {**record, "balance": record["balance"] + amount}


def act(collection: chromadb.Collection, amount: int, wait: Callable[[], object]) -> None:
    """One agent."""
    record = collection.get(ids=["acct-1"])["metadatas"][0]
    wait()
    collection.update(ids=["acct-1"], metadatas=[changed(record, amount)])


def in_threads() -> int:
    """Two agents, each in a thread; the unsafe ones meet between reading and writing."""
    client = chromadb.PersistentClient(WHERE) if WHERE != "-" else chromadb.EphemeralClient()
    collection = client.create_collection(f"accounts-{HOW}", embedding_function=None)
    collection.add(ids=["acct-1"], embeddings=[VECTOR], metadatas=[START], documents=["an account of ann"])
    read = threading.Barrier(2)

    def one(amount: int) -> None:
        if HOW == "locked":
            with FileLock(f"{WHERE}.lock", timeout=TIMEOUT_S):
                act(collection, amount, lambda: None)
        else:
            act(collection, amount, lambda: read.wait(TIMEOUT_S))

    agents = [threading.Thread(target=one, args=(amount,)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
    return collection.get(ids=["acct-1"])["metadatas"][0]["balance"]


async def in_tasks() -> int:
    """Two agents, each a task, over a server."""
    client = await chromadb.AsyncHttpClient(host="127.0.0.1", port=int(WHERE))
    collection = await client.create_collection(f"accounts-{HOW}", embedding_function=None)
    await collection.add(ids=["acct-1"], embeddings=[VECTOR], metadatas=[START], documents=["an account of ann"])
    read = asyncio.Barrier(2)

    async def one(amount: int) -> None:
        record = (await collection.get(ids=["acct-1"]))["metadatas"][0]
        await asyncio.wait_for(read.wait(), TIMEOUT_S)
        await collection.update(ids=["acct-1"], metadatas=[changed(record, amount)])

    async with asyncio.TaskGroup() as agents:
        for amount in (50, -20):
            agents.create_task(one(amount))
    return (await collection.get(ids=["acct-1"]))["metadatas"][0]["balance"]


print(asyncio.run(in_tasks()) if KIND == "async" else in_threads())
