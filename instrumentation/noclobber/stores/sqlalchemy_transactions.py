"""What is known of one SQLAlchemy connection while it is used, and how its calls ended.

A connection has one open transaction at most, and results that are still being read. A transaction's begin, commit
and rollback are told here, whether SQLAlchemy's own methods or a statement's text (`BEGIN`, `SAVEPOINT`) make them.

Source: contract 2.1 (`begin`, `commit`, `abort`), 2.3; PEP 249 (exceptions); PostgreSQL, appendix A (SQLSTATE).
"""

import sys
from collections.abc import Sequence
from typing import Any, Final, Protocol

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores.sql_accesses import boundary
from noclobber.stores.sql_plan import NOTHING, Verb
from noclobber.stores.sql_statement import Statement
from noclobber.stores.sql_text import Control, ControlVerb
from noclobber.stores.sql_units import Transaction, around, new_transaction
from noclobber.stores.sqlalchemy_place import Database, database_of, isolation_of

__all__ = [
    "LIBRARY",
    "Reading",
    "State",
    "Steering",
    "begin_call",
    "beginning",
    "ending",
    "outcome_of",
    "recording",
    "state_of",
]

LIBRARY: Final = "sqlalchemy"
REFUSED: Final = frozenset({"40001"})
UNIQUE: Final = frozenset({"23505", "23P01"})


class Reading(Protocol):
    """A statement whose rows are still being fetched."""

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come."""
        ...


class State:
    """What is known of one `Connection`: its database, its open transaction, its results that are being read."""

    __slots__ = ("database", "reading", "transaction")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transaction: Transaction | None = None
        self.reading: list[Reading] = []

    def settle(self) -> None:
        """Results that were left unread end now: nothing more of them can be told from what comes next."""
        while self.reading:
            self.reading[-1].finish(complete=False)


def state_of(connection: Any) -> State:
    """The state of `connection`; made where there is none yet."""
    state: State | None = connection.__dict__.get("_noclobber")
    if state is None:
        state = connection._noclobber = State(database_of(connection.engine))
    return state


def recording() -> "recorder.Recorder | None":
    """The recorder, if the running code is to be recorded."""
    active = recorder.active()
    return None if active is None or strands.current().suppressed else active


def begin_call(active: recorder.Recorder, number: int) -> Call:
    """Note that a call begins; its place in the code, also where an async engine runs it."""
    call = active.begin(LIBRARY, number)
    if call.site is None and (greenlet := sys.modules.get("greenlet")) is not None:
        parent = greenlet.getcurrent().parent  # an async engine's statement runs in a greenlet of its own
        call.site = active._site(parent.gr_frame) if parent is not None else None
    return call


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


Boundary = tuple[recorder.Recorder, Call, Op, Statement]


def _begin_transaction(connection: Any) -> Boundary | None:
    with GUARD:
        active = recording()
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
        return active, begin_call(active, 1), Op.BEGIN, _bare(state)
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
        boundary = active, begin_call(active, 1), Op.ABORT if doomed else op, _bare(state)
        state.transaction = None
        return boundary
    return None


def _bare(state: State) -> Statement:
    database = state.database
    return Statement(NOTHING, (), database.uri, database.system, state.transaction, peer=database.peer)


def _end_boundary(begun: Boundary | None, error: BaseException | None) -> None:
    if begun is None:
        return
    with GUARD:
        active, call, op, statement = begun
        outcome = Outcome.OK if error is None else outcome_of(error, Verb.UNKNOWN)[0]
        call.error = error
        active.end(call, _build_boundary, (op, statement, outcome, ""))


def _build_boundary(call: Call) -> Sequence[Access]:
    op, statement, outcome, savepoint = call.facts
    applied = op is Op.COMMIT and outcome in (Outcome.OK, Outcome.UNKNOWN)
    if op is not Op.BEGIN and not applied and not savepoint and statement.transaction is not None:
        around(call).gave_back(statement.transaction.id)
    return [boundary(op, statement, outcome, savepoint)]


class Steering:
    """A statement that steers its transaction by its text: savepoints (SQLAlchemy's own too), BEGIN, isolation."""

    __slots__ = ("_active", "_call", "_connection", "_control", "_state")

    def __init__(self, active: recorder.Recorder, state: State, connection: Any, control: Control) -> None:
        self._active, self._state, self._connection, self._control = active, state, connection, control
        self._call = self._boundary_call()

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


def outcome_of(error: BaseException, verb: Verb) -> tuple[Outcome, bool]:
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
