"""asyncpg: fetches, execute, executemany, prepared statements, `transaction()`, pools.

Every statement of a connection passes `_execute` (with arguments, or for its rows), `_executemany`, or `execute` with
a text alone, which is also how `transaction()` sends its BEGIN, SAVEPOINT and COMMIT; prepared statements pass one
method of their own. They are wrapped on the classes, where pools look them up too, so connections that exist already
are seen. asyncpg fetches before it returns: a read ends with its call.

A cursor gives rows of the moment at which it was opened, in portions: it is told once, when it is opened, as partial
unless its first portion is all. Rows of `copy_from_table`, `copy_from_query` and `fetchmany` pass no hook: what they
ask for is told, as partial. A later write from an older state is partial then, too. Not recorded: what COPY writes.

Source: asyncpg 0.30 to 0.32 (connection.py, prepared_stmt.py, transaction.py).
"""

import re
import weakref
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.stores.sql_database import Database, address, database_at, server_uri
from noclobber.stores.sql_session import Batch, DriverRun, Session, Steering, recording
from noclobber.stores.sql_text import Control, ControlVerb, copied
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "asyncpg"
FETCH: Final = "_PreparedStatement__bind_execute"
_COUNT: Final = re.compile(r"(\d+)\s*$")
_SOCKET: Final = re.compile(r"(.*)/\.s\.PGSQL\.(\d+)$")
_wrapping = Wrapping(LIBRARY)
_sessions: "weakref.WeakKeyDictionary[Any, Session]" = weakref.WeakKeyDictionary()


