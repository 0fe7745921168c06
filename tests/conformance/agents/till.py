"""Two agents add to one balance in MariaDB; nothing here knows of noclobber.

Arguments: the driver (pymysql, aiomysql, asyncmy, sqlalchemy), how (`plain`, `locked`, `compared`, `named`: under a
lock of the server), and the server's port.
"""

import asyncio
import sys
import threading

import aiomysql
import asyncmy
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


TAKE, GIVE_BACK = "SELECT GET_LOCK('accounts', 20)", "SELECT RELEASE_LOCK('accounts')"
LOCKS = HOW in ("locked", "named")


def book(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread."""
    connection = pymysql.connect(**SERVER, database="bank")
    cursor = connection.cursor()
    if LOCKS:
        read.wait(TIMEOUT_S)
    if HOW == "named":
        cursor.execute(TAKE)
    cursor.execute(SELECT, (1,))
    (balance,) = cursor.fetchone()
    if not LOCKS:
        read.wait(TIMEOUT_S)
    cursor.execute(*change(balance, amount))
    connection.commit()
    if HOW == "named":
        cursor.execute(GIVE_BACK)
    connection.close()


ENGINE = sqlalchemy.create_engine(f"mysql+pymysql://agents@127.0.0.1:{PORT}/bank")


def book_through(amount: int, read: threading.Barrier) -> None:
    """One agent, through SQLAlchemy."""
    with ENGINE.connect() as connection:
        if LOCKS:
            read.wait(TIMEOUT_S)
        if HOW == "named":
            connection.exec_driver_sql(TAKE).scalar_one()
        balance = connection.exec_driver_sql(SELECT, (1,)).scalar_one()
        if not LOCKS:
            read.wait(TIMEOUT_S)
        connection.exec_driver_sql(*change(balance, amount))
        connection.commit()
        if HOW == "named":
            connection.exec_driver_sql(GIVE_BACK).scalar_one()


async def abook(amount: int, read: asyncio.Barrier) -> None:
    """One agent, in a task."""
    connection = await (aiomysql if DRIVER == "aiomysql" else asyncmy).connect(**SERVER, db="bank")
    cursor = await connection.cursor()
    if LOCKS:
        await read.wait()
    if HOW == "named":
        await cursor.execute(TAKE)
    await cursor.execute(SELECT, (1,))
    (balance,) = await cursor.fetchone()
    if not LOCKS:
        await read.wait()
    await cursor.execute(*change(balance, amount))
    await connection.commit()
    if HOW == "named":
        await cursor.execute(GIVE_BACK)
    await connection.ensure_closed()


async def both() -> None:
    """Both agents, as tasks."""
    read = asyncio.Barrier(2)
    await asyncio.wait_for(asyncio.gather(abook(50, read), abook(-20, read)), TIMEOUT_S)


if DRIVER in ("aiomysql", "asyncmy"):
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
