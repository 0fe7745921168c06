"""Two agents add to what a Qdrant point says; nothing here knows of noclobber.

Arguments: how (`plain`; `apart`: each changes a field of its own; `locked`), and the client (`threads` or `tasks`).
"""

import asyncio
import sys
import threading
from collections.abc import Callable

from filelock import FileLock
from qdrant_client import AsyncQdrantClient, QdrantClient, models

HOW, KIND, WHERE = sys.argv[1:]
TIMEOUT_S = 20
VECTOR = [0.1, 0.2, 0.3]
START = {"balance": 10_000_100, "seen": 20_000_000}
VECTORS = models.VectorParams(size=3, distance=models.Distance.COSINE)


def act(client: QdrantClient, amount: int, wait: Callable[[], object]) -> None:
    """One agent."""
    (record,) = client.retrieve("accounts", ids=[1])
    wait()
    if HOW == "apart":
        name = "balance" if amount > 0 else "seen"
        client.set_payload("accounts", {name: record.payload[name] + amount}, points=[1])
    else:
        payload = {**record.payload, "balance": record.payload["balance"] + amount}
        client.upsert("accounts", [models.PointStruct(id=1, vector=VECTOR, payload=payload)])


def in_threads() -> int:
    """Two agents, each in a thread; the unsafe ones meet between reading and writing."""
    client = QdrantClient(":memory:")
    client.create_collection("accounts", vectors_config=VECTORS)
    client.upsert("accounts", [models.PointStruct(id=1, vector=VECTOR, payload=START)])
    read = threading.Barrier(2)

    def one(amount: int) -> None:
        if HOW == "locked":
            with FileLock(f"{WHERE}.lock", timeout=TIMEOUT_S):
                act(client, amount, lambda: None)
        else:
            act(client, amount, lambda: read.wait(TIMEOUT_S))

    agents = [threading.Thread(target=one, args=(amount,)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
    return client.retrieve("accounts", ids=[1])[0].payload["balance"]


async def in_tasks() -> int:
    """Two agents, each a task."""
    client = AsyncQdrantClient(path=WHERE)
    await client.create_collection("accounts", vectors_config=VECTORS)
    await client.upsert("accounts", [models.PointStruct(id=1, vector=VECTOR, payload=START)])
    read = asyncio.Barrier(2)

    async def one(amount: int) -> None:
        (record,) = await client.retrieve("accounts", ids=[1])
        await asyncio.wait_for(read.wait(), TIMEOUT_S)
        name = "seen" if HOW == "apart" and amount < 0 else "balance"
        await client.set_payload("accounts", {name: record.payload[name] + amount}, points=[1])

    async with asyncio.TaskGroup() as agents:
        for amount in (50, -20):
            agents.create_task(one(amount))
    (record,) = await client.retrieve("accounts", ids=[1])
    await client.close()
    return record.payload["balance"]


print(asyncio.run(in_tasks()) if KIND == "tasks" else in_threads())
