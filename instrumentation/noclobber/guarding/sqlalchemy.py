"""SQLAlchemy's ORM: an UPDATE or DELETE of a guarded row asks for the values that its object was loaded with.

Each column that was loaded is compared in the statement's own WHERE, so an object whose row has changed since finds no
row. The row is then looked at: if it is not what was loaded, or gone, `StaleWrite` is raised, and the flush is rolled
back as SQLAlchemy does after any error; a comparison that the database judges otherwise than Python is told as
`Unguardable` and never as stale. What an object was loaded with is known to its session, so it may have been loaded
before the block. Guarded objects are flushed one by one, as a mapper's `batch=False` does, since not every driver
counts the rows of many. Classes that have a `version_id_col` guard themselves and are left alone.

What no flush sends (Core's `update()`, bulk statements, text) names no object: where it may change a table in which
rows are guarded it is refused before it is sent. Async sessions and engines pass the same way. Statements of drivers
beside SQLAlchemy are not seen, which is why it must be asked for by name.

Source: SQLAlchemy's documentation, `Mapper.batch`, `version_id_col`; PostgreSQL 18, 13.2.1 (an UPDATE that waited
for a row looks at its WHERE again); capture.md, section 2.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber.guard import GUARD
from noclobber.guarding.blocks import Unguardable, guards, guards_in, memory_of, stale, wrote
from noclobber.guarding.sqlalchemy_kinds import is_exact
from noclobber.guarding.sqlalchemy_texts import changed_tables
from noclobber.resources import quoted
from noclobber.stores.sql_statement import key_name
from noclobber.stores.sql_tables import Table
from noclobber.stores.sqlalchemy_place import database_of, table_name
from noclobber.stores.wrapping import Wrapping

__all__ = ["install", "uninstall"]

MARK: Final = "noclobber_was_"
ADVICE: Final = "Give its class a version_id_col, or write it outside of the guard"
_wrapping = Wrapping("sqlalchemy guard")
_row: ContextVar["_Row | None"] = ContextVar("noclobber-flushed-row", default=None)
_passing: ContextVar[bool] = ContextVar("noclobber-flush-passes", default=False)
_flushed: "WeakKeyDictionary[Any, list[str]]" = WeakKeyDictionary()
"""Session -> what its open transaction has flushed."""


@dataclass(slots=True)
class _Row:
    """One object that is being flushed.

    Attributes:
        mapper: of its class. key: its primary key, as loaded.
        resource: its row; empty where it is no single table's.
        was: what each column was loaded with; empty where nothing is compared.
        why_not: why it can't be guarded, raised if a statement is sent for it; None where it can, or needs not.
    """

    mapper: Any
    key: tuple[Any, ...]
    resource: str = ""
    was: dict[Any, Any] = field(default_factory=dict)
    why_not: str | None = None


def install() -> None:
    """Put the guard around flushes and statements.

    Raises:
        Unguardable: a version of the library that is not known.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session, persistence

    prefix = "_" if hasattr(persistence, "_save_obj") else ""
    _wrapping.wrap(
        [
            (persistence, f"{prefix}save_obj", functools.partial(_flushing, deletes=False)),
            (persistence, f"{prefix}delete_obj", functools.partial(_flushing, deletes=True)),
            (Connection, "_execute_clauseelement", _conditional),
            (Connection, "_execute_context", _refusing),
        ]
    )
    if not _wrapping:
        raise Unguardable("noclobber can't guard SQL: it does not know this version of SQLAlchemy")
    event.listen(Session, "after_commit", _committed)
    event.listen(Session, "after_soft_rollback", _rolled_back)


