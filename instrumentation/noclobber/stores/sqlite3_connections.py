"""Connections and cursors of sqlite3 that are recorded: statements, implicit transactions, rows.

They are subclasses of sqlite3's own, with the same names, and stand below a program's own subclasses. A row is seen
as it is fetched; where a row factory makes something of it that does not show its columns any more, the read is
partial.

`Connection.in_transaction` says what is really open: the driver begins by itself before a write, and a statement
may end its transaction. A refused commit (others still read) leaves the transaction open and is no access.

Source: Python's `sqlite3` (transaction control); SQLite, "Isolation in SQLite".
"""

import functools
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from noclobber import recorder
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.stores.sql_database import Database, database_at, sqlite_uri
from noclobber.stores.sql_session import Batch, DriverRun, Session, Steering, recording
from noclobber.stores.sql_text import Control, ControlVerb
from noclobber.stores.sqlite3 import LIBRARY, WRAPPING

__all__ = ["RecordedConnection", "RecordedCursor", "database_of", "recorded_connection", "uri_of"]

SCRIPT_MAX: Final = 65_536
"""Longer scripts are not told; a script of many statements is a program's set-up."""
WRITE_WORDS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "REPLAC"})
EVERYTHING: Final = "CALL"
"""Planned as what may read any table."""
SCALARS: Final = (int, float, str, bytes, type(None))


def uri_of(database: Any) -> str:
    """URI of what `connect` was given."""
    return sqlite_uri(os.fsdecode(database))


def recorded_connection(factory: Any) -> Any:
    """The factory of connections to use instead of a program's `factory`."""
    return _below(factory, sqlite3.Connection, RecordedConnection)


@functools.lru_cache(256)
def _below(factory: Any, base: type, recorded: type) -> Any:
    """`factory` with `recorded` between it and `base`; as it is, where that is not possible."""
    if factory is base:
        return recorded
    if not isinstance(factory, type) or not issubclass(factory, base) or issubclass(factory, recorded):
        return factory
    make: Any = type(factory)  # its metaclass
    made = make(factory.__name__, (factory, recorded), {"__module__": factory.__module__})
    made.__qualname__ = factory.__qualname__
    return made


# -- connections ---------------------------------------------------------------------------------------------------


class RecordedConnection(sqlite3.Connection):
    """A connection whose statements are recorded."""

    _noclobber_uri: str | None = None
    _noclobber_session: Session | None = None

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor whose statements are recorded."""
        if WRAPPING:
            with GUARD:
                if args:
                    args = (_below(args[0], sqlite3.Cursor, RecordedCursor), *args[1:])
                else:
                    kwargs["factory"] = _below(kwargs.get("factory", sqlite3.Cursor), sqlite3.Cursor, RecordedCursor)
        return super().cursor(*args, **kwargs)

    def execute(self, *args: Any) -> Any:
        """As the cursor's."""
        return RecordedConnection.cursor(self).execute(*args)

    def executemany(self, *args: Any) -> Any:
        """As the cursor's."""
        return RecordedConnection.cursor(self).executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """As the cursor's."""
        return RecordedConnection.cursor(self).executescript(*args)

    def blobopen(self, *args: Any, **kwargs: Any) -> Any:
        """A value that is read piece by piece, unseen."""
        blob = super().blobopen(*args, **kwargs)
        with GUARD:
            table, column, row, *_ = (*args, None, None, None)
            _look(self, " ".join(("SELECT", _quoted(column), "FROM", _quoted(table), "WHERE rowid = ?")), (row,))
        return blob

    def backup(self, *args: Any, **kwargs: Any) -> None:
        """A copy of everything, which may be read where nobody sees it."""
        super().backup(*args, **kwargs)
        with GUARD:
            _look(self, EVERYTHING)

    def serialize(self, *args: Any, **kwargs: Any) -> bytes:
        """The bytes of everything."""
        data = super().serialize(*args, **kwargs)
        with GUARD:
            _look(self, EVERYTHING)
        return data

    def commit(self) -> None:
        """End the transaction."""
        self._end(ControlVerb.COMMIT, super().commit)

    def rollback(self) -> None:
        """Take the transaction back."""
        self._end(ControlVerb.ROLLBACK, super().rollback)

    def close(self) -> None:
        """Take back what is open, and close."""
        self._end(ControlVerb.ROLLBACK, super().close)

    def __exit__(self, *args: object) -> Any:
        verb = ControlVerb.COMMIT if args[:1] == (None,) else ControlVerb.ROLLBACK
        return self._end(verb, super().__exit__, *args)

    def _end(self, verb: ControlVerb, original: Any, *args: Any) -> Any:
        steering = _ending(self, verb)
        try:
            answer = original(*args)
        except BaseException as error:
            if steering is not None:
                _refused(self, steering, error)
            raise
        if steering is not None:
            with GUARD:
                steering.returned()
        return answer


