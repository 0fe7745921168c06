"""Django's ORM: which column is each model's key. What it does is told by the driver below it.

Django runs every statement through sqlite3's or psycopg's cursors, which are recorded as they are. What a driver cannot
tell is the key of a table that was made elsewhere; models say it. So each connection that Django makes, by Django's own
signal for that, teaches what is known of its database the keys of the models that Django manages. Columns are not
taken from models: a table may have more of them.

Not told: keys of models that Django does not manage, since such a key may name several rows of a view; models that are
defined after the first connection.

Source: django/db/backends/signals.py, django/db/models/options.py.
"""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD

if TYPE_CHECKING:
    from noclobber.stores.sql_database import Database
    from noclobber.stores.sql_tables import Table

__all__ = ["INTEGRATION"]

LIBRARY: Final = "django"
_DRIVERS: Final = ("noclobber.stores.sqlite3", "noclobber.stores.psycopg")
_UID: Final = "noclobber"
_TOLD: Final = "models of Django"
"""Mark among what a database was described by: connections are made for each request, and models stay the same."""


def install(library: ModuleType) -> None:
    """Listen for connections."""
    library.connection_created.connect(_connected, dispatch_uid=_UID, weak=False)


def uninstall() -> None:
    """Listen no more."""
    from django.db.backends.signals import connection_created

    connection_created.disconnect(dispatch_uid=_UID)


def _connected(connection: Any, **_: Any) -> None:
    with GUARD:
        database = _database(connection.connection)
        if database is None or _TOLD in database.described:
            return
        database.described.add(_TOLD)
        for table in _tables(database):
            database.planner.catalogue.learn(table)


def _database(connection: Any) -> "Database | None":
    """What a driver's connection talks to, None where that driver is not recorded.

    The drivers' modules are not imported here: importing them would import the drivers.
    """
    for name in _DRIVERS:
        driver = sys.modules.get(name)
        found: Database | None = driver.database_of(connection) if driver is not None else None
        if found is not None:
            return found
    return None


def _tables(database: "Database") -> "Iterator[Table]":
    from django.apps import apps

    from noclobber.stores.sql_tables import Table

    fold = database.planner.fold
    for model in [model for models in list(apps.all_models.values()) for model in list(models.values())]:
        meta = model._meta
        if meta.proxy or not meta.managed or {'"', "."} & {*meta.db_table}:
            continue  # names with dots or quotes are somebody's way to say a schema
        fields = getattr(meta, "pk_fields", None) or [meta.pk]  # several since Django 5.2
        key = tuple(fold(field.column, quoted=True) for field in fields if field is not None and field.column)
        if key:
            yield Table(fold(meta.db_table, quoted=True), key, guessed=False)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
