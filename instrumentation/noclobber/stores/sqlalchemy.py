"""SQLAlchemy 2.0 and 2.1, sync and async: statements, transactions, savepoints, rows.

Every statement passes `Connection._exec_single_context` (or its twin for many inserted rows), and every transaction
its begin, commit and rollback; these are wrapped on the class, so engines that exist already are seen too. Engine
events would be the official way, but they cost more than all of this together, and `commit` is told before it is
tried, so its outcome would stay unknown. A result's rows are seen as the caller fetches them: the read ends when the
last one was fetched. A statement's text is planned once; what it was is worked out in the drain (`sql_accesses`).

It decides nothing about SQL (`sql_planner`) and asks the database for nothing unless exact mode is on
(`sqlalchemy_exact`).
"""

import asyncio
import functools
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores.sql_accesses import ROWS_MAX, Statement, boundary, count, describe
from noclobber.stores.sql_plan import NOTHING, Plan, Verb
from noclobber.stores.sql_text import Control, ControlVerb
from noclobber.stores.sql_units import Transaction, new_transaction
from noclobber.stores.sql_values import kept_all, kept_row
from noclobber.stores.sqlalchemy_exact import replaced_rows
from noclobber.stores.sqlalchemy_place import Database, database_of, isolation_of, learn_tables

__all__ = ["INTEGRATION"]

LIBRARY: Final = "sqlalchemy"
PARAMETERS_MAX: Final = 10_000
"""Parameter sets of one executemany that are told; one with more is told as a whole, partial."""
REFUSED: Final = frozenset({"40001"})
UNIQUE: Final = frozenset({"23505", "23P01"})
WRITES: Final = frozenset({Verb.INSERT, Verb.UPDATE, Verb.DELETE, Verb.TRUNCATE, Verb.UNKNOWN})
_originals: dict[tuple[type, str], Any] = {}


def install(_library: ModuleType) -> None:
    """Wrap the connection class."""
    from sqlalchemy.engine.base import Connection

    for name in ("_exec_single_context", "_exec_insertmany_context"):
        _wrap(Connection, name, _executing)
    for name in ("_begin_impl", "_begin_twophase_impl"):
        _wrap(Connection, name, _beginning)
    for name, op in (
        ("_commit_impl", Op.COMMIT),
        ("_commit_twophase_impl", Op.COMMIT),
        ("_rollback_impl", Op.ABORT),
        ("_rollback_twophase_impl", Op.ABORT),
    ):
        _wrap(Connection, name, functools.partial(_ending, op))


