"""Transactions of MongoDB's sessions: where they begin and end, and which calls belong to them.

A call belongs to the transaction of the session that it is given, or that is bound around it. Starting one sends
nothing; what it reads and writes is one unit. A commit whose answer is lost, or whose error says that nobody knows, is
`unknown`, and may be followed by another try. The server may end a transaction by itself: the call that is told so
failed, and the driver's own abort follows.

Which isolation a transaction really has depends on read and write concerns and on the deployment: none is told.

Source: pymongo/synchronous/client_session.py; MongoDB manual (transactions).
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores import mongodb
from noclobber.stores.deeds import Deed, Note
from noclobber.stores.wrapping import Hook

__all__ = ["hooks", "in_transaction"]

LIBRARY: Final = "pymongo"
_numbers = itertools.count(1)


def hooks(plain: type, coroutines: type) -> list[Hook]:
    """What is wrapped of both kinds of sessions."""
    return [
        (plain, "start_transaction", _starting),
        (plain, "commit_transaction", _ending(Op.COMMIT)),
        (plain, "abort_transaction", _ending(Op.ABORT)),
        (coroutines, "start_transaction", _starting),
        (coroutines, "commit_transaction", _ending_async(Op.COMMIT)),
        (coroutines, "abort_transaction", _ending_async(Op.ABORT)),
    ]


def in_transaction(note: Note) -> Note:
    """`note`, whose deeds name the transaction that they are part of."""

    def noting(owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        deed = note(owner, args, kwargs)
        session = kwargs.get("session") or getattr(owner, "_session", None) or _bound(owner)
        if deed is None or session is None or not getattr(session, "in_transaction", False):
            return deed
        return replace(deed, describe=_Within(deed.describe, _transaction(session)))

    return noting


class _Within:
    """What makes a deed's accesses, as part of a transaction."""

    __slots__ = ("_describe", "_transaction")

    def __init__(self, describe: Any, transaction: str) -> None:
        self._describe, self._transaction = describe, transaction

    def __call__(self, deed: Deed) -> list[Access]:
        accesses: list[Access] = self._describe(deed)
        for access in accesses:
            access.attributes[Attr.TXN_ID] = self._transaction
        return accesses


def _bound(owner: Any) -> Any:
    """The session that is bound around a call, in versions that bind them."""
    kind = "asynchronous" if type(owner).__module__.startswith("pymongo.asynchronous") else "synchronous"
    module = sys.modules.get(f"pymongo.{kind}.client_session")
    variable = getattr(module, "_SESSION", None)
    return variable.get() if variable is not None else None


def _transaction(session: Any) -> str:
    known = session.__dict__.get("_noclobber_transaction")
    if known is None:  # it began before this was installed
        known = session.__dict__["_noclobber_transaction"] = _new()
    return str(known)


def _new() -> str:
    return f"{strands.process_id()}-mongodb-{next(_numbers)}"


def _begin(session: Any, op: Op) -> tuple[Call, Op, str, str] | None:
    with GUARD:
        active, strand = recorder.active(), strands.current()
        if active is None or strand.suppressed:
            return None
        if op is Op.BEGIN:
            session.__dict__["_noclobber_transaction"] = _new()
        call = active.begin(LIBRARY)
        return call, op, mongodb.server_of(session.client), _transaction(session)
    return None


def _end(begun: tuple[Call, Op, str, str], error: BaseException | None) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None:
            begun[0].error = error
            active.end(begun[0], _build, begun)


def _build(call: Call) -> Sequence[Access]:
    _, op, place, transaction = call.facts
    return [Access(op, place, mongodb.SYSTEM, _outcome(op, call.error), attributes={Attr.TXN_ID: transaction})]


def _outcome(op: Op, error: BaseException | None) -> Outcome:
    """How an end ended: an abort that fails is done by the server itself, later."""
    if error is None or op is Op.ABORT:
        return Outcome.OK
    labelled = getattr(error, "has_error_label", lambda _label: False)
    if type(error).__name__ == "OperationFailure" and not labelled("UnknownTransactionCommitResult"):
        return Outcome.REJECTED if labelled("TransientTransactionError") else Outcome.ERROR
    return Outcome.ERROR if type(error).__name__ == "InvalidOperation" else Outcome.UNKNOWN


def _starting(original: Any) -> Any:
    def start_transaction(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = original(self, *args, **kwargs)
        begun = _begin(self, Op.BEGIN)
        if begun is not None:
            _end(begun, None)
        return started

    return start_transaction


def _ending(op: Op) -> Any:
    def make(original: Any) -> Any:
        def end(self: Any) -> Any:
            begun = _begin(self, op)
            if begun is None:
                return original(self)
            try:
                answer = original(self)
            except BaseException as error:
                _end(begun, error)
                raise
            _end(begun, None)
            return answer

        return end

    return make


def _ending_async(op: Op) -> Any:
    def make(original: Any) -> Any:
        async def end(self: Any) -> Any:
            begun = _begin(self, op)
            if begun is None:
                return await original(self)
            try:
                answer = await original(self)
            except BaseException as error:
                _end(begun, error)
                raise
            _end(begun, None)
            return answer

        return end

    return make