def _session(connection: RecordedConnection) -> Session:
    session = connection._noclobber_session
    if session is None:
        uri = connection._noclobber_uri or sqlite_uri("")
        session = Session(LIBRARY, database_at(uri, "sqlite", "qmark"), "read_committed")
        connection._noclobber_session = session
    return session


def database_of(connection: RecordedConnection) -> Database:
    """What `connection` talks to."""
    return _session(connection).database


def _look(connection: RecordedConnection, text: str, parameters: tuple[Any, ...] = ()) -> None:
    """The rows of `text` reached the program where no hook sees them."""
    active = recording() if WRAPPING else None
    if active is None:
        return
    run = _session(connection).start(active, text, (parameters,), inside=_is_inside(connection) or None)
    if isinstance(run, DriverRun):
        run.returned()
        run.is_partial()
        run.finish()


def _quoted(name: Any) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def _ending(connection: RecordedConnection, verb: ControlVerb) -> Steering | None:
    with GUARD:
        session = connection._noclobber_session
        active = recorder.active() if WRAPPING else None
        if session is None or active is None:
            return None
        session.settle()
        if session.transaction is None:
            return None
        if not _is_inside(connection):
            session.find_out(inside=False)
            return None
        return Steering(active, session, Control(verb))
    return None


def _refused(connection: RecordedConnection, steering: Steering, error: BaseException) -> None:
    with GUARD:
        if _is_inside(connection):
            steering.undo()
        else:
            steering.fail(error)


def _is_inside(connection: sqlite3.Connection) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.Error:  # closed, or another thread's
        return False


# -- cursors -------------------------------------------------------------------------------------------------------


class RecordedCursor(sqlite3.Cursor):
    """A cursor whose statements are recorded."""

    _noclobber_run: DriverRun | None = None

    def execute(self, *args: Any) -> Any:
        """Run a statement."""
        run = _start(self, *args)
        if run is None:
            return super().execute(*args)
        try:
            answer = super().execute(*args)
        except BaseException as error:
            _failed(self, run, error)
            raise
        _returned(self, run)
        return answer

    def executemany(self, *args: Any) -> Any:
        """Run a statement for each of several sets of parameters."""
        batch = _start_many(self, *args)
        if batch is None:
            return super().executemany(*args)
        try:
            answer = super().executemany(args[0], iter(batch))
        except BaseException as error:
            _failed(self, batch, error)
            raise
        with GUARD:
            batch.returned(self.rowcount)
            _find_out(self)
        return answer

    def executescript(self, *args: Any) -> Any:
        """Run several statements, after a commit."""
        runs = _start_script(self, *args)
        try:
            answer = super().executescript(*args)
        except BaseException as error:
            for run in runs:
                _failed(self, run, error, in_part=True)
            raise
        with GUARD:
            for run in runs:
                run.returned()
                if isinstance(run, DriverRun):
                    run.finish()
            if runs:
                _find_out(self)
        return answer

    def fetchone(self) -> Any:
        """The next row."""
        row = super().fetchone()
        if self._noclobber_run is not None:
            _got(self, () if row is None else (row,), last=row is None)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """Some rows."""
        rows = super().fetchmany(*args, **kwargs)
        if self._noclobber_run is not None:
            size = args[0] if args else kwargs.get("size", self.arraysize)
            _got(self, rows, last=len(rows) < size)
        return rows

    def fetchall(self) -> Any:
        """All rows that are left."""
        rows = super().fetchall()
        if self._noclobber_run is not None:
            _got(self, rows, last=True)
        return rows

    def __next__(self) -> Any:
        try:
            row = super().__next__()
        except StopIteration:
            if self._noclobber_run is not None:
                _got(self, (), last=True)
            raise
        if self._noclobber_run is not None:
            _got(self, (row,), last=False)
        return row

    def close(self) -> None:
        """Let go of what was not fetched."""
        super().close()
        _let_go(self)

    def __del__(self) -> None:
        _let_go(self)


def _prepared(cursor: RecordedCursor) -> tuple[recorder.Recorder, RecordedConnection, Session] | None:
    """What is needed to record a statement of `cursor`; None where nothing is to be recorded."""
    active = recording() if WRAPPING else None
    connection = cursor.connection
    if active is None or not isinstance(connection, RecordedConnection):
        return None
    return active, connection, _session(connection)


def _start(cursor: RecordedCursor, *args: Any) -> DriverRun | Steering | None:
    with GUARD:
        _let_go(cursor)
        prepared = _prepared(cursor)
        if prepared is None or not args or not isinstance(args[0], str):
            return None
        active, connection, session = prepared
        _begin(active, connection, session, args[0])
        run = session.start(active, args[0], args[1:2] or ((),), inside=_is_inside(connection) or None)
        if isinstance(run, DriverRun) and run.gives_rows:
            cursor._noclobber_run = run
        return run
    return None


