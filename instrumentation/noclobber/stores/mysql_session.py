"""A connection of a MySQL driver: where its rows live, and which transaction is really open.

PyMySQL, aiomysql and asyncmy keep the server's word of its status (`SERVER_STATUS_IN_TRANS`, `.._AUTOCOMMIT`) from
answers without rows, so what was seen is held against that: without autocommit the first statement on a table begins a
transaction, and a statement that changes a table's definition commits one. Rows and errors leave the status that they
keep as it was; a deadlock has taken the transaction back.

Which isolation holds is not known until a statement of this connection sets one: InnoDB's own default is REPEATABLE
READ, but a server may have another, and nobody asks it. Under REPEATABLE READ a plain read is of the transaction's
snapshot, while a locking read and a write see what is committed now: these two are told as `read_committed`, so that no
promise is read into them that InnoDB does not make (`sql_accesses`).

Source: MySQL 8.4 and MariaDB 10.11: "Consistent Nonlocking Reads", "Statements That Cause an Implicit Commit",
"InnoDB Error Handling"; PyMySQL 1.1 and 1.2, aiomysql 0.2 and 0.3, asyncmy 0.2.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from noclobber import recorder
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.stores.sql_database import Database, address, database_at, server_uri
from noclobber.stores.sql_plan import Verb
from noclobber.stores.sql_session import Batch, DriverRun, Session, Steering, recording
from noclobber.stores.sql_text import Control, ControlVerb

__all__ = [
    "MySession",
    "Running",
    "closing",
    "failing",
    "inserting",
    "known",
    "let_go",
    "querying",
    "starting",
    "steering",
]

IN_TRANSACTION: Final = 1
AUTOCOMMIT: Final = 2
"""Bits of the server's status."""
TAKEN_BACK: Final = frozenset({1213, 1020})
"""Errors after which the whole transaction is taken back: deadlock; MariaDB's `innodb_snapshot_isolation`."""
_LEVEL: Final = r"(READ[\s-]UNCOMMITTED|READ[\s-]COMMITTED|REPEATABLE[\s-]READ|SERIALIZABLE)"
_ISOLATION: Final = re.compile(
    rf"\s*SET\s+(?:(?P<session>SESSION|LOCAL)\s+)?TRANSACTION\s+ISOLATION\s+LEVEL\s+{_LEVEL}", re.IGNORECASE
)
_VARIABLE: Final = re.compile(
    rf"\s*SET\s+(?:SESSION\s+|LOCAL\s+|@@SESSION\.|@@LOCAL\.)?(?:tx|transaction)_isolation\s*:?=\s*['\"]?{_LEVEL}",
    re.IGNORECASE,
)
_USE: Final = re.compile(r"\s*USE\s+`?([^`;\s]+)`?", re.IGNORECASE)
_INSERTS: Final = re.compile(r"\s*(?:INSERT|REPLACE)\b.*\bVALUES?\s*\(", re.IGNORECASE | re.DOTALL)


