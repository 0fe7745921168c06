"""One connection of a plain driver (sqlite3, psycopg, asyncpg): its statements and the transaction that they run in.

The drivers differ in how a statement is called and how rows come back; what a statement is, and what `BEGIN`,
`SAVEPOINT` or `ROLLBACK TO` do to a transaction, is told by their texts and is the same for all. A connection's own
word for whether a transaction is open is trusted more than what was seen: parts of one may have been hidden.

A driver that serves a library which is recorded itself says nothing: SQLAlchemy covers the calls that it makes
(`COVERED`), LangGraph's savers and stores enclose theirs (`scope.Enclosed`).

Source: contract 2.1 (`begin`, `commit`, `abort`), 2.3; capture.md, section 3.
"""

import contextvars
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Call
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores.sql_database import Database
from noclobber.stores.sql_locks import GivenBack, end_all
from noclobber.stores.sql_outcomes import outcome_of
from noclobber.stores.sql_plan import Verb
from noclobber.stores.sql_run import PARAMETERS_MAX, WRITES, Run, State, bare, build_boundary, statement_of
from noclobber.stores.sql_statement import count
from noclobber.stores.sql_text import Control, ControlVerb
from noclobber.stores.sql_units import Transaction, new_transaction
from noclobber.stores.sql_values import kept_all

__all__ = ["COVERED", "SITE", "Batch", "DriverRun", "Session", "Steering", "recording"]

COVERED: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("noclobber_covered", default=False)
"""Whether a library above the driver records the running call."""
SITE: Final[contextvars.ContextVar[tuple[CodeType, int] | None]] = contextvars.ContextVar(
    "noclobber_site", default=None
)
"""Where in the program a call was made that runs in a driver's own thread."""
_LIMIT: Final = re.compile(
    r"\bLIMIT\s+(\d+)(?:\s+FOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|KEY\s+SHARE|SHARE)(?:\s+(?:SKIP\s+LOCKED|NOWAIT))?)?\s*;?\s*$",
    re.IGNORECASE,
)
"""The rows to which the end of a statement limits them."""


def recording() -> "recorder.Recorder | None":
    """The recorder, if the running call of a driver is to be recorded."""
    return None if COVERED.get() else recorder.recording()


@lru_cache(2048)
def limit_of(text: str) -> int | None:
    """The number of rows to which the end of a statement limits them; None where it does not say."""
    found = _LIMIT.search(text)
    return None if found is None else int(found[1])


class Session(State):
    """What is known of one connection.

    Attributes:
        library: the driver, for the span's scope. isolation: of its next transaction, None where not known.
    """

    __slots__ = ("isolation", "library")

    def __init__(self, library: str, database: Database, isolation: str | None = None) -> None:
        super().__init__(database)
        self.library, self.isolation = library, isolation

    def start(
        self,
        active: recorder.Recorder,
        text: str,
        parameters: Sequence[Any],
        *,
        inside: bool | None,
        many: bool = False,
    ) -> "DriverRun | Steering | None":
        """A statement is called; None where it touches nothing that can be named.

        Args:
            active: the recorder.
            text: of the statement, with the driver's placeholders.
            parameters: one set for each time that it runs.
            inside: whether the connection says that it is in a transaction, None where that says nothing.
            many: whether more sets may be learnt until it returns.
        """
        plan = self.database.planner.plan(text)
        self.settle()
        if inside is False:
            self.find_out(inside=False)
        if plan.control is not None:
            return Steering(active, self, plan.control, begins=_begins(text))
        if plan.verb is Verb.NOTHING:
            return None
        if inside:  # the end of a transaction of which nothing was seen is none of its accesses
            self.find_out(inside=True)
        if plan.lock is not None and plan.lock.everything:
            self.locks.close(active, self.library)
            return None
        statement = statement_of(self, plan, parameters)
        number = count(statement)
        if not number or (plan.lock is not None and self.locks.is_nested(statement)):
            return None
        return DriverRun(active, self, statement, self.call(active, number), text, many=many)

    def call(self, active: recorder.Recorder, number: int) -> Call:
        """Note that a call begins which is `number` accesses."""
        call = active.begin(self.library, number)
        if call.site is None:
            call.site = SITE.get()
        return call

    def steer(self, active: recorder.Recorder, text: str) -> "Steering | None":
        """A driver's own statement is sent; None where it does not steer the transaction."""
        plan = self.database.planner.plan(text)
        if plan.control is None:
            return None
        self.settle()
        return Steering(active, self, plan.control, begins=_begins(text))

    def find_out(self, *, inside: bool, ended: Op | None = None) -> None:
        """Believe the connection: it is `inside` a transaction, or not.

        Args:
            inside: what it says.
            ended: how the transaction that was known ended, if it is over; None: nobody saw, so nothing is said.
        """
        if inside:
            if self.transaction is None:
                self.transaction = new_transaction(self.isolation)
            return
        active = recorder.active()
        if self.transaction is not None and ended is not None and active is not None:
            verb = ControlVerb.COMMIT if ended is Op.COMMIT else ControlVerb.ROLLBACK
            Steering(active, self, Control(verb)).returned()
        if self.transaction is not None:
            self.locks.forget(self.transaction.id)
        self.transaction = None


