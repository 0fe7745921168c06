"""A balance in Redis that agents add to, and where two of them meet; nothing here knows of noclobber.

The first two arguments of every program here: how (`plain` reads, then writes; `safe` lets Redis add), and Redis' URL.
"""

import asyncio
import sys
import threading

import redis
import redis.asyncio

HOW, URL = sys.argv[1:3]
KEY = "acct:42"
SECRET = "sk-planted-0123456789"
TIMEOUT_S = 20
_both_have_read = threading.Barrier(2)
_arrived: list[int] = []
_both_are_here = asyncio.Event()


def add(amount: int) -> str:
    """Add to the balance; a plain agent meets the other one between its read and its write."""
    with redis.Redis.from_url(URL) as client:
        if HOW == "safe":
            client.incrby(KEY, amount)
        else:
            balance = int(client.get(KEY))
            _both_have_read.wait(TIMEOUT_S)
            client.set(KEY, balance + amount)
    return f"added {amount}"


async def aadd(amount: int) -> str:
    """The same for agents of one event loop."""
    async with redis.asyncio.Redis.from_url(URL) as client:
        if HOW == "safe":
            await client.incrby(KEY, amount)
        else:
            balance = int(await client.get(KEY))
            await meet()
            await client.set(KEY, balance + amount)
    return f"added {amount}"


async def meet() -> None:
    """Wait until both are here, without telling one of them what the other did."""
    _arrived.append(1)
    if len(_arrived) == 2:
        _both_are_here.set()
    async with asyncio.timeout(TIMEOUT_S):
        await _both_are_here.wait()
