"""How a statement, or a transaction's end, that raised has ended: refused, without effect, or nobody knows.

Drivers name their errors differently, but PostgreSQL's carry an SQLSTATE, MySQL's a number and SQLite's a
message. A connection that broke, a cancelled task, a client's own timeout say nothing of what the server did.

Source: contract, `noclobber.outcome`; PEP 249 (exceptions); PostgreSQL, appendix A (SQLSTATE); MySQL 8.4 and MariaDB
10.11, error references.
"""

from typing import Final

from noclobber.contract import Outcome
from noclobber.stores.sql_plan import Verb

__all__ = ["dooms", "outcome_of"]

REFUSED: Final = frozenset({"40001"})
UNIQUE: Final = frozenset({"23505", "23P01"})
MYSQL_REFUSED: Final = frozenset({1020})
MYSQL_UNIQUE: Final = frozenset({1062, 1586})
MYSQL_LOST: Final = frozenset({1053, 1927, 2006, 2013, 2014, 2055, 4031})
"""Numbers of MySQL's errors: changed since the snapshot; a key that is there; a connection that is not any more."""
_LIBPQ: Final = frozenset({"psycopg", "psycopg.errors"})
"""Whose errors without an SQLSTATE come from the client: it can't reach the server any more."""
_MYSQL: Final = frozenset({"pymysql.err", "asyncmy.errors"})


def outcome_of(error: BaseException, verb: Verb) -> tuple[Outcome, bool]:
    """How a call that raised ended, and whether a unique key refused it.

    A connection that broke, a cancelled task, a client's own timeout: the server may have applied it.
    """
    original = _original(error)
    number = original.args[0] if original.args and type(original).__module__ in _MYSQL else None
    state = _state(original)
    if number is not None:
        state = None  # MySQL's own number says more: 40001 is a deadlock there, which no guard has found
    if state in REFUSED or number in MYSQL_REFUSED:
        return Outcome.REJECTED, False
    if state in UNIQUE or number in MYSQL_UNIQUE or "UNIQUE constraint failed" in str(original):
        return (Outcome.REJECTED if verb is Verb.INSERT else Outcome.ERROR), verb is Verb.INSERT
    lost = (
        getattr(error, "connection_invalidated", False)
        or number in MYSQL_LOST
        or (isinstance(state, str) and state.startswith(("08", "57P")))
        or (state is None and type(original).__name__ == "OperationalError" and type(original).__module__ in _LIBPQ)
    )
    if lost or isinstance(error, TimeoutError) or not isinstance(error, Exception):
        return (Outcome.ERROR if verb is Verb.SELECT else Outcome.UNKNOWN), False
    return Outcome.ERROR, False


def dooms(error: BaseException) -> bool:
    """Whether PostgreSQL itself refused the statement, and with that gave up its transaction, or its savepoint.

    What the client found wrong before it sent anything has no SQLSTATE, and leaves the transaction as it was.
    """
    return _state(_original(error)) is not None


def _original(error: BaseException) -> BaseException:
    return getattr(error, "orig", None) or error


def _state(original: BaseException) -> str | None:
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