def _begin(active: recorder.Recorder, connection: RecordedConnection, session: Session, text: str) -> None:
    """The driver begins by itself before a write, and so does SQLite with a savepoint."""
    if _is_inside(connection):
        return
    session.find_out(inside=False)
    word = text.lstrip()[:6].upper()
    if word in WRITE_WORDS and connection.isolation_level is not None:
        session.settle()
        Steering(active, session, Control(ControlVerb.BEGIN)).returned()
    elif word == "SAVEPO":
        Steering(active, session, Control(ControlVerb.BEGIN)).returned()
        _sees_one_state(session)


def _sees_one_state(session: Session) -> None:
    """A transaction that began before its first read reads one state all along."""
    if session.transaction is not None and session.transaction.isolation == "read_committed":
        session.transaction.isolation = "serializable"


def _start_many(cursor: RecordedCursor, *args: Any) -> Batch | None:
    with GUARD:
        _let_go(cursor)
        prepared = _prepared(cursor)
        if prepared is None or len(args) != 2 or not isinstance(args[0], str) or not hasattr(args[1], "__iter__"):
            return None
        active, connection, session = prepared
        _begin(active, connection, session, args[0])
        return Batch(active, session, args[0], args[1], inside=_is_inside(connection))
    return None


def _returned(cursor: RecordedCursor, run: DriverRun | Steering) -> None:
    with GUARD:
        if isinstance(run, DriverRun):
            run.returned(cursor.rowcount, cursor.lastrowid, lambda: [each[0] for each in cursor.description or ()])
            if run.gives_rows:
                run.listen()
            else:
                run.finish()
        else:
            run.returned()
            if run.begins:
                _sees_one_state(_session_of(cursor))
        _find_out(cursor, Op.COMMIT if isinstance(run, Steering) else Op.ABORT)


def _failed(
    cursor: RecordedCursor, run: DriverRun | Steering | Batch, error: BaseException, *, in_part: bool = False
) -> None:
    with GUARD:
        cursor._noclobber_run = None
        if isinstance(run, Steering) and run.ends and _is_inside(cursor.connection):
            run.undo()
        else:
            run.fail(error, in_part=in_part)
        _find_out(cursor)


def _find_out(cursor: RecordedCursor, ended: Op = Op.ABORT) -> None:
    """Whatever the statement was meant to do, the connection knows what is open now."""
    session = _session_of(cursor)
    inside = _is_inside(cursor.connection)
    if not inside or session.transaction is None:
        session.find_out(inside=inside, ended=ended)


def _session_of(cursor: RecordedCursor) -> Session:
    return _session(cursor.connection)  # type: ignore[arg-type]  # only a recorded connection's cursor has runs


def _start_script(cursor: RecordedCursor, *args: Any) -> list[DriverRun | Steering]:
    runs: list[DriverRun | Steering] = []
    with GUARD:
        _let_go(cursor)
        prepared = _prepared(cursor)
        if prepared is None or len(args) != 1 or not isinstance(args[0], str) or len(args[0]) > SCRIPT_MAX:
            return runs
        active, _, session = prepared
        if session.transaction is not None:
            Steering(active, session, Control(ControlVerb.COMMIT)).returned()
        for text in _statements(args[0]):
            run = session.start(active, text, ((),), inside=None)
            if isinstance(run, Steering):
                run.returned()
            elif run is not None:
                runs.append(run)
    return runs


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one, as far as they end."""
    text = ""
    for piece in script.split(";"):
        text += f"{piece};"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


# -- rows ----------------------------------------------------------------------------------------------------------


def _got(cursor: RecordedCursor, rows: Sequence[Any], *, last: bool) -> None:
    with GUARD:
        run = cursor._noclobber_run
        if run is None:
            return
        found = [_plain(row, cursor.description) for row in rows]
        run.add([row for row in found if row is not None])
        if None in found:
            run.is_partial()
        if last or run.has_all:
            cursor._noclobber_run = None
            run.finish()


def _plain(row: Any, description: Any) -> tuple[Any, ...] | None:
    """The columns of a row, whatever a row factory made of it; None where they do not show."""
    width = len(description or ())
    if isinstance(row, tuple | list | sqlite3.Row):
        return tuple(row) if len(row) == width else None
    if isinstance(row, Mapping):
        names = [each[0] for each in description or ()]
        return tuple(row[name] for name in names) if all(name in row for name in names) else None
    return (row,) if width == 1 and isinstance(row, SCALARS) else None


def _let_go(cursor: RecordedCursor) -> None:
    """Nobody will fetch what is left."""
    run = cursor._noclobber_run
    if run is not None:
        cursor._noclobber_run = None
        with GUARD:
            run.finish(complete=False)
