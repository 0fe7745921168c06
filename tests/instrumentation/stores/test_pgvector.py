"""pgvector through the SQL planner: vectors that come back otherwise than they were sent are no finding; a race is."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import psycopg
import pytest
from driver_stage import TIMEOUT_S, findings, judged, together, told
from pgvector.asyncpg import register_vector as register_asyncpg
from pgvector.psycopg import register_vector
from pgvector.sqlalchemy import Vector
from sql_stage import postgres_url
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from noclobber.testing import capture

__all__ = ["postgres_url"]

SENT = [0.1, 0.2, 1 / 3]
"""None of them is a number of single precision."""
NEAREST = "SELECT id, note, embedding FROM memories ORDER BY embedding <-> %s LIMIT 2"


class Base(DeclarativeBase):
    """Mapped tables."""


class Memory(Base):
    """What an agent remembers, and where it lies."""

    __tablename__ = "memories"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    embedding: Mapped[Any] = mapped_column(Vector(3))


@pytest.fixture
def dsn(postgres_url: str) -> Iterator[str]:
    """A database with the extension, and two memories."""
    found = postgres_url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("DROP TABLE IF EXISTS memories")
        connection.execute("CREATE TABLE memories (id integer PRIMARY KEY, note text, embedding vector(3))")
        register_vector(connection)
        for number in (1, 2):
            connection.execute("INSERT INTO memories VALUES (%s, %s, %s)", (number, f"memory {number}", np.array(SENT)))
    yield found
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE memories")


@pytest.mark.parametrize("registered", [True, False], ids=["arrays", "texts"])
def test_one_after_the_other_in_psycopg(dsn: str, registered: bool, tmp_path: Path) -> None:
    """Each reads what the other wrote, in other numbers than it was sent."""
    turns = threading.Lock()

    def act() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            if registered:
                register_vector(connection)
            vector = np.array(SENT) if registered else str(SENT)
            for _ in range(3):
                with turns:
                    (note, stored) = connection.execute("SELECT note, embedding FROM memories WHERE id = 1").fetchone()  # type: ignore[misc]
                    assert str(stored) != str(SENT)
                    connection.execute(
                        "UPDATE memories SET note = %s, embedding = %s WHERE id = 1", (note + ", and more", vector)
                    )

    with capture(fixed=False) as captured:
        together(act, act)
    assert judged(captured, tmp_path).findings == []


def test_a_race_in_psycopg(dsn: str, tmp_path: Path) -> None:
    """Both read before either writes."""
    barrier = threading.Barrier(2)

    def act() -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            register_vector(connection)
            row = connection.execute("SELECT note, embedding FROM memories WHERE id = 1").fetchone()
            assert row is not None
            barrier.wait(TIMEOUT_S)
            changed = row[1].to_numpy() * np.random.default_rng().random()
            connection.execute("UPDATE memories SET embedding = %s WHERE id = 1", (changed,))

    with capture(fixed=False) as captured:
        together(act, act)
    assert findings(captured, tmp_path) == [("lost_update", "likely")]


def test_a_search_by_likeness(dsn: str) -> None:
    """An approximate scan, with the rows that it found."""
    with capture() as captured, psycopg.connect(dsn, autocommit=True) as connection:
        register_vector(connection)
        connection.execute(NEAREST, (np.array(SENT),)).fetchall()
        connection.execute("SELECT id FROM memories ORDER BY embedding <=> %s LIMIT 1", (np.array(SENT),)).fetchall()
    scans = [each for each in told(captured) if each["op"] == "scan" and "memories" in str(each["resource"])]
    assert [each.get("scan.approximate") for each in scans] == [True, True]
    assert [len(each["result.resources"]) for each in scans] == [2, 1]


def test_asyncpg(dsn: str, tmp_path: Path) -> None:
    """One after the other, in tasks."""

    async def act(turns: asyncio.Lock) -> None:
        connection = await asyncpg.connect(dsn)
        await register_asyncpg(connection)
        for _ in range(3):
            async with turns:
                row = await connection.fetchrow("SELECT note, embedding FROM memories WHERE id = 1")
                await connection.execute(
                    "UPDATE memories SET note = $1, embedding = $2 WHERE id = 1", row["note"] + "!", np.array(SENT)
                )
        await connection.close()

    async def both() -> None:
        turns = asyncio.Lock()
        async with asyncio.TaskGroup() as agents:
            for _ in range(2):
                agents.create_task(act(turns))

    with capture(fixed=False) as captured:
        asyncio.run(both())
    assert judged(captured, tmp_path).findings == []


def test_sqlalchemy(dsn: str, tmp_path: Path) -> None:
    """One after the other through the ORM, which writes what it was given and reads what was stored."""
    engine = create_engine(dsn.replace("postgresql", "postgresql+psycopg"))
    turns = threading.Lock()

    def act() -> None:
        for _ in range(3):
            with turns, Session(engine) as session:
                memory = session.get_one(Memory, 1)
                memory.embedding = SENT
                memory.note += "!"
                session.commit()
                nearest = select(Memory).order_by(Memory.embedding.l2_distance(SENT)).limit(2)
                assert len(session.scalars(nearest).all()) == 2

    with capture(fixed=False) as captured:
        together(act, act)
    engine.dispose()
    found = judged(captured, tmp_path).findings
    assert [(str(each.kind), str(each.certainty)) for each in found] == []