def uninstall() -> None:
    """Put back what was there."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    original = owner.__dict__[name]
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


class _State:
    """What is known of one `Connection`: its database, its open transaction, its results that are being read."""

    __slots__ = ("database", "reading", "transaction")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transaction: Transaction | None = None
        self.reading: list[_Run] = []

    def settle(self) -> None:
        """Results that were left unread end now: nothing more of them can be told from what comes next."""
        while self.reading:
            self.reading[-1].finish(complete=False)


def _state_of(connection: Any) -> _State:
    state: _State | None = connection.__dict__.get("_noclobber")
    if state is None:
        state = connection._noclobber = _State(database_of(connection.engine))
    return state


def _recording() -> "recorder.Recorder | None":
    active = recorder.active()
    return None if active is None or strands.current().suppressed else active


def _begin_call(active: recorder.Recorder, number: int) -> Call:
    call = active.begin(LIBRARY, number)
    if call.site is None and (greenlet := sys.modules.get("greenlet")) is not None:
        parent = greenlet.getcurrent().parent  # an async engine's statement runs in a greenlet of its own
        call.site = active._site(parent.gr_frame) if parent is not None else None
    return call


# -- statements ----------------------------------------------------------------------------------------------------


def _executing(original: Any) -> Any:
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = _start(self, args[1])
        if run is None:
            return original(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            run.fail(error)
            raise
        run.returned(result)
        return result

    return execute


def _start(connection: Any, context: Any) -> "_Run | None":
    with GUARD:
        active = _recording()
        if active is None:
            return None
        state = _state_of(connection)
        state.settle()
        plan = _plan(state.database, context)
        if plan.control is not None:
            return _Steering(active, state, connection, plan.control)
        if plan.verb is Verb.NOTHING:
            return None
        statement = _statement(state, plan, context)
        number = count(statement)
        if not number:
            return None
        if active.settings.exact or active.declarations.declared:
            statement.replaced = replaced_rows(active, connection, statement)
        return _Run(active, state, context, statement, _begin_call(active, number))
    return None


def _plan(database: Database, context: Any) -> Plan:
    text = context.statement
    plan = database.planner.known(text)
    if plan is not None:
        return plan
    if not isinstance(text, str):
        return NOTHING
    compiled = context.compiled
    if compiled is not None and not context.isddl:
        learn_tables(database, compiled)
    return database.planner.plan(text)


def _statement(state: _State, plan: Plan, context: Any) -> Statement:
    parameters = context.parameters
    if len(parameters) > PARAMETERS_MAX:
        parameters = parameters[:1]
        plan = Plan(Verb.UNKNOWN, plan.table, known=False)
    transaction, database = state.transaction, state.database
    return Statement(
        plan, [kept_all(each) for each in parameters] or [()], database.uri, database.system, transaction,
        transaction.savepoint if transaction is not None else "", peer=database.peer, catalogue=database.planner.catalogue,
    )  # fmt: skip


class _Run:
    """One statement under way, until it returned or its last row was fetched."""

    __slots__ = ("_active", "_call", "_context", "_done", "_state", "_statement", "rows")

    def __init__(
        self, active: recorder.Recorder, state: _State, context: Any, statement: Statement, call: Call
    ) -> None:
        self._active, self._state, self._context = active, state, context
        self._statement, self._call = statement, call
        self._done = False
        self.rows: list[tuple[Any, ...]] = []

    def returned(self, result: Any) -> None:
        """The statement ran; its rows may still have to be fetched."""
        with GUARD:
            statement, context = self._statement, self._context
            plan = statement.plan
            if plan.verb in WRITES:
                self._note_write(context)
            source = plan.returning if plan.verb is not Verb.SELECT else plan.sources[0]
            if source is None:
                self.finish()
                return
            if source.star and context.cursor is not None and context.cursor.description is not None:
                fold = self._state.database.planner.fold
                statement.names = tuple(fold(str(each[0]), quoted=True) for each in context.cursor.description)
            strategy = result.cursor_strategy
            waiting = getattr(strategy, "_rowbuffer", None)
            if result._soft_closed or plan.verb is Verb.INSERT:
                self.add(waiting or getattr(context, "returned_default_rows", None) or ())
                self.finish()
                return
            self._state.reading.append(self)
            result.cursor_strategy = _Listening(strategy, self)

    def _note_write(self, context: Any) -> None:
        statement = self._statement
        if statement.transaction is not None:
            statement.transaction.wrote = True
        statement.rowcount = _rowcount(context)
        if statement.plan.verb is Verb.INSERT and context.compiled is not None and context.isinsert:
            statement.inserted = [
                None if row is None else tuple(row) for row in context.inserted_primary_key_rows or ()
            ] if not context._is_explicit_returning else None  # fmt: skip
        elif (
            statement.plan.verb is Verb.INSERT and len(statement.parameters) == 1 and len(statement.plan.table.key) == 1
        ):
            last = getattr(context.cursor, "lastrowid", None)
            statement.inserted = [(last,)] if self._gives_rowid(last) else None

    def _gives_rowid(self, last: Any) -> bool:
        """Whether the driver's last row id is the key that this INSERT left to SQLite."""
        plan = self._statement.plan
        return bool(
            last and self._state.database.system == "sqlite" and len(plan.insert_rows) == 1
            and plan.table.key[0] not in plan.insert_columns
        )  # fmt: skip

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        room = ROWS_MAX - len(self.rows)
        if len(rows) > room:
            self._statement.complete = False
            rows = list(rows)[:room]
        self.rows += map(kept_row, rows)

    def fail(self, error: BaseException) -> None:
        """The statement raised."""
        with GUARD:
            if self._ended():
                return
            statement = self._statement
            statement.outcome, statement.unique = _outcome(error, statement.plan.verb)
            if isinstance(error, asyncio.CancelledError):
                statement.attributes[Attr.CANCELLED] = True
            if statement.transaction is not None and statement.system == "postgresql":
                statement.transaction.failed = True
            self._active.fail(self._call, error, _build, statement)

    def finish(self, *, complete: bool = True) -> None:
        """All is known: hand it over."""
        with GUARD:
            if self._ended():
                return
            statement = self._statement
            statement.complete &= complete
            if statement.complete or self.rows:
                statement.rows = self.rows
            more = count(statement) - self._call.count
            if more > 0:
                self._active.more(self._call, more)
            self._active.end(self._call, _build, statement)

    def _ended(self) -> bool:
        done, self._done = self._done, True
        if self in self._state.reading:
            self._state.reading.remove(self)
        return done


def _rowcount(context: Any) -> int:
    number = context._rowcount
    if number is None and context.cursor is not None:
        number = context.cursor.rowcount
    return number if isinstance(number, int) else -1


def _build(call: Call) -> Sequence[Access]:
    statement: Statement = call.facts
    accesses = describe(call, statement)
    _notice_guess(statement)
    return accesses