def _begins(text: str) -> bool:
    """Whether a statement that names an isolation level begins a transaction with it."""
    return text.lstrip()[:3].upper() in ("BEG", "STA")


class DriverRun(Run):
    """One statement of a driver under way."""

    __slots__ = ("_many", "_text")

    def __init__(
        self, active: recorder.Recorder, session: Session, statement: Any, call: Call, text: str, *, many: bool
    ) -> None:
        super().__init__(active, session, statement, call)
        self._text, self._many = text, many

    @property
    def gives_rows(self) -> bool:
        """Whether rows come back that name something."""
        plan = self._statement.plan
        return plan.verb is Verb.SELECT or plan.returning is not None or (plan.lock is not None and plan.lock.answers)

    @property
    def has_all(self) -> bool:
        """Whether the rows seen so far, one at least, are all that the statement can give.

        A key that is only guessed is taken at its word: who fetches one row by it wants no other, and a read that
        stayed open until the next statement would hide what came in between.
        """
        plan = self._statement.plan
        one = plan.keys is not None and len(plan.keys) == 1
        return one or plan.counted or plan.lock is not None or limit_of(self._text) == len(self.rows)

    def learn(self, parameters: Sequence[Any]) -> None:
        """All parameter sets of an executemany are known."""
        if self._many:
            again = statement_of(self._state, self._statement.plan, parameters)
            self._statement.plan, self._statement.parameters = again.plan, again.parameters

    def grow(self) -> None:
        """It turned out to be more accesses than it was called with."""
        more = count(self._statement) - self._call.count
        if more > 0:
            self._active.more(self._call, more)

    @property
    def locks(self) -> bool:
        """Whether it is only a lock that is taken or given back, by an answer of one value."""
        return self._statement.plan.lock is not None

    def returned(self, rowcount: int = -1, inserted: Any = None, names: Callable[[], Iterable[str]] = tuple) -> None:
        """The statement ran.

        Args:
            rowcount: rows that it changed, -1 where not known.
            inserted: the key that the database gave to the one row it inserted, None where not known.
            names: gives those of the columns that come back, where the text does not say them.
        """
        statement = self._statement
        plan = statement.plan
        if plan.verb in WRITES:
            if statement.transaction is not None:
                statement.transaction.wrote = True
            statement.rowcount = rowcount
            one = len(statement.parameters) == len(plan.insert_rows) == len(plan.table.key) == 1
            if inserted and one and not set(plan.table.key) <= set(plan.insert_columns):
                statement.inserted = [(inserted,)]
        source = plan.returning if plan.verb is not Verb.SELECT else plan.sources[0]
        if source is not None and source.star:
            fold = self._state.database.planner.fold
            statement.names = tuple(fold(name, quoted=True) for name in names())

    def is_partial(self) -> None:
        """Something of it can't be known."""
        self._statement.complete = False
        self._statement.attributes["noclobber.partial"] = True

    def listen(self) -> None:
        """Its rows are still to be fetched."""
        self._state.reading.append(self)

    def _may_be_more(self) -> bool:
        return self._many or super()._may_be_more()


class Batch:
    """The parameter sets of an executemany, noted as the driver asks for them; the call begins with the first.

    They may come from a generator, of which nobody else may ask a set before its time. A batch that turns out to be
    empty is no call.
    """

    __slots__ = ("_active", "_inside", "_kept", "_parameters", "_run", "_session", "_text")

    def __init__(
        self,
        active: recorder.Recorder,
        session: Session,
        text: str,
        parameters: Iterable[Any],
        *,
        inside: bool | None,
    ) -> None:
        self._active, self._session, self._text, self._parameters = active, session, text, parameters
        self._inside = inside
        self._kept: list[Any] = []
        self._run: DriverRun | Steering | None = None

    def __iter__(self) -> Iterator[Any]:
        for each in self._parameters:
            with GUARD:
                self._note(each)
            yield each

    def _note(self, parameters: Any) -> None:
        if not self._kept:
            inside = self._inside or None  # what was not open at the call may have begun since
            self._run = self._session.start(self._active, self._text, [parameters], inside=inside, many=True)
        if len(self._kept) <= PARAMETERS_MAX:
            self._kept.append(kept_all(parameters))

    def returned(self, rowcount: int, *, partial: bool = False) -> None:
        """All sets have run, and changed `rowcount` rows; `partial`: or will, and nobody knows yet."""
        run = self._run
        if isinstance(run, DriverRun):
            run.learn(self._kept)
            run.returned(rowcount)
            if partial or run.gives_rows:  # rows of a batch pass no hook
                run.is_partial()
            run.finish()
        elif run is not None:
            run.returned()

    def fail(self, error: BaseException, *, in_part: bool = False) -> None:
        """One of the sets was refused; `in_part`: others may have been done before."""
        in_part |= len(self._kept) > PARAMETERS_MAX
        if isinstance(self._run, DriverRun):
            self._run.learn(self._kept)
            self._run.grow()
        if self._run is not None:
            self._run.fail(error, in_part=in_part)


