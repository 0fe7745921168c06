"""How a statement, or a transaction's end, that raised has ended: refused, without effect, or nobody knows.

Drivers name their errors differently, but PostgreSQL's carry an SQLSTATE and SQLite's a message. A connection that
broke, a cancelled task, a client's own timeout say nothing of what the server did.

Source: contract, `noclobber.outcome`; PEP 249 (exceptions); PostgreSQL, appendix A (SQLSTATE).
"""

from typing import Final

from noclobber.contract import Outcome
from noclobber.stores.sql_plan import Verb

__all__ = ["outcome_of"]

REFUSED: Final = frozenset({"40001"})
UNIQUE: Final = frozenset({"23505", "23P01"})


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
