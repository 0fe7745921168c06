"""aegra#253: two requests see that a thread waits for a person's word, and both resume it: it is paid twice.

Argument: URL of a PostgreSQL for SQLAlchemy and asyncpg. Mended: the status is in the condition of the UPDATE.
"""

import asyncio
import sys

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

HOW = "plain"
(URL,) = sys.argv[1:]
tables = sa.MetaData()
threads = sa.Table("threads", tables, sa.Column("id", sa.Integer, primary_key=True), sa.Column("status", sa.Text))
runs = sa.Table(
    "runs", tables, sa.Column("id", sa.Text, primary_key=True), sa.Column("thread", sa.Integer),
)  # fmt: skip
BUSY, INTERRUPTED = "busy with a run", "interrupted: may I pay?"


async def resume(engine: AsyncEngine, name: str) -> None:
    """One request to go on."""
    async with engine.begin() as connection:
        waiting = sa.select(threads.c.id).where(threads.c.status == INTERRUPTED)
        found = (await connection.execute(waiting)).scalars().all()
        for thread in found:
            change = sa.update(threads).where(threads.c.id == thread).values(status=BUSY)
            if HOW == "mended":
                change = change.where(threads.c.status == INTERRUPTED)
            if (await connection.execute(change)).rowcount:
                await connection.execute(runs.insert().values(id=f"run-{name}", thread=thread))


async def main() -> None:
    """The second request comes a little later."""
    engine = create_async_engine(URL)
    async with engine.begin() as first:
        await first.run_sync(tables.drop_all)
        await first.run_sync(tables.create_all)
        await first.execute(threads.insert().values(id=88, status=INTERRUPTED))
    clicked = asyncio.create_task(resume(engine, "click"), name="click")
    await asyncio.sleep(0.05)  # luck
    await asyncio.gather(clicked, asyncio.create_task(resume(engine, "again"), name="again"))
    await engine.dispose()


asyncio.run(main())