class Steering:
    """A statement that steers its transaction, under way: begin, commit, rollback, savepoints, isolation."""

    __slots__ = ("_active", "_call", "_control", "_given", "_op", "_path", "_session", "_statement")

    def __init__(self, active: recorder.Recorder, session: Session, control: Control, *, begins: bool = False) -> None:
        self._active, self._session, self._control = active, session, control
        self._path = ""
        self._op = self._op_of(control, begins=begins)
        self._statement = bare(session)
        self._call = None if self._op is None else session.call(active, 1)
        self._given: list[GivenBack] = []
        if self._transaction is not None and self._op in (Op.COMMIT, Op.ABORT):
            self._given = session.locks.end_of(active, session.library, self._transaction.id, self._path)

    @property
    def begins(self) -> bool:
        """Whether it is a transaction's begin."""
        return self._op is Op.BEGIN

    @property
    def ends(self) -> bool:
        """Whether it is a transaction's end."""
        return self._control.verb in (ControlVerb.COMMIT, ControlVerb.ROLLBACK)

    @property
    def _transaction(self) -> Transaction | None:
        return self._statement.transaction

    def _op_of(self, control: Control, *, begins: bool) -> Op | None:
        session = self._session
        transaction, verb = session.transaction, control.verb
        if transaction is None:
            if verb is not ControlVerb.BEGIN and not (verb is ControlVerb.ISOLATION and begins):
                return None
            session.transaction = new_transaction(session.isolation)
            return Op.BEGIN
        match verb:
            case ControlVerb.COMMIT:  # PostgreSQL answers that of a doomed transaction with ROLLBACK
                return Op.ABORT if transaction.failed else Op.COMMIT
            case ControlVerb.ROLLBACK:
                return Op.ABORT
            case ControlVerb.RELEASE | ControlVerb.ROLLBACK_TO:
                self._path = transaction.find(control.name) or ""
                return Op.ABORT if verb is ControlVerb.ROLLBACK_TO and self._path else None
        return None

    def returned(self) -> None:
        """It ran."""
        transaction, control, session = self._transaction, self._control, self._session
        match control.verb:
            case ControlVerb.READ_UNCOMMITTED:
                session.isolation = "read_uncommitted"
            case ControlVerb.COMMITTED_ONLY:
                session.isolation = "read_committed"
            case ControlVerb.ISOLATION if transaction is not None:
                transaction.isolation = control.name
            case ControlVerb.SAVEPOINT if transaction is not None:
                transaction.save(control.name)
            case ControlVerb.RELEASE | ControlVerb.ROLLBACK_TO if transaction is not None:
                back = control.verb is ControlVerb.ROLLBACK_TO
                transaction.close(self._path, keep=back)
                transaction.failed &= not back
        self._end(Outcome.OK, None)

    def fail(self, error: BaseException, *, in_part: bool = False) -> None:
        """It raised: the transaction is over, or doomed, or never began; `in_part`: or what came after it did."""
        if self._transaction is not None and self._statement.system == "postgresql":
            self._transaction.failed = True
        if self._op is Op.BEGIN:
            self._session.transaction = None
        self._end(Outcome.UNKNOWN if in_part else outcome_of(error, Verb.UNKNOWN)[0], error)

    def undo(self) -> None:
        """Nothing came of it, and the transaction goes on (SQLite refuses a commit while others read)."""
        call = self._call
        if call is None:
            return
        if call.strand.seq == call.seq:
            call.strand.seq -= 1
        else:
            self._active._drop(call)

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        if self.ends:
            self._session.transaction = None
        if self._call is not None:
            self._call.error = error
            self._active.end(self._call, build_boundary, (self._op, self._statement, outcome, self._path))
        end_all(self._active, self._given)