class MySession(Session):
    """A connection.

    Attributes:
        name: of the database that bare names are looked up in, as the driver knows it.
        once: the isolation of the next transaction only.
        busy: whether a statement or a command is under way, whose end tells what becomes of the transaction.
        taken_back: whether an error has ended the transaction, so that the status that the driver knows is old.
        thread: the server's number of this connection.
    """

    __slots__ = ("busy", "name", "once", "taken_back", "thread")

    def __init__(self, library: str, connection: Any) -> None:
        self.name = _name(connection)
        self.once: str | None = None
        self.busy = self.taken_back = False
        self.thread = connection.server_thread_id
        super().__init__(library, _database(connection, self.name))

    def is_inside(self, connection: Any) -> bool:
        """Whether a transaction is open: one that was seen to begin, or as the server said last."""
        told = not self.taken_back and bool(connection.server_status & IN_TRANSACTION)
        return told or self.transaction is not None

    def follow(self, connection: Any) -> None:
        """The driver may have connected anew: the server knows nothing of what was before."""
        thread = connection.server_thread_id
        if thread != self.thread:
            self.settle()
            self.find_out(inside=False)
            self.locks.forget()
            self.thread, self.taken_back, self.once, self.isolation = thread, False, None, None

    def begin(self, active: recorder.Recorder, connection: Any, text: str) -> None:
        """The statement `text`, without its values, is called: what it does to the transaction comes first."""
        plan = self.database.planner.plan(text)
        inside = self.is_inside(connection)
        if plan.control is not None:
            if plan.control.verb is ControlVerb.BEGIN:
                self.find_out(inside=False, ended=Op.COMMIT)  # a BEGIN commits what is open
        elif not inside and plan.verb not in (Verb.NOTHING, Verb.LOCK) and not connection.server_status & AUTOCOMMIT:
            Steering(active, self, Control(ControlVerb.BEGIN)).returned()
            self._use_once()

    def returned(self, connection: Any, text: str, *, rows: bool) -> None:
        """A statement, or a command, ran: believe the server, unless it answered by rows; note what it has set."""
        self._use_once()
        level = _ISOLATION.match(text)
        variable = None if level is not None else _VARIABLE.match(text)
        if level is not None and level["session"] is None:
            self.once = _isolation(level[2])
        elif level is not None or variable is not None:
            self.isolation = _isolation(level[2] if level is not None else variable[1] if variable is not None else "")
        used = _USE.match(text)
        if used is not None:
            self.name = used[1]
            self.database = _database(connection, self.name)
        if rows:
            return
        self.taken_back = False
        if self.transaction is not None and not connection.server_status & IN_TRANSACTION:
            self.find_out(inside=False, ended=Op.COMMIT)

    def failed(self, error: BaseException, *, connected: bool, known: bool) -> None:
        """A statement raised: a deadlock has taken back everything, most errors only their statement.

        Args:
            error: what it raised.
            connected: whether the connection lives; the server takes back what was open on one that is lost.
            known: whether the statement is one that can't have committed anything itself.
        """
        if not connected:
            self.locks.forget()
            self.find_out(inside=False, ended=Op.ABORT if known else None)
        elif _code(error) in TAKEN_BACK:
            self.taken_back = True
            self.find_out(inside=False, ended=Op.ABORT)

    def _use_once(self) -> None:
        if self.transaction is not None and self.once is not None:
            self.transaction.isolation, self.once = self.once, None


def _isolation(level: str) -> str:
    return re.sub(r"[\s-]+", "_", level.lower())


def _code(error: BaseException) -> Any:
    return error.args[0] if error.args else None


def _is_open(connection: Any) -> bool:
    for name in ("open", "connected"):  # PyMySQL, asyncmy
        if hasattr(connection, name):
            return bool(getattr(connection, name))
    return not connection.closed


def _told(connection: Any, name: str) -> Any:
    """What a connection was made with; asyncmy keeps it under a private name."""
    return getattr(connection, name) if hasattr(connection, name) else getattr(connection, f"_{name}")


def _name(connection: Any) -> str:
    name = _told(connection, "db")
    return name.decode() if isinstance(name, bytes) else str(name or "")


def _database(connection: Any, name: str) -> Database:
    socket = _told(connection, "unix_socket")
    host = socket or _told(connection, "host")
    uri = server_uri("mysql", host, _told(connection, "port"), name)
    return database_at(uri, "mysql", "mysql", None if socket else address(host), schema=name)


def known(connection: Any) -> MySession | None:
    """What is known of `connection`, None where nothing of it was recorded."""
    session: MySession | None = connection.__dict__.get("_noclobber")
    if session is not None:
        session.follow(connection)
    return session


def _session(library: str, connection: Any) -> MySession:
    session = known(connection)
    if session is None:
        session = connection._noclobber = MySession(library, connection)
    return session


