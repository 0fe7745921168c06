"""sqlite3, the driver in Python's standard library: its `connect`, which makes connections that are recorded.

Its classes are C's and can't be patched, so `sqlite3.connect` is: a connection that it makes is of a subclass
(`sqlite3_connections`, imported with the first connection: many programs import sqlite3 and never use it). A
program's own subclass stays above ours, so that its overrides see what they always saw. aiosqlite runs sqlite3 in a
thread (`noclobber.stores.aiosqlite`).

Not reached: `connect` imported by name before `noclobber`, connections made before it, `sqlite3.Connection(..)`
called directly, factories that are no classes. What blobs, backups and `serialize` give is not seen, and told as
partial reads; what is written by a blob is not recorded.
"""

import functools
import sqlite3
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping

if TYPE_CHECKING:
    from noclobber.stores.sql_database import Database

__all__ = ["INTEGRATION", "LIBRARY", "WRAPPING", "database_of"]

LIBRARY: Final = "sqlite3"
WRAPPING: Final = Wrapping(LIBRARY)
"""What is wrapped; false while connections are not to be recorded."""
FACTORY_AT: Final = 4
"""Position of `factory` among connect's arguments after the database."""


def install(library: ModuleType) -> None:
    """Wrap `connect`, under both names that it has."""
    from sqlite3 import dbapi2

    connect = functools.wraps(dbapi2.connect)(_connecting(dbapi2.connect))
    WRAPPING.wrap([(module, "connect", lambda _: connect) for module in (library, dbapi2)])


def uninstall() -> None:
    """Put back what was there; connections that were made go on without being recorded."""
    WRAPPING.restore()


def database_of(connection: Any) -> "Database | None":
    """What `connection` talks to; None where it is not one that is recorded."""
    from noclobber.stores import sqlite3_connections as connections

    return connections.database_of(connection) if isinstance(connection, connections.RecordedConnection) else None


def _connecting(original: Any) -> Any:
    def connect(database: Any, *args: Any, **kwargs: Any) -> Any:
        if not WRAPPING:
            return original(database, *args, **kwargs)
        with GUARD:
            args, kwargs = _with_factory(args, kwargs)
        connection = original(database, *args, **kwargs)
        with GUARD:
            _name(connection, database)
        return connection

    return connect


def _with_factory(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    from noclobber.stores import sqlite3_connections as connections

    if len(args) > FACTORY_AT:
        factory = connections.recorded_connection(args[FACTORY_AT])
        return (*args[:FACTORY_AT], factory, *args[FACTORY_AT + 1 :]), kwargs
    return args, {**kwargs, "factory": connections.recorded_connection(kwargs.get("factory", sqlite3.Connection))}


def _name(connection: Any, database: Any) -> None:
    from noclobber.stores import sqlite3_connections as connections

    if isinstance(connection, connections.RecordedConnection):
        connection._noclobber_uri = connections.uri_of(database)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
