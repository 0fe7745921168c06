"""Exact mode for SQL: what stands in a row, asked inside the open transaction just before the row is written.

PostgreSQL: `SELECT .. FOR UPDATE` of the rows that the write names, under a savepoint of its own. The row is locked a
moment sooner than the write would lock it, so nothing can come between; whatever fails is taken back to the
savepoint and the write goes on as if nothing had been asked. (`RETURNING old.*` would save the round trip, but the
statement, its cursor and its result would have to be changed under SQLAlchemy's hands, and it needs version 18.)

SQLite: a SELECT inside a write transaction. Where the driver would begin with the write itself, `BEGIN IMMEDIATE` is
sent instead: the same lock a moment sooner. A transaction that was begun by hand and has not written yet is left
alone, since a read in it could make its write fail.

Statements outside a transaction, without known keys, or with many parameter sets stay plain.

Source: capture.md, section 2.2; PostgreSQL 18, 13.3.2; SQLite, "BEGIN IMMEDIATE".
"""

import fnmatch
from collections.abc import Sequence
from typing import Any, Final

from noclobber.guard import GUARD
from noclobber.recorder import Recorder
from noclobber.stores.sql_plan import Plan, SetKind, Verb
from noclobber.stores.sql_statement import Statement, key_name
from noclobber.stores.sql_values import kept_row

__all__ = ["replaced_rows"]

KEYS_MAX: Final = 64
"""Rows of one statement that are asked for; statements with more stay plain."""
SAVEPOINT: Final = "noclobber_exact"
Rows = dict[str, dict[str, Any]]


def replaced_rows(active: Recorder, connection: Any, statement: Statement) -> Rows | None:
    """What stands in the rows that `statement` is about to write, by key as text; None where it was not asked.

    Args:
        active: its settings and declarations say which rows may be asked for.
        connection: SQLAlchemy's.
        statement: as it will run.
    """
    transaction = statement.transaction
    if transaction is None or transaction.failed or statement.plan.verb is Verb.SELECT:
        return None
    keys = _keys(statement)
    columns = _columns(statement.plan)
    if not keys or not columns or not any(_wanted(active, statement.row(key)) for key in keys):
        return None
    ask = {"postgresql": _from_postgresql, "sqlite": _from_sqlite}.get(statement.system)
    with GUARD:
        return None if ask is None else ask(connection, statement, columns, keys)
    return None


def _keys(statement: Statement) -> list[tuple[Any, ...]]:
    plan = statement.plan
    if not plan.known or len(statement.parameters) != 1:
        return []
    parameters = statement.parameters[0]
    found: list[tuple[Any, ...]] = []
    if plan.verb in (Verb.UPDATE, Verb.DELETE):
        found = list(plan.keys_of(parameters) or ())
    elif plan.verb is Verb.INSERT and plan.upserts:
        for row in plan.insert_rows:
            cells = dict(zip(plan.insert_columns, row, strict=False))
            key = [cells.get(column) for column in plan.table.key]
            found += [tuple(cell.of(parameters) for cell in key if cell is not None)] if None not in key else []
    return [] if len(found) > KEYS_MAX or any(None in key for key in found) else found


def _columns(plan: Plan) -> tuple[str, ...]:
    """What to ask to know the version that is replaced: key, version, and the columns that get values."""
    table = plan.table
    given = [each.column for each in plan.sets if each.kind in (SetKind.VALUE, SetKind.EXCLUDED)]
    if plan.verb is Verb.DELETE or (plan.verb is Verb.INSERT and not plan.sets):
        given = list(table.columns or ())
    if not table.key or not given:
        return ()
    return tuple(dict.fromkeys([*table.key, *([table.version] if table.version else []), *given]))


def _wanted(active: Recorder, row: str) -> bool:
    patterns = active.settings.exact
    return (
        "*" in patterns
        or any(fnmatch.fnmatchcase(row, pattern) for pattern in patterns)
        or active.declarations.wants_exact(row)
    )


def _question(statement: Statement, columns: Sequence[str], keys: Sequence[tuple[Any, ...]], style: str) -> Any:
    """The SELECT that asks, and its parameters, in the driver's style."""
    table = statement.plan.table
    values = [value for key in keys for value in key]
    marks = [_mark(style, number) for number in range(len(values))]
    width = len(table.key)
    rows = [marks[at : at + width] for at in range(0, len(marks), width)]
    named = " OR ".join(
        "(" + " AND ".join(f"{_quoted(column)} = {mark}" for column, mark in zip(table.key, row, strict=True)) + ")"
        for row in rows
    )
    name = ".".join(map(_quoted, table.name.split(".")))
    text = f"SELECT {', '.join(map(_quoted, columns))} FROM {name} WHERE {named}"  # noqa: S608  quoted names, no values
    return text, {f"n{at}": value for at, value in enumerate(values)} if style == "pyformat" else tuple(values)


def _mark(style: str, number: int) -> str:
    return {"pyformat": f"%(n{number})s", "numeric_dollar": f"${number + 1}", "format": "%s"}.get(style, "?")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _ask(cursor: Any, statement: Statement, columns: Sequence[str], text: str, values: Any) -> Rows:
    cursor.execute(text, values)
    table = statement.plan.table
    found: Rows = {}
    for row in cursor.fetchall():
        known = dict(zip(columns, kept_row(row), strict=True))
        found[key_name(table, [known[column] for column in table.key])] = known
    return found


def _from_postgresql(
    connection: Any, statement: Statement, columns: Sequence[str], keys: Sequence[tuple[Any, ...]]
) -> Rows | None:
    text, values = _question(statement, columns, keys, connection.dialect.paramstyle)
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SAVEPOINT {SAVEPOINT}")
        try:
            found = _ask(cursor, statement, columns, f"{text} FOR UPDATE", values)
        except Exception:  # the plain write decides by itself what comes of this
            cursor.execute(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            found = None
        cursor.execute(f"RELEASE SAVEPOINT {SAVEPOINT}")
    finally:
        cursor.close()
    return found


def _from_sqlite(
    connection: Any, statement: Statement, columns: Sequence[str], keys: Sequence[tuple[Any, ...]]
) -> Rows | None:
    raw = connection.connection.driver_connection
    cursor = connection.connection.cursor()
    try:
        if not raw.in_transaction:
            if raw.isolation_level is None:
                return None
            cursor.execute("BEGIN IMMEDIATE")
        elif statement.transaction is None or not statement.transaction.wrote:
            return None
        return _ask(cursor, statement, columns, *_question(statement, columns, keys, "qmark"))
    except Exception as error:
        if "locked" in str(error) or "busy" in str(error):  # the plain write will wait for its turn
            return None
        raise
    finally:
        cursor.close()
