"""Two agents add to one balance through a plain driver; nothing here knows of noclobber.

Arguments: the driver (sqlite3, aiosqlite, psycopg, asyncpg), how (`plain`, `atomic`, or `advisory`: under a lock of
PostgreSQL), and where its database is.
"""

import asyncio
import sqlite3
import sys
import threading

import aiosqlite
import asyncpg
import psycopg

DRIVER, HOW, WHERE = sys.argv[1:]
MARK = {"psycopg": ("%s", "%s"), "asyncpg": ("$1", "$2")}.get(DRIVER, ("?", "?"))
SELECT = f"SELECT bal FROM accounts WHERE id = {MARK[0]}"
GIVEN = f"UPDATE accounts SET bal = {MARK[0]} WHERE id = {MARK[1]}"
ADDED = f"UPDATE accounts SET bal = bal + {MARK[0]} WHERE id = {MARK[1]}"
LOCK, UNLOCK = "SELECT pg_advisory_lock(hashtext('accounts'))", "SELECT pg_advisory_unlock(hashtext('accounts'))"
TIMEOUT_S = 20


def change(balance: int, amount: int) -> tuple[str, tuple[int, int]]:
    """The statement that adds `amount`, and its parameters."""
    return (ADDED, (amount, 1)) if HOW == "atomic" else (GIVEN, (balance + amount, 1))


def book(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    if DRIVER == "sqlite3":
        connection = sqlite3.connect(WHERE, timeout=TIMEOUT_S)
    else:
        connection = psycopg.connect(WHERE, autocommit=True)
    if HOW == "advisory":
        read.wait(TIMEOUT_S)
        connection.execute(LOCK)
    (balance,) = connection.execute(SELECT, (1,)).fetchone()
    if HOW != "advisory":
        read.wait(TIMEOUT_S)
    connection.execute(*change(balance, amount))
    connection.commit()
    if HOW == "advisory":
        connection.execute(UNLOCK)
    connection.close()


async def abook(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    if DRIVER == "aiosqlite":
        async with aiosqlite.connect(WHERE, timeout=TIMEOUT_S) as connection:
            ((balance,),) = await connection.execute_fetchall(SELECT, (1,))
            await read.wait()
            await connection.execute(*change(balance, amount))
            await connection.commit()
    else:
        connection = await asyncpg.connect(WHERE)
        if HOW == "advisory":
            await read.wait()
            await connection.execute(LOCK)
        balance = await connection.fetchval(SELECT, 1)
        if HOW != "advisory":
            await read.wait()
        statement, parameters = change(balance, amount)
        await connection.execute(statement, *parameters)
        if HOW == "advisory":
            await connection.execute(UNLOCK)
        await connection.close()


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(abook(50, read), abook(-20, read)), TIMEOUT_S)


if DRIVER in ("aiosqlite", "asyncpg"):
    asyncio.run(both())
else:
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=book, args=(amount, barrier)) for amount in (50, -20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