class Running:
    """A statement, or a command, of a connection under way."""

    __slots__ = ("_connection", "_run", "_session", "_text")

    def __init__(self, session: MySession, connection: Any, text: str, run: Any) -> None:
        self._session, self._connection, self._text, self._run = session, connection, text, run
        session.busy = True

    def fail(self, error: BaseException) -> None:
        """It raised."""
        if self._run is not None:
            self._run.fail(error)
        self._session.busy = False
        self._session.failed(
            error, connected=_is_open(self._connection), known=isinstance(self._run, DriverRun | Batch)
        )

    def returned(self, rowcount: int = -1, inserted: Any = None, result: Any = None) -> None:
        """It ran; `result`: the driver's, which has all rows unless it fetches them one by one."""
        run, self._session.busy = self._run, False
        if isinstance(run, DriverRun):
            description = getattr(result, "description", None) or ()
            run.returned(rowcount, inserted, lambda: [column[0] for column in description])
            found = getattr(result, "rows", None)
            if run.gives_rows and found is None and description:
                run.is_partial()
            run.add(found or () if run.gives_rows else ())
            run.finish()
        elif isinstance(run, Batch):
            run.returned(rowcount)
        elif run is not None:
            run.returned()
        rows = bool(getattr(result, "description", None))
        self._session.returned(self._connection, self._text, rows=rows)


@contextlib.contextmanager
def failing(running: Running) -> Iterator[None]:
    """The driver's own call: what it raises is noted, and goes on to the program."""
    try:
        yield
    except BaseException as error:
        with GUARD:
            running.fail(error)
        raise


def starting(library: str, connection: Any, query: Any, parameters: Any) -> Running | None:
    """A statement is called; None where it is not to be recorded."""
    active = recording()
    if active is None or connection is None or not isinstance(query, str) or not _name(connection):
        return None
    session = _session(library, connection)
    session.begin(active, connection, query)
    inside = session.is_inside(connection)
    run = session.start(active, query, [_kept(parameters)], inside=inside)
    return Running(session, connection, query, run)


def querying(library: str, connection: Any, query: Any) -> Running | None:
    """A text is given to the connection itself; None inside a cursor's call, or where it is not to be recorded."""
    session = known(connection)
    if session is not None and session.busy:
        return None
    return starting(library, connection, query.decode() if isinstance(query, bytes) else query, None)


def _kept(parameters: Any) -> Any:
    """What placeholders ask: a single value stands for a sequence of one."""
    if parameters is None:
        return ()
    return parameters if isinstance(parameters, list | tuple | dict) else (parameters,)


def inserting(
    library: str, connection: Any, query: Any, parameters: Any, *, whole: bool = False
) -> tuple[Running, Iterable[Any]] | None:
    """Many sets go to the server at once, as rows of one text or `whole`; None where they run one by one."""
    active = recording()
    if active is None or connection is None or not isinstance(query, str) or not parameters or not _name(connection):
        return None
    if not whole and _INSERTS.match(query) is None:
        return None
    session = _session(library, connection)
    session.begin(active, connection, query)
    inside = session.is_inside(connection)
    batch = Batch(active, session, query, parameters, inside=inside)
    return Running(session, connection, query, batch), batch


def steering(library: str, connection: Any, text: str) -> Running | None:
    """The driver sends a command by itself: BEGIN, COMMIT, ROLLBACK, a change of autocommit."""
    session = known(connection)
    ours = session is not None and session.transaction is not None
    active = recorder.active() if ours else recording()
    if active is None or not _name(connection) or (session is None and not text.startswith("BEGIN")):
        return None
    session = _session(library, connection)
    session.begin(active, connection, text)
    return Running(session, connection, text, session.steer(active, text))


def let_go(connection: Any) -> None:
    """The server takes back what is open when its connection closes."""
    with GUARD:
        session = known(connection)
        if session is not None and not session.busy:
            session.settle()
            session.find_out(inside=False, ended=Op.ABORT)
            session.locks.close(recorder.active(), session.library)


def closing(original: Any) -> Any:
    """What closes a connection."""

    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        let_go(self)
        return original(self, *args, **kwargs)

    return close