def _notice_guess(statement: Statement) -> None:
    """A row that was named by a guessed key, and was more than one row: the guess was wrong."""
    table = statement.plan.table
    if table.guessed and statement.plan.keys is not None and statement.rows is not None:
        several = len(statement.rows) > len(statement.plan.keys) * len(statement.parameters)
        if several and statement.catalogue is not None:
            statement.catalogue.learn_no_key(table.name)


class _Listening:
    """A result's way of fetching rows, which tells a `_Run` what was fetched and when it was the last."""

    __slots__ = ("_busy", "_closed", "_inner", "_run")

    def __init__(self, inner: Any, run: _Run) -> None:
        self._inner, self._run = inner, run
        self._busy = self._closed = False

    @property
    def alternate_cursor_description(self) -> Any:
        return self._inner.alternate_cursor_description

    def soft_close(self, result: Any, dbapi_cursor: Any) -> None:
        self._inner.soft_close(result, dbapi_cursor)
        self._close()

    def hard_close(self, result: Any, dbapi_cursor: Any) -> None:
        self._inner.hard_close(result, dbapi_cursor)
        self._close()

    def _close(self) -> None:
        self._closed = True
        if not self._busy:
            self._run.finish()

    def yield_per(self, result: Any, dbapi_cursor: Any, num: int) -> None:
        self._inner.yield_per(result, dbapi_cursor, num)
        if result.cursor_strategy is not self:
            self._inner, result.cursor_strategy = result.cursor_strategy, self

    def fetchone(self, result: Any, dbapi_cursor: Any, hard_close: bool = False) -> Any:
        row = self._fetch(self._inner.fetchone, result, dbapi_cursor, hard_close)
        self._got(() if row is None else (row,))
        return row

    def fetchmany(self, result: Any, dbapi_cursor: Any, size: int | None = None) -> Any:
        rows = self._fetch(self._inner.fetchmany, result, dbapi_cursor, size)
        self._got(rows)
        return rows

    def fetchall(self, result: Any, dbapi_cursor: Any) -> Any:
        rows = self._fetch(self._inner.fetchall, result, dbapi_cursor)
        self._got(rows)
        return rows

    def _fetch(self, fetch: Any, *args: Any) -> Any:
        """Fetch; a result closes itself with the last rows in hand, which are to be seen first."""
        self._busy = True
        try:
            return fetch(*args)
        except BaseException:
            self._run.finish(complete=False)
            raise
        finally:
            self._busy = False

    def _got(self, rows: Sequence[Any]) -> None:
        with GUARD:
            self._run.add(rows)
            if self._closed:
                self._run.finish()

    def handle_exception(self, result: Any, dbapi_cursor: Any, err: BaseException) -> Any:
        return self._inner.handle_exception(result, dbapi_cursor, err)


# -- transactions --------------------------------------------------------------------------------------------------


