"""Two jobs in a pool of processes that each change one balance: in turn, or both at once."""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Manager
from typing import Any

import redis


def change(url: str, amount: int, met: Any = None) -> int:
    """Read, decide, write; where there is somebody to meet, only once both have read."""
    with redis.Redis.from_url(url) as client:
        balance = int(client.get("balance") or 0)
        if met is not None:
            met.wait(20)
        client.set("balance", balance + amount)
    return amount


if __name__ == "__main__":
    server, way = sys.argv[1:]
    with redis.Redis.from_url(server) as own:
        own.set("balance", 10_000_100)
        with ProcessPoolExecutor(2) as pool:
            if way == "in turn":
                for each in (50, -20):
                    pool.submit(change, server, each).result()
                    change(server, 7)
            else:
                with Manager() as manager:
                    barrier = manager.Barrier(2)
                    jobs = [pool.submit(change, server, each, barrier) for each in (50, -20)]
                    print(sum(job.result() for job in jobs))
        print(int(own.get("balance") or 0))