def uninstall() -> None:
    """Take it off again."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    event.remove(Session, "after_commit", _committed)
    event.remove(Session, "after_soft_rollback", _rolled_back)
    _wrapping.restore()
    _flushed.clear()


# -- who wrote -----------------------------------------------------------------------------------------------------


def _note(session: Any, resources: Sequence[str]) -> None:
    with GUARD:
        _flushed.setdefault(session, []).extend(resources)


def _committed(session: Any) -> None:
    with GUARD:
        if session.in_nested_transaction():
            return  # a savepoint, which may still be taken back
        greenlet = sys.modules.get("greenlet")
        parent = None if greenlet is None else greenlet.getcurrent().parent  # where an async session was called
        for resource in _flushed.pop(session, ()):
            wrote(resource, None if parent is None else parent.gr_frame)


def _rolled_back(session: Any, _previous: Any) -> None:
    with GUARD:
        _flushed.pop(session, None)


# -- rows of a flush -----------------------------------------------------------------------------------------------


def _flushing(below: Callable[..., Any], *, deletes: bool) -> Any:
    def flush_objects(base_mapper: Any, states: Any, uowtransaction: Any, *more: Any, **named: Any) -> None:
        every = list(states)
        stored = [state for state in every if state.key is not None]
        if not stored:
            below(base_mapper, every, uowtransaction, *more, **named)
            return
        session = uowtransaction.session
        connections = {state: _connection(base_mapper, state, uowtransaction) for state in stored}
        if not any(guards(f"{database_of(each.engine).system}://") for each in connections.values()):
            resources: list[str] = []
            with GUARD:
                resources = [_resource(connections[state], state) for state in stored]
            below(base_mapper, every, uowtransaction, *more, **named)
            _note(session, resources)
            return
        fresh = [state for state in every if state.key is None]
        if fresh:
            below(base_mapper, fresh, uowtransaction, *more, **named)
        for state in sorted(stored, key=base_mapper._persistent_sortkey_fn):
            row = _row_of(connections[state], state, deletes=deletes)
            token = _row.set(row)
            try:
                below(base_mapper, [state], uowtransaction, *more, **named)
            finally:
                _row.reset(token)
            _note(session, [row.resource] if row.resource else ())

    return flush_objects


def _connection(base_mapper: Any, state: Any, uowtransaction: Any) -> Any:
    choose = uowtransaction.session.connection_callable
    return choose(base_mapper, state.obj()) if choose else uowtransaction.transaction.connection(base_mapper)


def _resource(connection: Any, state: Any) -> str:
    """The name of an object's row, as spans have it."""
    mapper, database = state.manager.mapper, database_of(connection.engine)
    table = mapper.local_table
    names = tuple(database.planner.fold(column.name, quoted=True) for column in mapper.primary_key)
    known = Table(table_name(database, table), names)
    return f"{database.uri}/{quoted(known.name)}/{key_name(known, state.key[1])}"


def _row_of(connection: Any, state: Any, *, deletes: bool) -> _Row:
    mapper, database = state.manager.mapper, database_of(connection.engine)
    tables = mapper.tables
    row = _Row(mapper, tuple(state.key[1]))
    if len(tables) != 1 or mapper.local_table is not tables[0]:
        containers = [f"{database.uri}/{quoted(table_name(database, table))}/" for table in tables]
        if mapper.version_id_col is None and any(map(guards_in, containers)):
            row.resource, row.why_not = " and ".join(containers), "its class is spread over several tables"
        return row
    row.resource = _resource(connection, state)
    memory = memory_of(row.resource)
    if memory is not None and mapper.version_id_col is None:
        row.was, row.why_not = _compared(state, mapper, connection.dialect, deletes=deletes)
        if not row.was and row.why_not is None and memory.strict:
            row.why_not = "none of its columns was loaded that could be compared"
    return row


def _compared(state: Any, mapper: Any, dialect: Any, *, deletes: bool) -> tuple[dict[Any, Any], str | None]:
    """What each column was loaded with, and why that is not enough."""
    if not dialect.supports_sane_rowcount:
        return {}, "its driver does not count changed rows"
    was: dict[Any, Any] = {}
    for key, column, before in _loaded(state, mapper):
        if is_exact(before, column.type, dialect.name):
            was[column] = before
        elif deletes or _changes(state, key, before):
            return {}, f"what `{column.name}` was, which it replaces, can't be compared ({column.type!r})"
    return was, None


