"""Where a SQLAlchemy engine's rows live, what its tables are, and what isolation its transactions really have.

All of it is read from objects that are there already: the engine's URL, the dialect's and connection's settings,
`Table`s of the statements that pass, mappers. The one thing asked of a database is SQLite's `PRAGMA
read_uncommitted`, once a connection: it is answered inside the process, without touching the file.
"""

import os
import sys
from typing import Any, Final

from noclobber.contract import VersionKind
from noclobber.stores.sql_database import Database, address, server_uri, sqlite_uri
from noclobber.stores.sql_planner import Planner
from noclobber.stores.sql_tables import Catalogue, Table

__all__ = ["database_of", "isolation_of", "learn_tables", "table_name"]
_SYSTEMS: Final = {"cockroachdb": "postgresql", "mariadb": "mysql"}
"""What speaks another's language; one server has one name, whichever dialect reaches it."""


def database_of(engine: Any) -> Database:
    """The database of `engine`; worked out once, then kept on its dialect."""
    dialect = engine.dialect
    known: Database | None = dialect.__dict__.get("_noclobber_database")
    if known is None:
        name = _SYSTEMS.get(dialect.name, dialect.name)
        style = "mysql" if name == "mysql" else dialect.paramstyle
        schema = getattr(dialect, "default_schema_name", None)
        planner = Planner(name, style, Catalogue(), schema if name in ("postgresql", "mysql") else None)
        known = dialect._noclobber_database = Database(_uri(engine, name), name, planner, address(engine.url.host))
    return known


def _uri(engine: Any, name: str) -> str:
    url = engine.url
    if name == "sqlite":
        return sqlite_uri(str(url.database or ""), url.query.get("mode"))
    host, port = url.host or _first(url.query.get("host")), url.port or _number(_first(url.query.get("port")))
    if name == "mysql":
        host = _first(url.query.get("unix_socket")) or host
    if not host and name == "postgresql":
        host, port = os.environ.get("PGHOST"), port or _number(os.environ.get("PGPORT"))
    return server_uri(name, host, port, str(url.database or url.username or ""))


def _first(value: Any) -> str | None:
    text = value[0] if isinstance(value, tuple | list) and value else value
    return str(text).split(",")[0] if text else None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


# -- tables --------------------------------------------------------------------------------------------------------


def learn_tables(database: Database, compiled: Any) -> None:
    """Tell the database's catalogue of the tables in a compiled statement."""
    from sqlalchemy.sql import visitors

    found: dict[str, Any] = {}
    for column in getattr(compiled, "_result_columns", None) or ():
        for each in column[2] or ():
            table: Any = getattr(each, "table", None)
            if getattr(table, "__visit_name__", "") == "table":
                found[table.fullname] = table
    elements: Any = visitors.iterate(compiled.statement)
    for element in elements:
        if getattr(element, "__visit_name__", "") == "table":
            found[element.fullname] = element
    for table in found.values():
        _learn(database, table)


def table_name(database: Database, table: Any) -> str:
    """The name of a `Table`, as its rows' names have it."""
    planner = database.planner
    name = planner.fold(table.name, quoted=True)
    if table.schema and table.schema not in ("public", "main", planner.default_schema):
        name = f"{planner.fold(table.schema, quoted=True)}.{name}"
    return name


def _learn(database: Database, table: Any) -> None:
    planner = database.planner
    fold = planner.fold
    name = table_name(database, table)
    if name in database.described:
        return
    database.described.add(name)
    key = tuple(fold(column.name, quoted=True) for column in table.primary_key)
    columns = tuple(fold(column.name, quoted=True) for column in table.columns)
    version, kind = _version_column(table)
    planner.catalogue.learn(
        Table(name, key, columns, fold(version, quoted=True) if version else None, kind, guessed=False)
    )


def _version_column(table: Any) -> tuple[str | None, VersionKind]:
    """The column that a mapper counts this table's versions in, and how."""
    orm = sys.modules.get("sqlalchemy.orm.mapper")
    if orm is None:
        return None, VersionKind.COUNTER
    for registry in list(orm._all_registries()):
        for mapper in list(registry.mappers):
            column = mapper.version_id_col
            if column is not None and column.table.fullname == table.fullname:
                generator = mapper.version_id_generator
                counts = getattr(generator, "__module__", "") == "sqlalchemy.orm.mapper"
                return column.name, VersionKind.COUNTER if counts else VersionKind.ORDERED
    return None, VersionKind.COUNTER


# -- isolation -----------------------------------------------------------------------------------------------------


def isolation_of(connection: Any, database: Database) -> str | None:
    """The isolation level of the connection's next transaction, as the contract writes it; None where not known."""
    if database.system == "sqlite":
        return _sqlite_isolation(connection)
    dialect = connection.dialect
    level = connection._execution_options.get("isolation_level") or getattr(
        getattr(connection.connection, "dbapi_connection", None), "_noclobber_isolation", None
    )
    level = level or getattr(dialect, "_on_connect_isolation_level", None)
    level = level or getattr(dialect, "default_isolation_level", None)
    return None if level is None else str(level).lower().replace(" ", "_")


def _sqlite_isolation(connection: Any) -> str:
    """Drivers begin late (at the first write), so reads before it have no snapshot, whatever SQLite could do."""
    record = connection.connection.record_info
    known: str | None = record.get("noclobber_isolation")
    if known is None:
        cursor = connection.connection.cursor()
        try:
            cursor.execute("PRAGMA read_uncommitted")
            row = cursor.fetchone()
        finally:
            cursor.close()
        known = record["noclobber_isolation"] = "read_uncommitted" if row and row[0] else "read_committed"
    return known
