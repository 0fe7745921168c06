"""What is known of one SQLAlchemy connection while it is used, and how its calls ended.

A connection has one open transaction at most, and results that are still being read. A transaction's begin, commit
and rollback are told here, whether SQLAlchemy's own methods or a statement's text (`BEGIN`, `SAVEPOINT`) make them.

Source: contract 2.1 (`begin`, `commit`, `abort`), 2.3;
"""

import sys
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Call
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.sites import Site
from noclobber.stores.sql_locks import GivenBack, Locks, end_all
from noclobber.stores.sql_outcomes import outcome_of
from noclobber.stores.sql_plan import Verb
from noclobber.stores.sql_run import State, bare, build_boundary
from noclobber.stores.sql_statement import Statement
from noclobber.stores.sql_text import Control, ControlVerb
from noclobber.stores.sql_units import Transaction, new_transaction
from noclobber.stores.sqlalchemy_place import database_of, isolation_of

__all__ = [
    "LIBRARY",
    "Steering",
    "begin_call",
    "beginning",
    "closing",
    "ending",
    "locks_of",
    "site_beyond",
    "state_of",
]

LIBRARY: Final = "sqlalchemy"


def state_of(connection: Any) -> State:
    """The state of `connection`; made where there is none yet."""
    state: State | None = connection.__dict__.get("_noclobber")
    if state is None:
        state = connection._noclobber = State(database_of(connection.engine))
    return state


def locks_of(connection: Any) -> Locks:
    """What the driver's connection holds, which outlives a `Connection`."""
    info: dict[str, Any] = connection.connection.info
    locks: Locks | None = info.get("noclobber_locks")
    if locks is None:
        locks = info["noclobber_locks"] = Locks()
    return locks


def closing(original: Any) -> Any:
    """Wrap the method that closes a driver's connection for good."""

    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        with GUARD:
            locks = self.info.get("noclobber_locks")
            if locks is not None:
                locks.close(recorder.active(), LIBRARY)
        return original(self, *args, **kwargs)

    return close


def begin_call(active: recorder.Recorder, number: int) -> Call:
    """Note that a call begins; its place in the code, also where an async engine runs it."""
    call = active.begin(LIBRARY, number)
    if call.site is None:
        call.site = site_beyond(active)
    return call


def site_beyond(active: recorder.Recorder) -> Site | None:
    """The place in the code where an async engine was called, whose statements run in greenlets of their own."""
    greenlet = sys.modules.get("greenlet")
    parent = None if greenlet is None else greenlet.getcurrent().parent
    return None if parent is None else active._site(parent.gr_frame)


# -- transactions --------------------------------------------------------------------------------------------------


def beginning(original: Any) -> Any:
    """Wrap a method that begins a transaction."""

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


def ending(op: Op, original: Any) -> Any:
    """Wrap a method that ends a transaction by `op`."""

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


Boundary = tuple[recorder.Recorder, Call, Op, Statement, list[GivenBack]]


def _begin_transaction(connection: Any) -> Boundary | None:
    with GUARD:
        active = recorder.recording()
        state: State | None = connection.__dict__.get("_noclobber")
        if active is None:
            if state is not None:
                state.transaction = None
            return None
        state = state_of(connection)
        state.settle()
        state.transaction = None
        if connection._is_autocommit_isolation():
            return None
        isolation = None
        with GUARD:
            isolation = isolation_of(connection, state.database)
        state.transaction = new_transaction(isolation)
        return active, begin_call(active, 1), Op.BEGIN, bare(state), []
    return None


def _end_transaction(connection: Any, op: Op) -> Boundary | None:
    with GUARD:
        state: State | None = connection.__dict__.get("_noclobber")
        if state is None:
            return None
        state.settle()
        transaction = state.transaction
        active = recorder.active()
        if transaction is None or active is None:
            return None
        doomed = op is Op.COMMIT and transaction.failed  # PostgreSQL answers such a COMMIT with ROLLBACK
        call = begin_call(active, 1)
        given = state.locks.end_of(active, LIBRARY, transaction.id)
        boundary = active, call, Op.ABORT if doomed else op, bare(state), given
        state.transaction = None
        return boundary
    return None


def _end_boundary(begun: Boundary | None, error: BaseException | None) -> None:
    if begun is None:
        return
    with GUARD:
        active, call, op, statement, given = begun
        outcome = Outcome.OK if error is None else outcome_of(error, Verb.UNKNOWN)[0]
        call.error = error
        active.end(call, build_boundary, (op, statement, outcome, ""))
        end_all(active, given)


class Steering:
    """A statement that steers its transaction by its text: savepoints (SQLAlchemy's own too), BEGIN, isolation."""

    __slots__ = ("_active", "_call", "_connection", "_control", "_given", "_state")

    def __init__(self, active: recorder.Recorder, state: State, connection: Any, control: Control) -> None:
        self._active, self._state, self._connection, self._control = active, state, connection, control
        self._call = self._boundary_call()
        transaction = state.transaction
        ends = control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK)
        path = "" if ends or transaction is None else transaction.find(control.name) or ""
        back = ends or (control.verb is ControlVerb.ROLLBACK_TO and path)
        held = transaction is not None and back
        self._given = state.locks.end_of(active, LIBRARY, transaction.id, path) if held and transaction else []

    def _boundary_call(self) -> Any:
        control, transaction = self._control, self._state.transaction
        ends = control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK)
        back = control.verb is ControlVerb.ROLLBACK_TO and transaction is not None and transaction.find(control.name)
        begins = control.verb is ControlVerb.BEGIN and transaction is None
        return begin_call(self._active, 1) if begins or back or (ends and transaction is not None) else None

    def fail(self, error: BaseException) -> None:
        """It raised: the transaction is as it was, or doomed."""
        with GUARD:
            self._apply(outcome_of(error, Verb.UNKNOWN)[0], error)
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
            statement = bare(state)
            self._call.error = error
            self._active.end(self._call, build_boundary, (op, statement, outcome, path))
            end_all(self._active, self._given)
            if control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK) or (op is Op.BEGIN and not ok):
                state.transaction = None

    def _began(self, transaction: Transaction) -> None:
        """SQLite itself has begun now, so all reads from here on are of one state."""
        if self._state.database.system == "sqlite" and transaction.isolation == "read_committed":
            transaction.isolation = "serializable"
