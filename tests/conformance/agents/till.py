"""Two agents add to one balance in MariaDB; nothing here knows of noclobber.

Arguments: the driver (pymysql, aiomysql, sqlalchemy), how (`plain`, `locked`, `compared`), and the server's port.
"""

import asyncio
import sys
import threading

import aiomysql
import pymysql
import sqlalchemy

DRIVER, HOW, PORT = sys.argv[1:]
SELECT = "SELECT bal FROM accounts WHERE id = %s" + (" FOR UPDATE" if HOW == "locked" else "")
GIVEN = "UPDATE accounts SET bal = %s WHERE id = %s"
COMPARED = GIVEN + " AND bal = %s"
TIMEOUT_S = 20
SERVER = {"host": "127.0.0.1", "port": int(PORT), "user": "agents"}


def change(balance: int, amount: int) -> tuple[str, tuple[int, ...]]:
    """The statement that writes the new balance, and its parameters."""
    return (COMPARED, (balance + amount, 1, balance)) if HOW == "compared" else (GIVEN, (balance + amount, 1))


def book(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    connection = pymysql.connect(**SERVER, database="bank")
    cursor = connection.cursor()
    if HOW == "locked":
        read.wait(TIMEOUT_S)
    cursor.execute(SELECT, (1,))
    (balance,) = cursor.fetchone()
    if HOW != "locked":
        read.wait(TIMEOUT_S)
    cursor.execute(*change(balance, amount))
    connection.commit()
    connection.close()


ENGINE = sqlalchemy.create_engine(f"mysql+pymysql://agents@127.0.0.1:{PORT}/bank")


def book_through(amount: int, read: threading.Barrier) -> None:
    """One agent, through SQLAlchemy."""
    with ENGINE.begin() as connection:
        if HOW == "locked":
            read.wait(TIMEOUT_S)
        balance = connection.exec_driver_sql(SELECT, (1,)).scalar_one()
        if HOW != "locked":
            read.wait(TIMEOUT_S)
        connection.exec_driver_sql(*change(balance, amount))


async def abook(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    connection = await aiomysql.connect(**SERVER, db="bank")
    cursor = await connection.cursor()
    if HOW == "locked":
        await read.wait()
    await cursor.execute(SELECT, (1,))
    (balance,) = await cursor.fetchone()
    if HOW != "locked":
        await read.wait()
    await cursor.execute(*change(balance, amount))
    await connection.commit()
    await connection.ensure_closed()


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(abook(50, read), abook(-20, read)), TIMEOUT_S)


if DRIVER == "aiomysql":
    asyncio.run(both())
else:
    barrier = threading.Barrier(2)
    act = book if DRIVER == "pymysql" else book_through
    threads = [threading.Thread(target=act, args=(amount, barrier)) for amount in (50, -20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
with pymysql.connect(**SERVER, database="bank") as last:
    reader = last.cursor()
    reader.execute("SELECT SUM(bal) FROM accounts")
    print(reader.fetchone()[0])
