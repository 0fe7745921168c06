"""psycopg 3, sync and async: cursors, `transaction()`, implicit transactions, autocommit, executemany.

psycopg's protocol is a core of generators that its two shells drive; so are the hooks: `_execute_gen`
of the cursor sees every statement, `_exec_command` of the connection every command that psycopg
sends by itself (BEGIN, COMMIT, SAVEPOINT ...), whichever shell waits for them. All of a result is there when the
statement returns, but what the program knows are the rows that it fetches: each passes the cursor's row maker, where
it is seen before a row factory makes something else of it.

They are wrapped on the classes, so connections that exist already are seen too. `transaction_status` of the
connection says what is really open.

Rows of server-side cursors, of `stream()` and of `COPY .. TO STDOUT` pass no hook: what they ask for is told, as
partial, and a later write from an older state is partial, too. Not recorded: what COPY writes (its transaction is). In
pipeline mode replies come later than the call: what is called there is partial.

Source: psycopg 3.2 and 3.3 (_cursor_base.py, _connection_base.py, transaction.py).
"""

import functools
from collections.abc import Callable, Iterable
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

__all__ = ["INTEGRATION", "database_of"]

LIBRARY: Final = "psycopg"
IDLE: Final = 0
"""libpq's transaction status outside a transaction."""
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap the core's generators, if they are all there."""
    from psycopg._connection_base import BaseConnection
    from psycopg._cursor_base import BaseCursor

    named: Any = next(each for each in library.ServerCursor.__mro__ if "_declare_gen" in vars(each))  # moved in 3.3
    hooks: list[Hook] = [
        (BaseConnection, "_exec_command", _commanding),
        (BaseCursor, "_start_query", _starting),
        (BaseCursor, "_execute_gen", _executing),
        (BaseCursor, "_stream_send_gen", _looking),
        (BaseCursor, "_start_copy_gen", _looking),
        (named, "_declare_gen", _looking),
        (BaseCursor, "_close", _closing_cursor),
        (library.Cursor, "executemany", _batching),
        (library.AsyncCursor, "executemany", _abatching),
        (library.Connection, "close", _closing),
        (library.AsyncConnection, "close", _aclosing),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


class _Session(Session):
    """A connection.

    Attributes:
        pending: a statement that is called and not yet begun: the transaction that it begins comes first.
        style: of the placeholders that its plans are for now.
    """

    __slots__ = ("pending", "style")

    def __init__(self, connection: Any) -> None:
        self.style = ""
        self.pending: _Pending | None = None
        super().__init__(LIBRARY, _database(connection, "pyformat"))

    def speak(self, connection: Any, style: str) -> None:
        """Take plans for placeholders of `style`."""
        if style != self.style:
            self.style, self.database = style, _database(connection, style)


def _database(connection: Any, style: str) -> Database:
    info = connection.info
    host = info.host if info.get_parameters().get("host") else None  # else libpq's own default, a socket's folder
    return database_at(server_uri("postgresql", host, info.port, info.dbname), "postgresql", style, address(host))


def _known(connection: Any) -> _Session | None:
    session: _Session | None = connection.__dict__.get("_noclobber")
    return session


def _session(connection: Any) -> _Session:
    session = _known(connection)
    if session is None:
        session = connection._noclobber = _Session(connection)
    return session


def database_of(connection: Any) -> Database | None:
    """What `connection` talks to; None where it is not one that is recorded."""
    import psycopg

    return _session(connection).database if _wrapping and isinstance(connection, psycopg.Connection) else None


def _is_inside(connection: Any) -> bool | None:
    """Whether a transaction is open; None in a pipeline, where a batch is one that ends by itself."""
    return None if connection._pipeline else bool(connection.pgconn.transaction_status != IDLE)


# -- commands of psycopg itself ------------------------------------------------------------------------------------


def _commanding(original: Any) -> Any:
    def exec_command(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        steering = _steering(self, command)
        if steering is None:
            return (yield from original(self, command, *args, **kwargs))
        try:
            answer = yield from original(self, command, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                steering.fail(error)
            raise
        with GUARD:
            steering.returned()
        return answer

    return exec_command


def _steering(connection: Any, command: Any) -> Steering | None:
    with GUARD:
        session = _known(connection)
        ours = session is not None and session.transaction is not None
        active = recorder.active() if ours else recording()
        text = None if active is None or connection.closed else _text(connection, command)
        if active is None or text is None:
            return None
        return _session(connection).steer(active, text)
    return None


def _text(connection: Any, query: Any) -> str | None:
    """A query's text; None for what is none (a template)."""
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode(connection.info.encoding)
    as_string = getattr(query, "as_string", None)
    return None if as_string is None else as_string(connection)


# -- statements ----------------------------------------------------------------------------------------------------


class _Pending:
    """A statement of a cursor, from its call on; it begins when its transaction has."""

    __slots__ = ("_active", "_parameters", "_session", "_text", "run")

    def __init__(self, active: recorder.Recorder, session: _Session, text: str, parameters: Any) -> None:
        self._active, self._session, self._text, self._parameters = active, session, text, parameters
        self.run: DriverRun | Steering | None = None
        session.pending = self

    def start(self, connection: Any) -> None:
        """Its transaction is open now, if it is to have one."""
        self._session.pending = None
        parameters = () if self._parameters is None else self._parameters
        self.run = self._session.start(self._active, self._text, [parameters], inside=_is_inside(connection))

    def fail(self, error: BaseException) -> None:
        """It raised."""
        self._session.pending = None
        if self.run is not None:
            self.run.fail(error)

    def returned(self, cursor: Any) -> None:
        """It ran."""
        run = self.run
        if isinstance(run, DriverRun):
            _returned(cursor, run)
        elif run is not None:
            run.returned()
            if _is_inside(cursor._conn) is False:
                self._session.find_out(inside=False, ended=Op.COMMIT)  # several statements in one text

    def looked(self) -> None:
        """It ran; what it gives is not seen."""
        if isinstance(self.run, DriverRun):
            self.run.returned()
            self.run.is_partial()
            self.run.finish()
        elif self.run is not None:
            self.run.returned()


def _returned(cursor: Any, run: DriverRun) -> None:
    if cursor._conn._pipeline:
        run.returned()
        run.is_partial()
        run.finish()
        return
    run.returned(cursor.rowcount, None, lambda: [column.name for column in cursor.description or ()])
    if run.locks:
        answered = cursor.pgresult is not None and run.gives_rows and cursor.pgresult.get_value(0, 0)
        run.add([(answered in (b"t", b"\x01"),)] if run.gives_rows else ())
        run.finish()
        return
    rows = cursor.pgresult.ntuples if cursor.pgresult is not None and run.gives_rows else 0
    if not rows:
        run.finish()
        return
    run.listen()
    cursor._make_row = _Seeing(cursor._make_row, run, rows)


def _pending(cursor: Any, query: Any, parameters: Any, told: Callable[[str], str | None] = str) -> _Pending | None:
    """A statement that is called; `told`: what is to be told for its text, None for nothing."""
    with GUARD:
        active = recording()
        connection = cursor._conn
        text = None if active is None or connection.closed else _text(connection, query)
        text = None if text is None else told(text)
        if active is None or text is None:
            return None
        session = _session(connection)
        session.speak(connection, _style(cursor))
        return _Pending(active, session, text, parameters)
    return None


def _style(cursor: Any) -> str:
    kind: Any = type(cursor)
    return "numeric_dollar" if _is_raw(kind) else "pyformat"


@functools.lru_cache(256)
def _is_raw(kind: Any) -> bool:
    return any(each.__name__ == "RawCursorMixin" for each in kind.__mro__)


def _executing(original: Any) -> Any:
    def execute_gen(self: Any, query: Any, params: Any = None, *args: Any, **kwargs: Any) -> Any:
        pending = _pending(self, query, params)
        if pending is None:
            return (yield from original(self, query, params, *args, **kwargs))
        try:
            answer = yield from original(self, query, params, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                pending.fail(error)
            raise
        with GUARD:
            pending.returned(self)
        return answer

    return execute_gen


def _looking(original: Any) -> Any:
    """What gives rows that pass no hook: its author knows them, and nobody here does."""
    told: Callable[[str], str | None] = copied if original.__name__ == "_start_copy_gen" else str

    def look(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        pending = _pending(self, query, args[0] if args else kwargs.get("params"), told)
        if pending is None:
            return (yield from original(self, query, *args, **kwargs))
        try:
            answer = yield from original(self, query, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                pending.fail(error)
            raise
        with GUARD:
            pending.looked()
        return answer

    return look


def _starting(original: Any) -> Any:
    def start_query(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = yield from original(self, *args, **kwargs)
        with GUARD:
            session = _known(self._conn)
            if session is not None and session.pending is not None:
                session.pending.start(self._conn)
        return answer

    return start_query


def _batching(original: Any) -> Any:
    def executemany(self: Any, query: Any, params_seq: Any, *args: Any, **kwargs: Any) -> Any:
        batch = _batch(self, query, params_seq)
        if batch is None:
            return original(self, query, params_seq, *args, **kwargs)
        try:
            answer = original(self, query, batch, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                batch.fail(error)
            raise
        _batch_returned(self, batch)
        return answer

    return executemany


def _abatching(original: Any) -> Any:
    async def executemany(self: Any, query: Any, params_seq: Any, *args: Any, **kwargs: Any) -> Any:
        batch = _batch(self, query, params_seq)
        if batch is None:
            return await original(self, query, params_seq, *args, **kwargs)
        try:
            answer = await original(self, query, batch, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                batch.fail(error)
            raise
        _batch_returned(self, batch)
        return answer

    return executemany


def _batch_returned(cursor: Any, batch: Batch) -> None:
    with GUARD:
        later = cursor._conn._pipeline  # psycopg's own pipeline for a batch is over by now
        batch.returned(-1 if later else cursor.rowcount, partial=bool(later))


def _batch(cursor: Any, query: Any, parameters: Iterable[Any]) -> Batch | None:
    with GUARD:
        active = recording()
        connection = cursor._conn
        text = None if active is None or connection.closed else _text(connection, query)
        if active is None or text is None or not hasattr(parameters, "__iter__"):
            return None
        session = _session(connection)
        session.speak(connection, _style(cursor))
        return Batch(active, session, text, parameters, inside=_is_inside(connection))
    return None


# -- rows ----------------------------------------------------------------------------------------------------------


class _Seeing:
    """A cursor's row maker, which sees each row that the program fetches."""

    __slots__ = ("_left", "_make", "run")

    def __init__(self, make: Any, run: DriverRun, rows: int) -> None:
        self._make, self.run, self._left = make, run, rows

    def __call__(self, values: Any) -> Any:
        row = self._make(values)
        if self._left:
            with GUARD:
                self._see(values)
        return row

    def _see(self, values: Any) -> None:
        self._left -= 1
        self.run.add((values,))
        if not self._left:
            self.run.finish()


def _closing_cursor(original: Any) -> Any:
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        with GUARD:
            seeing = getattr(self, "_make_row", None)
            if isinstance(seeing, _Seeing):
                seeing.run.finish(complete=False)
        return original(self, *args, **kwargs)

    return close


# -- connections ---------------------------------------------------------------------------------------------------


def _closing(original: Any) -> Any:
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        _let_go(self)
        return original(self, *args, **kwargs)

    return close


def _aclosing(original: Any) -> Any:
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        _let_go(self)
        return await original(self, *args, **kwargs)

    return close


def _let_go(connection: Any) -> None:
    """The server takes back what is open when its connection closes."""
    with GUARD:
        session = _known(connection)
        active = recorder.active()
        if session is None or active is None:
            return
        session.settle()
        if session.transaction is not None:
            Steering(active, session, Control(ControlVerb.ROLLBACK)).returned()
        session.locks.close(active, LIBRARY)


INTEGRATION: Final = Integration("psycopg", install, uninstall)
