"""hermes-agent#45534: at a restart a session is resumed while its user writes: both find it free, and both start.

Argument: URL of a PostgreSQL for asyncpg. Mended: one running agent for each session, which the database sees to.
"""

import asyncio
import sys

import asyncpg

HOW = "plain"
(URL,) = sys.argv[1:]


async def start(pool: asyncpg.Pool) -> None:
    """Start an agent for the session, if none is running."""
    async with pool.acquire() as connection, connection.transaction():
        if await connection.fetch("SELECT id FROM running WHERE session = $1", "weixin:42"):
            return
        once = "ON CONFLICT DO NOTHING" if HOW == "mended" else ""
        await connection.fetch(f"INSERT INTO running (session) VALUES ($1) {once} RETURNING id", "weixin:42")


async def main() -> None:
    """The message comes 160 ms later in life."""
    pool = await asyncpg.create_pool(URL, min_size=2, max_size=2)
    await pool.execute("DROP TABLE IF EXISTS running")
    once = "UNIQUE" if HOW == "mended" else ""
    await pool.execute(f"CREATE TABLE running (id serial PRIMARY KEY, session text {once})")
    resumed = asyncio.create_task(start(pool), name="resume")
    await asyncio.sleep(0.05)
    await asyncio.gather(resumed, asyncio.create_task(start(pool), name="inbound"))
    await pool.close()


asyncio.run(main())
