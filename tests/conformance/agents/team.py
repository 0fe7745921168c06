"""Two agents, each a process, add to a balance that a manager's process keeps; nothing here knows of noclobber.

Arguments: what is shared (`dict`, `value`, `namespace`), and how (`plain` or `safe`); perhaps how
processes start.
"""

import contextlib
import multiprocessing
import sys

WHAT, HOW, START_METHOD = [*sys.argv[1:], "fork"][:3]
TIMEOUT_S = 20
START = 10_000_100


def look(shared: object) -> int:
    """The balance."""
    if WHAT == "dict":
        return shared["balance"]
    return shared.value if WHAT == "value" else shared.balance


def act(shared: object, lock: object, read: object, amount: int) -> None:
    """One agent; the unsafe one meets the other one between its read and its write."""
    with lock if HOW == "safe" else contextlib.nullcontext():
        balance = look(shared)
        if HOW == "plain":
            read.wait(TIMEOUT_S)
        if WHAT == "dict":
            shared["balance"] = balance + amount
        elif WHAT == "value":
            shared.value = balance + amount
        else:
            shared.balance = balance + amount


if __name__ == "__main__":
    multiprocessing.set_start_method(START_METHOD)
    with multiprocessing.Manager() as manager:
        if WHAT == "dict":
            shared = manager.dict()
            shared["balance"] = START
        elif WHAT == "value":
            shared = manager.Value("i", START)
        else:
            shared = manager.Namespace()
            shared.balance = START
        lock, read = manager.Lock(), manager.Barrier(2)
        agents = [
            multiprocessing.Process(target=act, args=(shared, lock, read, amount), name=f"agent{amount}")
            for amount in (50, -20)
        ]
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.join(TIMEOUT_S)
        print(look(shared))
