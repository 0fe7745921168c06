"""Two jobs in other processes that each change one balance: in turn, or both at once.

Arguments: the server, the way (`in turn`, `at once`), and who runs them: an `executor`, a `pool`, a `process` each.
"""

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from typing import Any

import redis

TIMEOUT_S = 20
AMOUNTS = (50, -20)
Start = Callable[..., Callable[[], object]]
"""Starts a job with its arguments; returns what waits for it."""


def change(url: str, amount: int, met: Any = None) -> int:
    """Read, decide, write; where there is somebody to meet, only once both have read."""
    with redis.Redis.from_url(url) as client:
        balance = int(client.get("balance") or 0)
        if met is not None:
            met.wait(TIMEOUT_S)
        client.set("balance", balance + amount)
    return amount


def starting(kind: str, stack: ExitStack) -> Start:
    """How jobs of a kind are started."""
    if kind == "executor":
        executor = stack.enter_context(ProcessPoolExecutor(2))
        return lambda *words: executor.submit(change, *words).result
    if kind == "pool":
        pool = stack.enter_context(multiprocessing.Pool(2))
        return lambda *words: pool.apply_async(change, words).get

    def start(*words: object) -> Callable[[], object]:
        process = multiprocessing.Process(target=change, args=words)
        process.start()
        return lambda: process.join(TIMEOUT_S)

    return start


if __name__ == "__main__":
    server, way, kind = sys.argv[1:]
    with redis.Redis.from_url(server) as own, ExitStack() as stack:
        own.set("balance", 10_000_100)
        barrier = stack.enter_context(multiprocessing.Manager()).Barrier(2) if way == "at once" else None
        start = starting(kind, stack)
        if barrier is None:
            for each in AMOUNTS:
                start(server, each)()
                change(server, 7)
        else:
            for wait in [start(server, each, barrier) for each in AMOUNTS]:
                wait()
        print(int(own.get("balance") or 0))