def _beginning(original: Any) -> Any:
    def begin(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begin_transaction(self)
        try:
            answer = original(self, *args, **kwargs)
        except BaseException as error:
            _end_boundary(begun, error)
            raise
        _end_boundary(begun, None)
        return answer

    return begin


def _ending(op: Op, original: Any) -> Any:
    def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _end_transaction(self, op)
        try:
            answer = original(self, *args, **kwargs)
        except BaseException as error:
            _end_boundary(begun, error)
            raise
        _end_boundary(begun, None)
        return answer

    return end


Boundary = tuple[recorder.Recorder, Call, Op, Statement]


def _begin_transaction(connection: Any) -> Boundary | None:
    with GUARD:
        active = _recording()
        state: _State | None = connection.__dict__.get("_noclobber")
        if active is None:
            if state is not None:
                state.transaction = None
            return None
        state = _state_of(connection)
        state.settle()
        state.transaction = None
        if connection._is_autocommit_isolation():
            return None
        isolation = None
        with GUARD:
            isolation = isolation_of(connection, state.database)
        state.transaction = new_transaction(isolation)
        return active, _begin_call(active, 1), Op.BEGIN, _bare(state)
    return None


def _end_transaction(connection: Any, op: Op) -> Boundary | None:
    with GUARD:
        state: _State | None = connection.__dict__.get("_noclobber")
        if state is None:
            return None
        state.settle()
        transaction = state.transaction
        active = recorder.active()
        if transaction is None or active is None:
            return None
        doomed = op is Op.COMMIT and transaction.failed  # PostgreSQL answers such a COMMIT with ROLLBACK
        boundary = active, _begin_call(active, 1), Op.ABORT if doomed else op, _bare(state)
        state.transaction = None
        return boundary
    return None


def _bare(state: _State) -> Statement:
    database = state.database
    return Statement(NOTHING, (), database.uri, database.system, state.transaction, peer=database.peer)


def _end_boundary(begun: Boundary | None, error: BaseException | None) -> None:
    if begun is None:
        return
    with GUARD:
        active, call, op, statement = begun
        outcome = Outcome.OK if error is None else _outcome(error, Verb.UNKNOWN)[0]
        call.error = error
        active.end(call, _build_boundary, (op, statement, outcome, ""))


def _build_boundary(call: Call) -> Sequence[Access]:
    op, statement, outcome, savepoint = call.facts
    return [boundary(op, statement, outcome, savepoint)]


class _Steering(_Run):
    """A statement that steers its transaction by its text: savepoints (SQLAlchemy's own too), BEGIN, COMMIT, isolation."""

    __slots__ = ("_connection", "_control")

    def __init__(self, active: recorder.Recorder, state: _State, connection: Any, control: Control) -> None:
        self._active, self._state, self._connection, self._control = active, state, connection, control
        self._call = self._boundary_call()

    def _boundary_call(self) -> Any:
        control, transaction = self._control, self._state.transaction
        ends = control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK)
        back = control.verb is ControlVerb.ROLLBACK_TO and transaction is not None and transaction.find(control.name)
        begins = control.verb is ControlVerb.BEGIN and transaction is None
        return _begin_call(self._active, 1) if begins or back or (ends and transaction is not None) else None

    def fail(self, error: BaseException) -> None:
        """It raised: the transaction is as it was, or doomed."""
        with GUARD:
            self._apply(_outcome(error, Verb.UNKNOWN)[0], error)
            transaction = self._state.transaction
            if transaction is not None and self._state.database.system == "postgresql":
                transaction.failed = True

    def returned(self, result: Any) -> None:
        """It ran."""
        del result
        with GUARD:
            self._apply(Outcome.OK, None)

    def _apply(self, outcome: Outcome, error: BaseException | None) -> None:
        state, control, ok = self._state, self._control, error is None
        transaction = state.transaction
        op, path = Op.ABORT, ""
        match control.verb:
            case ControlVerb.BEGIN if transaction is None:
                state.transaction, op = new_transaction(isolation_of(self._connection, state.database)), Op.BEGIN
                self._began(state.transaction)
            case ControlVerb.BEGIN if ok and transaction is not None:
                self._began(transaction)
            case ControlVerb.ISOLATION if ok and transaction is not None:
                transaction.isolation = control.name
            case ControlVerb.READ_UNCOMMITTED | ControlVerb.COMMITTED_ONLY if ok:
                reads = control.verb is ControlVerb.READ_UNCOMMITTED
                self._connection.connection.record_info["noclobber_isolation"] = (
                    "read_uncommitted" if reads else "read_committed"
                )
            case ControlVerb.SAVEPOINT if ok and transaction is not None:
                transaction.save(control.name)
            case ControlVerb.RELEASE | ControlVerb.ROLLBACK_TO if transaction is not None:
                path = transaction.find(control.name) or ""
                back = control.verb is ControlVerb.ROLLBACK_TO
                if ok:
                    transaction.close(path, keep=back)
                    transaction.failed &= not back
            case ControlVerb.COMMIT if transaction is not None and not transaction.failed:
                op = Op.COMMIT
        if self._call is not None:
            statement = _bare(state)
            self._call.error = error
            self._active.end(self._call, _build_boundary, (op, statement, outcome, path))
            if control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK) or (op is Op.BEGIN and not ok):
                state.transaction = None

    def _began(self, transaction: Transaction) -> None:
        """SQLite itself has begun now, so all reads from here on are of one state."""
        if self._state.database.system == "sqlite" and transaction.isolation == "read_committed":
            transaction.isolation = "serializable"


# -- outcomes ------------------------------------------------------------------------------------------------------


def _outcome(error: BaseException, verb: Verb) -> tuple[Outcome, bool]:
    """How a call that raised ended, and whether a unique key refused it.

    A connection that broke, a cancelled task, a client's own timeout: the server may have applied it.
    """
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state in REFUSED:
        return Outcome.REJECTED, False
    if state in UNIQUE or "UNIQUE constraint failed" in str(original):
        return (Outcome.REJECTED if verb is Verb.INSERT else Outcome.ERROR), verb is Verb.INSERT
    lost = getattr(error, "connection_invalidated", False) or (
        isinstance(state, str) and state.startswith(("08", "57P"))
    )
    if lost or isinstance(error, TimeoutError) or not isinstance(error, Exception):
        return (Outcome.ERROR if verb is Verb.SELECT else Outcome.UNKNOWN), False
    return Outcome.ERROR, False


INTEGRATION: Final = Integration("sqlalchemy", install, uninstall)
