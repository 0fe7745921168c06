"""One statement under way: from its call until it returned, failed, or its last row was fetched.

A read ends when the caller has its last row, so a run stays open while rows are fetched, and is settled by whatever
happens next on its connection. The caller's thread only keeps what passed; what the statement was is worked out in
the drain (`sql_accesses`).

It knows no driver: who hooks one says when the statement returned, and gives the rows.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores.sql_accesses import boundary, describe
from noclobber.stores.sql_database import Database
from noclobber.stores.sql_locks import GivenBack, Locks, end_all
from noclobber.stores.sql_outcomes import dooms, outcome_of
from noclobber.stores.sql_plan import NOTHING, Plan, Verb
from noclobber.stores.sql_statement import ROWS_MAX, Statement, count
from noclobber.stores.sql_units import Transaction, around
from noclobber.stores.sql_values import kept_all, kept_row

__all__ = ["PARAMETERS_MAX", "WRITES", "Reading", "Run", "State", "bare", "build_boundary", "statement_of", "told"]

PARAMETERS_MAX: Final = 10_000
"""Parameter sets of one executemany that are told; one with more is told as a whole, partial."""
TOGETHER_MAX: Final = 500
"""Sets that surely go to PostgreSQL in one call."""
WRITES: Final = frozenset({Verb.INSERT, Verb.UPDATE, Verb.DELETE, Verb.TRUNCATE, Verb.CALL, Verb.UNKNOWN})


class Reading(Protocol):
    """A statement whose rows are still being fetched."""

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come."""
        ...


class State:
    """What is known of one connection: its database, its open transaction, its locks, its results being read."""

    __slots__ = ("__weakref__", "database", "locks", "reading", "transaction")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.transaction: Transaction | None = None
        self.reading: list[Reading] = []
        self.locks = Locks()

    def settle(self) -> None:
        """Results that were left unread end now: nothing more of them can be told from what comes next."""
        while self.reading:
            self.reading[-1].finish(complete=False)


def statement_of(state: State, plan: Plan, parameters: Sequence[Any]) -> Statement:
    """The statement that `plan` and its parameter sets are, in the open transaction of `state`."""
    if len(parameters) > PARAMETERS_MAX:
        parameters = parameters[:1]
        plan = Plan(Verb.UNKNOWN, plan.table, known=False)
    transaction, database = state.transaction, state.database
    return Statement(
        plan, [kept_all(each) for each in parameters] or [()], database.uri, database.system, transaction,
        transaction.savepoint if transaction is not None else "", peer=database.peer,
        catalogue=database.planner.catalogue,
    )  # fmt: skip


class Run:
    """One statement under way.

    Attributes:
        rows: what the caller got so far.
    """

    __slots__ = ("_active", "_call", "_done", "_state", "_statement", "rows")

    def __init__(self, active: recorder.Recorder, state: State, statement: Statement, call: Call) -> None:
        self._active, self._state, self._statement, self._call = active, state, statement, call
        if statement.plan.lock is not None:
            state.locks.asks(statement, call)
            call.build, call.facts = _build, statement
            active.waits(call)
        self._done = False
        self.rows: list[tuple[Any, ...]] = []

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        room = ROWS_MAX - len(self.rows)
        if len(rows) > room:
            self._statement.complete = False
            rows = list(rows)[:room]
        self.rows += map(kept_row, rows)

    def fail(self, error: BaseException, *, in_part: bool = False) -> None:
        """The statement raised; `in_part`: some of what it was to do may have been done before."""
        with GUARD:
            if self._ended():
                return
            statement = self._statement
            statement.outcome, statement.unique = outcome_of(error, statement.plan.verb)
            if (in_part or _is_piecemeal(statement)) and statement.plan.verb in WRITES:
                statement.outcome, statement.unique = Outcome.UNKNOWN, False
            if isinstance(error, asyncio.CancelledError):
                statement.attributes[Attr.CANCELLED] = True
            given: Sequence[GivenBack] = ()
            if statement.transaction is not None and statement.system == "postgresql":
                statement.transaction.failed = True
                if dooms(error):
                    where = statement.transaction.id, statement.savepoint
                    given = self._state.locks.doomed(self._active, self._call, *where)
            self._active.fail(self._call, error, _build, statement)
            end_all(self._active, given)
            return
        self._lose()

    def finish(self, *, complete: bool = True) -> None:
        """All is known: hand it over."""
        with GUARD:
            if self._ended():
                return
            statement = self._statement
            statement.complete &= complete
            if statement.complete or self.rows:
                statement.rows = self.rows
            if statement.complete and statement.plan.returning is not None and statement.plan.verb is not Verb.INSERT:
                statement.rowcount = len(self.rows)  # SQLite counts only once all rows were fetched
            if statement.plan.lock is not None:
                self._state.locks.ended(statement, self._call, statement.rows)
            elif self._may_be_more():
                more = count(statement) - self._call.count
                if more > 0:
                    self._active.more(self._call, more)
            self._active.end(self._call, _build, statement)
            return
        self._lose()

    def _may_be_more(self) -> bool:
        """Whether the reply may show more accesses than the call did; one row is one row."""
        keys = self._statement.plan.keys
        return keys is None or len(keys) > 1

    def _lose(self) -> None:
        """A mistake of ours: the call is counted as lost."""
        with GUARD:
            self._ended()
            self._active._drop(self._call)

    def _ended(self) -> bool:
        done, self._done = self._done, True
        if self in self._state.reading:
            self._state.reading.remove(self)
        return done


def _is_piecemeal(statement: Statement) -> bool:
    """Whether sets of parameters before the one that was refused may have been done, and stay.

    SQLite and MySQL take back one statement, which is often one set; PostgreSQL all of a call, but SQLAlchemy makes
    several calls of many sets.
    """
    sets = len(statement.parameters)
    if statement.system == "postgresql":
        return sets > TOGETHER_MAX
    return sets > 1 or (statement.plan.verb is Verb.UNKNOWN and not statement.plan.known)


def _build(call: Call) -> Sequence[Access]:
    return told(call, call.facts)


def told(call: Call, statement: Statement) -> Sequence[Access]:
    """What `call`, a statement that has ended, was; in the drain."""
    accesses = describe(call, statement)
    _notice_guess(statement)
    return accesses


def _notice_guess(statement: Statement) -> None:
    """A row that was named by a guessed key, and was more than one row: the guess was wrong."""
    plan = statement.plan
    if not plan.table.guessed or plan.keys is None or statement.catalogue is None:
        return
    rows = max(len(statement.rows or ()), statement.rowcount)
    if rows > len(plan.keys) * len(statement.parameters) and plan.verb is not Verb.INSERT:
        statement.catalogue.learn_no_key(plan.table.name)


# -- ends of transactions ------------------------------------------------------------------------------------------


def bare(state: State) -> Statement:
    """A statement that touches no row: what a begin, commit or abort is told with."""
    database = state.database
    return Statement(NOTHING, (), database.uri, database.system, state.transaction, peer=database.peer)


def build_boundary(call: Call) -> Sequence[Access]:
    """The begin, commit or abort that a call was; its facts: op, statement, outcome, path of the savepoint."""
    op, statement, outcome, savepoint = call.facts
    applied = op is Op.COMMIT and outcome in (Outcome.OK, Outcome.UNKNOWN)
    if op is not Op.BEGIN and not applied and not savepoint and statement.transaction is not None:
        around(call).gave_back(statement.transaction.id)
    return [boundary(op, statement, outcome, savepoint)]
