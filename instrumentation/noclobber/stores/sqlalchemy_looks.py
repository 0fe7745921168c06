"""A plain read of SQLAlchemy's under way, which is most of what passes: one object from the call to the drain.

It is how the result fetches its rows, what remembers them, and what the drain is told, so that the caller pays for
two objects and a dozen small functions instead of seven and thirty. What turns out to be less plain goes on as every
other statement does (`sqlalchemy`, `sql_run`).

What it means is told by `sql_looks`.
"""

from collections.abc import Sequence
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.guard import GUARD
from noclobber.stores.sql_accesses import placed
from noclobber.stores.sql_looks import Look
from noclobber.stores.sql_plan import Plan
from noclobber.stores.sql_run import Run, State, told
from noclobber.stores.sql_statement import ROWS_MAX, Statement
from noclobber.stores.sql_units import Transaction
from noclobber.stores.sql_values import kept_all, kept_row
from noclobber.stores.sqlalchemy_results import Overheard

__all__ = ["Looking"]

FETCHED: Final = "FullyBufferedCursorFetchStrategy"
"""How a result gives rows that SQLAlchemy has fetched already."""


class Looking(Overheard):
    """One read of one row by its key, until its last row was fetched.

    Attributes:
        plan, look, parameters, transaction, savepoint: as the call found them. rows: what the caller got so far.
        complete: whether they are all.
    """

    __slots__ = (
        "_call", "_state", "complete", "look", "parameters", "plan", "rows", "savepoint", "transaction",
    )  # fmt: skip

    def __init__(self, state: State, plan: Plan, look: Look, parameters: Any, call: Call) -> None:
        self._state, self.plan, self.look = state, plan, look
        self._call: Call | None = call
        self.parameters = kept_all(parameters)
        self.transaction: Transaction | None = state.transaction
        self.savepoint = "" if state.transaction is None else state.transaction.savepoint
        self.rows: list[tuple[Any, ...]] = []
        self.complete, self._busy, self._closed = True, False, False

    def returned(self, result: Any) -> None:
        """The statement ran; its rows are still to be fetched, unless SQLAlchemy has done so itself."""
        try:
            strategy = self._inner = result.cursor_strategy
            fetched = type(strategy).__name__ == FETCHED
            if fetched or result._soft_closed:
                self.add(strategy._rowbuffer if fetched else ())
                self.finish()
                return
            self._state.reading.append(self)
            result.cursor_strategy = self
        except Exception as error:
            self._lose()
            GUARD.caught(error)

    def fail(self, error: BaseException) -> None:
        """The statement raised."""
        with GUARD:
            active, call = recorder.active(), self._taken()
            if active is not None and call is not None:
                Run(active, self._state, self.statement(), call).fail(error)

    def add(self, rows: Sequence[Any]) -> None:
        """Rows that the caller gets."""
        room = ROWS_MAX - len(self.rows)
        if len(rows) > room:
            self.complete, rows = False, list(rows)[:room]
        self.rows += map(kept_row, rows)

    def finish(self, *, complete: bool = True) -> None:
        """Nothing more will come: hand it over, once."""
        call = self._taken()
        if call is not None:
            self.complete &= complete
            recorder.ended(call, _build, self)

    def _taken(self) -> Call | None:
        """The call, for the one who ends it; it will lead here itself, and nothing must be held in a circle."""
        call, self._call = self._call, None
        reading = self._state.reading
        if reading and call is not None and self in reading:
            reading.remove(self)
        return call

    def _lose(self) -> None:
        """A mistake of ours: the call is counted as lost."""
        active, call = recorder.active(), self._taken()
        if active is not None and call is not None:
            active._drop(call)

    def statement(self) -> Statement:
        """What the drain needs where it is not plain."""
        database = self._state.database
        return Statement(
            self.plan, [self.parameters], database.uri, database.system, self.transaction, self.savepoint,
            rows=self.rows if self.complete or self.rows else None, complete=self.complete, peer=database.peer,
            catalogue=database.planner.catalogue,
        )  # fmt: skip


def _build(call: Call) -> Sequence[Access]:
    looking: Looking = call.facts
    if looking.complete and len(looking.rows) == 1:
        database, transaction = looking._state.database, looking.transaction
        access = looking.look.access(database.uri, database.system, looking.parameters, looking.rows[0])
        if access is not None:
            isolation = "" if transaction is None else transaction.isolation or ""
            placed(access, database.peer, transaction, isolation, looking.savepoint)
            return [access]
    return told(call, looking.statement())
