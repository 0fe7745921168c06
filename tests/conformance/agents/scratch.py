"""Two agents, each a process, add to a balance in a cache on disk; nothing here knows of noclobber.

Arguments: how (`plain`; `safe`: in a transaction; `locked`: under the cache's own lock), and the folder.
"""

import contextlib
import multiprocessing
import sys

import diskcache

HOW, WHERE = sys.argv[1:]
TIMEOUT_S = 20


def act(amount: int, read: object) -> None:
    """One agent; the unsafe one meets the other one between its read and its write."""
    with diskcache.Cache(WHERE) as cache, contextlib.ExitStack() as stack:
        if HOW == "safe":
            stack.enter_context(cache.transact())
        elif HOW == "locked":
            stack.enter_context(diskcache.Lock(cache, "the lock"))
        account = cache["acct:1"]
        if HOW == "plain":
            read.wait(TIMEOUT_S)
        cache["acct:1"] = {**account, "balance": account["balance"] + amount}


if __name__ == "__main__":
    with diskcache.Cache(WHERE) as cache:
        cache.set("acct:1", {"balance": 100, "owner": "ann"})
    read = multiprocessing.Barrier(2)
    agents = [multiprocessing.Process(target=act, args=(amount, read)) for amount in (50, -20)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join(TIMEOUT_S)
    with diskcache.Cache(WHERE) as cache:
        print(cache["acct:1"]["balance"])
