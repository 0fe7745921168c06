"""SQLAlchemy 2.0 and 2.1, sync and async: statements, transactions, savepoints, rows.

Every statement passes `Connection._exec_single_context` (or its twin for many inserted rows), and every transaction
its begin, commit and rollback; these are wrapped on the class, so engines that exist already are seen too. Engine
events would be the official way, but they cost more than all of this together, and `commit` is told before it is
tried, so its outcome would stay unknown. A result's rows are seen as the caller fetches them: the read ends when the
last one was fetched. A statement's text is planned once; what it was is worked out in the drain (`sql_accesses`).

It decides nothing about SQL (`sql_planner`) and asks the database for nothing unless exact mode is on
(`sqlalchemy_exact`).
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.stores.sql_database import Database
from noclobber.stores.sql_looks import Look
from noclobber.stores.sql_plan import NOTHING, Plan, Verb
from noclobber.stores.sql_run import WRITES, Run, State, statement_of
from noclobber.stores.sql_session import COVERED
from noclobber.stores.sql_statement import Statement, count
from noclobber.stores.sqlalchemy_exact import replaced_rows
from noclobber.stores.sqlalchemy_looks import Looking
from noclobber.stores.sqlalchemy_place import learn_tables
from noclobber.stores.sqlalchemy_results import Listening
from noclobber.stores.sqlalchemy_transactions import (
    LIBRARY,
    Steering,
    begin_call,
    beginning,
    closing,
    ending,
    locks_of,
    site_beyond,
    state_of,
)  # fmt: skip

__all__ = ["INTEGRATION"]

CONNECTING: Final = "_ConnectionRecord__connect"
"""Makes a connection, and asks it what the dialect must know."""
CLOSING: Final = "_ConnectionRecord__close"
"""Closes a connection for good, and with it what it holds."""
_originals: dict[tuple[type, str], Any] = {}


def install(_library: ModuleType) -> None:
    """Wrap the connection class."""
    from sqlalchemy.engine.base import Connection
    from sqlalchemy.pool.base import _ConnectionRecord

    if CONNECTING in vars(_ConnectionRecord):
        _wrap(_ConnectionRecord, CONNECTING, _covering)
    if CLOSING in vars(_ConnectionRecord):
        _wrap(_ConnectionRecord, CLOSING, closing)
    for name in ("_exec_single_context", "_exec_insertmany_context"):
        _wrap(Connection, name, _executing)
    for name in ("_begin_impl", "_begin_twophase_impl"):
        _wrap(Connection, name, beginning)
    for name, op in (
        ("_commit_impl", Op.COMMIT),
        ("_commit_twophase_impl", Op.COMMIT),
        ("_rollback_impl", Op.ABORT),
        ("_rollback_twophase_impl", Op.ABORT),
    ):
        _wrap(Connection, name, functools.partial(ending, op))


def uninstall() -> None:
    """Put back what was there."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    original = owner.__dict__[name]
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


# -- statements ----------------------------------------------------------------------------------------------------


def _covering(original: Any) -> Any:
    """The driver below is part of this call, so that its own hooks say nothing."""

    def covered(*args: Any, **kwargs: Any) -> Any:
        before = COVERED.get()
        COVERED.set(True)
        try:
            return original(*args, **kwargs)
        finally:
            COVERED.set(before)

    return covered