def install(library: ModuleType) -> None:
    """Wrap connections and prepared statements, if they are as they are known."""
    from asyncpg.cursor import BaseCursor
    from asyncpg.prepared_stmt import PreparedStatement

    connection = library.Connection
    hooks: list[Hook] = [
        (connection, "execute", _executing_text),
        (connection, "_execute", _executing),
        (connection, "_executemany", _batching),
        (connection, "_copy_out", _copying),
        (connection, "close", _aclosing),
        (connection, "terminate", _closing),
        (PreparedStatement, FETCH, _fetching),
        (PreparedStatement, "executemany", _batching_prepared),
        (PreparedStatement, "fetchmany", _batching_prepared),
        (BaseCursor, "_bind", _opening),
        (BaseCursor, "_bind_exec", _opening),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _session(connection: Any) -> Session:
    connection = getattr(connection, "_con", None) or connection  # a pool's proxy
    session = _sessions.get(connection)
    if session is None:
        session = _sessions[connection] = Session(LIBRARY, _database(connection))
    return session


def _database(connection: Any) -> Database:
    where, name = connection._addr, connection._params.database or connection._params.user
    socket = _SOCKET.match(where) if isinstance(where, str) else None
    host, port = (socket[1], int(socket[2])) if socket else (where[0], int(where[1]))
    return database_at(server_uri("postgresql", host, port, name), "postgresql", "numeric_dollar", address(host))


# -- one statement -------------------------------------------------------------------------------------------------


def _start(connection: Any, query: Any, parameters: Sequence[Any]) -> DriverRun | Steering | None:
    with GUARD:
        active = recording()
        if active is None or not isinstance(query, str):
            return None
        inside = connection._protocol.is_in_transaction()
        return _session(connection).start(active, query, (parameters,), inside=inside)
    return None


async def _recorded(
    run: DriverRun | Steering, connection: Any, answer: Awaitable[Any], returned: Callable[[DriverRun, Any], None]
) -> Any:
    """Wait for `answer`, and tell `run` how it ended."""
    try:
        result = await answer
    except BaseException as error:
        with GUARD:
            run.fail(error)
        raise
    with GUARD:
        if isinstance(run, DriverRun):
            returned(run, result)
        else:
            run.returned()
            if not connection._protocol.is_in_transaction():
                _session(connection).find_out(inside=False, ended=Op.COMMIT)  # several statements in one text
    return result


def _executing_text(original: Any) -> Any:
    async def execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        run = None if args else _start(self, query, ())  # with arguments it goes on to `_execute`
        if run is None:
            return await original(self, query, *args, **kwargs)
        return await _recorded(run, self, original(self, query, *args, **kwargs), _changed)

    return execute


def _changed(run: DriverRun, status: Any) -> None:
    """A text alone returns the status of its last statement, and no rows."""
    run.returned(_count(status))
    if run.gives_rows:
        run.is_partial()
    run.finish()


def _count(status: Any) -> int:
    text = status.decode() if isinstance(status, bytes) else str(status or "")
    found = _COUNT.search(text)
    return int(found[1]) if found else -1


def _executing(original: Any) -> Any:
    async def execute(self: Any, query: Any, args: Any, limit: int, *rest: Any, **kwargs: Any) -> Any:
        run = _start(self, query, args)
        answer = original(self, query, args, limit, *rest, **kwargs)
        if run is None:
            return await answer

        def returned(run: DriverRun, result: Any) -> None:
            rows, status = (result[0], result[1]) if kwargs.get("return_status") else (result, None)
            _fetched(run, rows or (), limit, status)

        return await _recorded(run, self, answer, returned)

    return execute


def _fetched(run: DriverRun, rows: Sequence[Any], limit: int, status: Any) -> None:
    """All rows that the program gets are there; with a limit there may have been more."""
    run.returned(_count(status) if status else -1, None, rows[0].keys if rows else tuple)
    run.add([tuple(row) for row in rows])
    run.finish(complete=not limit or len(rows) < limit or run.has_all)


def _fetching(original: Any) -> Any:
    async def fetch(self: Any, args: Any, limit: int, *rest: Any) -> Any:
        run = _start(self._connection, self._query, args)
        answer = original(self, args, limit, *rest)
        if run is None:
            return await answer

        def returned(run: DriverRun, rows: Any) -> None:
            _fetched(run, rows or (), limit, self._last_status)

        return await _recorded(run, self._connection, answer, returned)

    return fetch


# -- looks ---------------------------------------------------------------------------------------------------------


def _opening(original: Any) -> Any:
    async def open_portal(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = _start(self._connection, self._query, self._args)
        answer = original(self, *args, **kwargs)
        if run is None:
            return await answer

        def returned(run: DriverRun, rows: Any) -> None:
            if self._exhausted:
                _fetched(run, rows, 0, None)
            else:
                _looked(run, rows)

        return await _recorded(run, self._connection, answer, returned)

    return open_portal


def _copying(original: Any) -> Any:
    async def copy_out(self: Any, copy_stmt: Any, *args: Any, **kwargs: Any) -> Any:
        query = copied(copy_stmt) if isinstance(copy_stmt, str) else None
        run = None if query is None else _start(self, query, ())
        answer = original(self, copy_stmt, *args, **kwargs)
        return await (answer if run is None else _recorded(run, self, answer, _looked))

    return copy_out


def _looked(run: DriverRun, _: Any) -> None:
    """Its author gets rows that nobody here sees."""
    run.returned()
    run.is_partial()
    run.finish()


# -- batches -------------------------------------------------------------------------------------------------------


def _batching(original: Any) -> Any:
    async def executemany(self: Any, query: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
        batch = _batch(self, query, args)
        if batch is None:
            return await original(self, query, args, *rest, **kwargs)
        return await _batched(batch, original(self, query, batch, *rest, **kwargs))

    return executemany


def _batching_prepared(original: Any) -> Any:
    async def executemany(self: Any, args: Any, **kwargs: Any) -> Any:
        batch = _batch(self._connection, self._query, args)
        if batch is None:
            return await original(self, args, **kwargs)
        return await _batched(batch, original(self, batch, **kwargs))

    return executemany


async def _batched(batch: Batch, answer: Awaitable[Any]) -> Any:
    try:
        result = await answer
    except BaseException as error:
        with GUARD:
            batch.fail(error)
        raise
    with GUARD:
        batch.returned(-1)
    return result


def _batch(connection: Any, query: Any, parameters: Any) -> Batch | None:
    with GUARD:
        active = recording()
        if active is None or not isinstance(query, str) or not hasattr(parameters, "__iter__"):
            return None
        inside = connection._protocol.is_in_transaction()
        return Batch(active, _session(connection), query, parameters, inside=inside)
    return None


# -- connections ---------------------------------------------------------------------------------------------------


def _aclosing(original: Any) -> Any:
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        _let_go(self)
        return await original(self, *args, **kwargs)

    return close


def _closing(original: Any) -> Any:
    def terminate(self: Any, *args: Any, **kwargs: Any) -> Any:
        _let_go(self)
        return original(self, *args, **kwargs)

    return terminate


def _let_go(connection: Any) -> None:
    """The server takes back what is open when its connection closes."""
    with GUARD:
        session, active = _sessions.get(connection), recorder.active()
        if session is not None and session.transaction is not None and active is not None:
            Steering(active, session, Control(ControlVerb.ROLLBACK)).returned()
        if session is not None:
            session.locks.close(active, LIBRARY)


INTEGRATION: Final = Integration("asyncpg", install, uninstall)
