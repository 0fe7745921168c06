"""Two agents add to what a LanceDB row says; nothing here knows of noclobber.

Arguments: how (`plain`; `safe`: a write insists on what was read), the client (`threads` or `tasks`), and a folder.
"""

import asyncio
import sys
import threading

import lancedb

HOW, KIND, WHERE = sys.argv[1:]
TIMEOUT_S = 20
START = [{"id": "acct-1", "vector": [0.1, 0.2], "balance": 10_000_100, "owner": "ann"}]
ROW = "id = 'acct-1'"
table = lancedb.connect(WHERE).create_table(f"accounts-{HOW}", START)


def in_threads() -> None:
    """Two agents, each in a thread, that meet between reading and writing; they take turns at the store."""
    read, turns = threading.Barrier(2), threading.Lock()

    def one(amount: int) -> None:
        met = False
        while True:
            with turns:
                (row,) = table.search().where(ROW).to_list()
            if not met:
                met = bool(read.wait(TIMEOUT_S) + 1)
            insist = f" AND balance = {row['balance']}" if HOW == "safe" else ""
            with turns:
                if table.update(where=ROW + insist, values={"balance": row["balance"] + amount}).rows_updated:
                    return

    agents = [threading.Thread(target=one, args=(amount,)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)


async def in_tasks() -> None:
    """The same, in tasks."""
    shared = await (await lancedb.connect_async(WHERE)).open_table(f"accounts-{HOW}")
    read, turns = asyncio.Barrier(2), asyncio.Lock()

    async def one(amount: int) -> None:
        met = False
        while True:
            async with turns:
                (row,) = await shared.query().where(ROW).to_list()
            if not met:
                met = bool(await asyncio.wait_for(read.wait(), TIMEOUT_S) + 1)
            insist = f" AND balance = {row['balance']}" if HOW == "safe" else ""
            async with turns:
                done = await shared.update({"balance": row["balance"] + amount}, where=ROW + insist)
            if done.rows_updated:
                return

    async with asyncio.TaskGroup() as agents:
        for amount in (50, -20):
            agents.create_task(one(amount))


if KIND == "tasks":
    asyncio.run(in_tasks())
    table.checkout_latest()
else:
    in_threads()
print(table.search().where(ROW).to_list()[0]["balance"])