def _executing(original: Any) -> Any:
    def execute(self: Any, dialect: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        before = COVERED.get()  # as `_covering` does, without one call more for each statement
        COVERED.set(True)
        try:
            run = None
            try:
                run = _start(self, context)
            except Exception as error:
                GUARD.caught(error)
            if run is None:
                return original(self, dialect, context, *args, **kwargs)
            try:
                result = original(self, dialect, context, *args, **kwargs)
            except BaseException as error:
                run.fail(error)
                raise
            run.returned(result)
            return result
        finally:
            COVERED.set(before)

    return execute


def _start(connection: Any, context: Any) -> "_Run | Looking | Steering | None":
    """What notes a statement that is about to run; None where there is nothing to note. May raise."""
    known: State | None = connection.__dict__.get("_noclobber")
    if known is not None and not known.reading:
        plan = known.database.planner.known(context.statement)
        if plan is not None and plan.look is not None and len(context.parameters) == 1:
            return _look(known, plan, plan.look, context.parameters[0])
    active = recorder.recording()
    if active is None:
        return None
    state = state_of(connection)
    state.settle()
    plan = _plan(state.database, context)
    if plan.control is not None:
        return Steering(active, state, connection, plan.control)
    if plan.verb is Verb.NOTHING:
        return None
    if plan.lock is not None:
        state.locks = locks_of(connection)
        if plan.lock.everything:
            state.locks.close(active, LIBRARY)
            return None
    statement = statement_of(state, plan, context.parameters)
    number = count(statement)
    if not number or (plan.lock is not None and state.locks.is_nested(statement)):
        return None
    if active.settings.exact or active.declarations.declared:
        statement.replaced = replaced_rows(active, connection, statement)
    return _Run(active, state, context, statement, begin_call(active, number))


def _look(state: State, plan: Plan, look: Look, parameters: Any) -> Looking | None:
    """What notes a plain read; None where it is not to be noted, or names no row."""
    call = recorder.begun(LIBRARY) if look.names_a_row(parameters) else None
    if call is None:
        return None
    if call.site is None:
        active = recorder.active()
        call.site = None if active is None else site_beyond(active)
    return Looking(state, plan, look, parameters, call)


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


class _Run(Run):
    """One statement under way, until it returned or its last row was fetched."""

    __slots__ = ("_context",)

    def __init__(self, active: recorder.Recorder, state: State, context: Any, statement: Statement, call: Call) -> None:
        super().__init__(active, state, statement, call)
        self._context = context

    def returned(self, result: Any) -> None:
        """The statement ran; its rows may still have to be fetched."""
        try:
            self._note_result(result)
        except Exception as error:
            self._lose()
            GUARD.caught(error)

    def _note_result(self, result: Any) -> None:
        statement, context = self._statement, self._context
        plan = statement.plan
        if plan.verb in WRITES:
            self._note_write(context)
        source = plan.returning if plan.verb is not Verb.SELECT else plan.sources[0]
        if source is None and not (plan.lock is not None and plan.lock.answers):
            self.finish()
            return
        if source is not None and source.star and context.cursor is not None and context.cursor.description is not None:
            fold = self._state.database.planner.fold
            statement.names = tuple(fold(str(each[0]), quoted=True) for each in context.cursor.description)
        strategy = result.cursor_strategy
        fetched = type(strategy).__name__ == "FullyBufferedCursorFetchStrategy"
        if result._soft_closed or fetched:  # SQLAlchemy has fetched the rows itself
            self.add(strategy._rowbuffer if fetched else getattr(context, "returned_default_rows", None) or ())
            self.finish()
            return
        self._state.reading.append(self)
        result.cursor_strategy = Listening(strategy, self)

    def _note_write(self, context: Any) -> None:
        statement, plan = self._statement, self._statement.plan
        if statement.transaction is not None:
            statement.transaction.wrote = True
        statement.rowcount = _rowcount(context)
        if plan.verb is Verb.INSERT and not set(plan.table.key) <= set(plan.insert_columns):
            statement.inserted = self._inserted_keys(context)

    def _inserted_keys(self, context: Any) -> list[tuple[Any, ...] | None] | None:
        """Keys that the database made, as far as SQLAlchemy or the driver has been told; None: RETURNING may tell."""
        if context.compiled is not None and context.isinsert:
            if context._is_explicit_returning:
                return None
            return [None if row is None else tuple(row) for row in context.inserted_primary_key_rows or ()]
        plan, last = self._statement.plan, getattr(context.cursor, "lastrowid", None)
        one = len(self._statement.parameters) == len(plan.insert_rows) == len(plan.table.key) == 1
        return [(last,)] if last and one and self._state.database.system == "sqlite" else None


def _rowcount(context: Any) -> int:
    number = context._rowcount
    if number is None and context.cursor is not None:
        number = context.cursor.rowcount
    return number if isinstance(number, int) else -1


INTEGRATION: Final = Integration("sqlalchemy", install, uninstall)
