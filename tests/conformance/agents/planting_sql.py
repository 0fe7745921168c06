"""The secret in SQL: in parameters, literals and conditions, by every driver and mapper."""

import asyncio
import contextlib
import os
from collections.abc import Callable

from plants import FOLDER, SECRET, plants


def statements(mark: str) -> list[tuple[str, tuple[object, ...]]]:
    """A secret in parameters, in literals, in conditions, in what fails."""
    return [
        ("DROP TABLE IF EXISTS notes", ()),
        ("CREATE TABLE notes (id integer PRIMARY KEY, owner varchar(80), text varchar(80) UNIQUE)", ()),
        (f"INSERT INTO notes (id, owner, text) VALUES (1, {mark.format(1)}, 'x')", (SECRET,)),
        (f"INSERT INTO notes (id, owner, text) VALUES (2, '{SECRET}', '{SECRET}')", ()),
        ("SELECT id, owner, text FROM notes WHERE id = 1", ()),
        (f"SELECT id, owner, text FROM notes WHERE owner = {mark.format(1)}", (SECRET,)),
        (f"SELECT id FROM notes WHERE owner > '{SECRET}' ORDER BY id", ()),
        (
            f"UPDATE notes SET owner = {mark.format(1)} WHERE id = 1 AND owner = {mark.format(2)}",
            (SECRET + "!", SECRET),
        ),
        (f"UPDATE notes SET owner = owner || '{SECRET}' WHERE id = 1", ()),
        (f"DELETE FROM notes WHERE owner = '{SECRET}' AND id = 7", ()),
        (f"INSERT INTO notes (id, owner, text) VALUES (3, 'y', {mark.format(1)})", (SECRET,)),
        (f"SELECT '{SECRET}' FROM nothing_here", ()),
    ]


def run_all(execute: Callable[..., object], mark: str) -> None:
    """The same, by a driver; the last ones fail."""
    for text, parameters in statements(mark):
        with contextlib.suppress(Exception):
            execute(text, parameters)


@plants("sqlite3")
def with_sqlite3() -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(FOLDER / "a.db", isolation_level=None)) as connection:
        run_all(lambda text, parameters: connection.execute(text, parameters).fetchall(), "?")


@plants("aiosqlite")
def with_aiosqlite() -> None:
    import aiosqlite

    async def act() -> None:
        async with aiosqlite.connect(FOLDER / "b.db") as connection:
            for text, parameters in statements("?"):
                with contextlib.suppress(Exception):
                    await connection.execute_fetchall(text, parameters)

    asyncio.run(act())


@plants("sqlalchemy")
def with_sqlalchemy() -> None:
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{FOLDER / 'c.db'}", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        run_all(lambda text, parameters: connection.exec_driver_sql(text, parameters or None), "?")
    engine.dispose()


@plants("django")
def with_django() -> None:
    import django
    from django.conf import settings
    from django.db import connection, models

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(FOLDER / "d.db")}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[])
    django.setup()

    class Note(models.Model):
        owner = models.CharField(max_length=80)

        class Meta:
            app_label = "planting"

        def __str__(self) -> str:
            return self.owner

    with connection.schema_editor() as editor:
        editor.create_model(Note)
    note = Note.objects.create(owner=SECRET)
    note.save()
    assert Note.objects.get(owner=SECRET).owner == SECRET
    connection.close()


@plants("psycopg")
def with_psycopg() -> None:
    import psycopg

    with psycopg.connect(os.environ["POSTGRES"], autocommit=True) as connection:
        run_all(lambda text, parameters: connection.execute(text, parameters or None), "%s")
        with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT '{SECRET}', id FROM notes) TO STDOUT") as copy:
            list(copy)
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (SECRET,))


@plants("asyncpg")
def with_asyncpg() -> None:
    import asyncpg

    async def act() -> None:
        connection = await asyncpg.connect(os.environ["POSTGRES"])
        for text, parameters in statements("${}"):
            with contextlib.suppress(Exception):
                await connection.fetch(text, *parameters)
        await connection.fetchmany("SELECT id, owner FROM notes WHERE owner = $1", [(SECRET,)])
        await connection.close()

    asyncio.run(act())


@plants("pymysql")
def with_pymysql() -> None:
    import pymysql

    with contextlib.closing(pymysql.connect(**mysql(), database="bank", autocommit=True)) as connection:
        run_all(lambda text, parameters: connection.cursor().execute(text, parameters or None), "%s")


@plants("aiomysql")
def with_aiomysql() -> None:
    import aiomysql

    through_mysql(aiomysql)


@plants("asyncmy")
def with_asyncmy() -> None:
    import asyncmy

    through_mysql(asyncmy)


def through_mysql(driver: object) -> None:
    """The same by an asynchronous driver."""

    async def act() -> None:
        connection = await driver.connect(**mysql(), db="bank", autocommit=True)
        async with connection.cursor() as cursor:
            for text, parameters in statements("%s"):
                with contextlib.suppress(Exception):
                    await cursor.execute(text, parameters or None)
        await connection.ensure_closed()

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MySQL's own, about a table that is not there
        asyncio.run(act())


def mysql() -> dict[str, object]:
    """Where the server is."""
    return {"host": "127.0.0.1", "port": int(os.environ["MARIADB"]), "user": "agents"}
