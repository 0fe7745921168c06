"""Two agents add to what a Milvus row says; nothing here knows of noclobber.

Arguments: how (`plain` or `locked`), and a folder.
"""

import contextlib
import sys
import threading

from filelock import FileLock
from pymilvus import MilvusClient

HOW, WHERE = sys.argv[1:]
TIMEOUT_S = 30
VECTOR = [0.1, 0.2, 0.3]
client = MilvusClient(f"{WHERE}/{HOW}.db")
client.create_collection("accounts", dimension=3)
client.insert("accounts", [{"id": 1, "vector": VECTOR, "balance": 10_000_100, "owner": "ann"}])
read = threading.Barrier(2)


def act(amount: int) -> None:
    """One agent; the unsafe one meets the other one between reading and writing."""
    with FileLock(f"{WHERE}/{HOW}.lock", timeout=TIMEOUT_S) if HOW == "locked" else contextlib.nullcontext():
        (row,) = client.get("accounts", ids=[1])
        if HOW == "plain":
            read.wait(TIMEOUT_S)
        client.upsert("accounts", [{**row, "balance": row["balance"] + amount}])


agents = [threading.Thread(target=act, args=(amount,)) for amount in (50, -20)]
for agent in agents:
    agent.start()
for agent in agents:
    agent.join(TIMEOUT_S)
print(client.get("accounts", ids=[1])[0]["balance"])
client.close()