def _loaded(state: Any, mapper: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each column of the object's own that was loaded: its attribute, itself, and what it was."""
    from sqlalchemy.orm.base import NO_VALUE

    for attribute in mapper.column_attrs:
        key, column = attribute.key, attribute.columns[0]
        if getattr(column, "table", None) is not mapper.local_table or column.primary_key:
            continue
        before = state.committed_state.get(key, state.dict.get(key, NO_VALUE))
        if not isinstance(before, type(NO_VALUE)):
            yield key, column, before


def _changes(state: Any, key: str, before: Any) -> bool:
    """Whether the flush replaces what a column was."""
    return key in state.committed_state and state.manager[key].impl.is_equal(state.dict.get(key), before) is not True


# -- statements ----------------------------------------------------------------------------------------------------


def _conditional(below: Callable[..., Any]) -> Any:
    def execute(self: Any, elem: Any, distilled_parameters: Any, execution_options: Any) -> Any:
        row = _row.get()
        if row is None or not _is_of(row, elem, distilled_parameters):
            return below(self, elem, distilled_parameters, execution_options)
        if row.why_not is not None:
            raise Unguardable(f"{row.resource} can't be guarded: {row.why_not}. {ADVICE}")
        token = _passing.set(True)
        try:
            result = below(self, _with_conditions(elem, row), distilled_parameters, execution_options)
        finally:
            _passing.reset(token)
        if row.was and result.rowcount != 1:
            _judge(self, row)
        return result

    return execute


def _is_of(row: _Row, statement: Any, parameters: Sequence[Any]) -> bool:
    """Whether this is the ORM's statement for the row: it binds the key by labels that it makes for that."""
    from sqlalchemy.sql import Delete, Update

    if not isinstance(statement, Update | Delete) or len(parameters) != 1:
        return False
    table: Any = statement.table
    if table not in row.mapper.tables:
        return False
    columns = [each for each in row.mapper.primary_key if each.table is table] or list(table.primary_key)
    names = [each._label if isinstance(statement, Update) else each.key for each in columns]
    return tuple(parameters[0].get(name, MARK) for name in names) == row.key


def _with_conditions(statement: Any, row: _Row) -> Any:
    from sqlalchemy import bindparam

    for number, (column, before) in enumerate(row.was.items()):
        bound = bindparam(f"{MARK}{number}", before, type_=column.type)
        statement = statement.where(column.is_(None) if before is None else column == bound)
    return statement


def _judge(connection: Any, row: _Row) -> None:
    """The row was not changed: raise why.

    Raises:
        StaleWrite: it is not what it was. Unguardable: it is.
    """
    from sqlalchemy import select

    matches = [column == value for column, value in zip(row.mapper.primary_key, row.key, strict=True)]
    found = connection.execute(select(*row.was).where(*matches)).one_or_none()
    if found is not None and tuple(found) == tuple(row.was.values()):
        names = ", ".join(f"`{column.name}`" for column in row.was)
        raise Unguardable(
            f"{row.resource} is what was read, and yet its change with a condition found no row: the database compares "
            f"one of {names} otherwise, or keeps the row from this program. Nothing was written. {ADVICE}"
        )
    raise stale(row.resource, some_unseen=True)


def _refusing(below: Callable[..., Any]) -> Any:
    def execute_context(self: Any, dialect: Any, constructor: Any, statement: Any, *args: Any, **kwargs: Any) -> Any:
        if not _passing.get():
            _refuse(self, statement)
        return below(self, dialect, constructor, statement, *args, **kwargs)

    return execute_context


def _refuse(connection: Any, statement: Any) -> None:
    database = database_of(connection.engine)
    if not guards(f"{database.system}://"):
        return
    for name in changed_tables(str(statement)):
        for each in {name, name.lower()}:
            if guards_in(f"{database.uri}/{quoted(each)}/"):
                raise Unguardable(
                    f"a statement that may change rows of `{name}`, which are guarded, names no object that was read: "
                    "change them through objects of a session, or outside of the guard. Nothing was sent"
                )
