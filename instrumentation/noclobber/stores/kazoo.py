"""ZooKeeper by kazoo: nodes with the version that the server counts, transactions, and the lock recipe.

A node's version is 0 when it is made and grows by 1 with each `set`; here it is one more, since 0 is the state in which
there is no node. So each set tells what it replaced, which makes a lost update certain without asking for anything.
A version argument is a guard, and `create` insists on there being no node.

The lock recipe and its read and write forms are locks, by their path; the number of the winning node is a fencing
token. What the recipe does to its own nodes is part of it. A client's servers are named by the first of them in the
alphabet. Not recorded: `get_children`, watches, the `*_async` methods, other recipes' meaning (their nodes are).

Source: kazoo/client.py, kazoo/recipe/lock.py; ZooKeeper documentation (stat structure); capture.md section 2.
"""

import re
from dataclasses import replace
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import strands
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome, VersionKind
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import authority, quoted
from noclobber.stores.revisions import Key, Told, call_sync
from noclobber.stores.wrapping import Hook, Wrapping
from noclobber.strands import Strand

__all__ = ["INTEGRATION"]

LIBRARY: Final = "kazoo"
SYSTEM: Final = "zookeeper"
DEFAULT_PORT: Final = 2181
ABSENT: Final = 0
ANY: Final = -1
NOT_DONE: Final = frozenset(
    {"NoNodeError", "NotEmptyError", "NoChildrenForEphemeralsError", "NoAuthError", "BadArgumentsError", "TypeError",
     "ValueError", "InvalidACLError", "AuthFailedError", "RolledBackError", "RuntimeInconsistency"}
)  # fmt: skip
_NUMBER = re.compile(r"\d+$")
_wrapping = Wrapping(LIBRARY)
_holders: WeakKeyDictionary[Any, tuple[Strand, str]] = WeakKeyDictionary()
"""Lock object -> who holds it, and under which name and token."""


def install(library: ModuleType) -> None:
    """Wrap the client's calls, its transactions and its locks."""
    from kazoo.recipe.lock import Lock

    client, transaction = library.KazooClient, library.TransactionRequest
    hooks: list[Hook] = [
        (client, "get", _reading),
        (client, "exists", _reading),
        (client, "set", _setting),
        (client, "create", _creating),
        (client, "delete", _deleting),
        (transaction, "commit", _committing),
        (Lock, "acquire", _taking),
        (Lock, "release", _giving_back),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()
    _holders.clear()


def _place(client: Any) -> str:
    host, port = min(client.hosts)[:2]
    return f"zookeeper://{authority(str(host), int(port), DEFAULT_PORT)}"


def _key(client: Any, path: Any, *, whole: bool = False) -> Key:
    """The node at `path`, which is below the client's root unless it is told to be `whole`."""
    root = "" if whole else (client.chroot or "")
    segments = [quoted(each) for each in f"{root}/{path}".split("/") if each]
    return Key(f"{_place(client)}/" + "/".join(segments), SYSTEM, VersionKind.COUNTER)


def _number(stat: Any) -> int | None:
    version = getattr(stat, "version", None)
    return version + 1 if isinstance(version, int) else None


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.OK
    name = type(error).__name__
    if name in ("BadVersionError", "NodeExistsError"):
        return Outcome.REJECTED
    return Outcome.ERROR if name in NOT_DONE else Outcome.UNKNOWN


# -- nodes ---------------------------------------------------------------------------------------------------------


def _reading(original: Any) -> Any:
    def read(self: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
        def describe(answer: Any, error: BaseException | None) -> list[Told]:
            told = Told(Op.READ, _key(self, path))
            value, stat = answer if isinstance(answer, tuple) and len(answer) == 2 else (None, answer)
            if type(error).__name__ == "NoNodeError" or (error is None and stat is None):
                return [told.absent()]
            told.outcome, told.read = Outcome.ERROR if error is not None else Outcome.OK, _number(stat)
            return [told.holding(value)]

        return call_sync(LIBRARY, lambda: original(self, path, *args, **kwargs), describe)

    return read


def _set(key: Key, value: Any, version: Any, stat: Any, outcome: Outcome) -> Told:
    told = Told(Op.WRITE, key, outcome, written=_number(stat)).holding(value)
    if told.written is not None:
        told.overwritten = told.written - 1
    told.expected = version + 1 if isinstance(version, int) and version != ANY else None
    return told


def _setting(original: Any) -> Any:
    def set_(self: Any, path: Any, value: Any, version: Any = ANY) -> Any:
        def describe(stat: Any, error: BaseException | None) -> list[Told]:
            return [_set(_key(self, path), value, version, stat, _outcome(error))]

        return call_sync(LIBRARY, lambda: original(self, path, value, version), describe)

    return set_


def _creating(original: Any) -> Any:
    def create(self: Any, path: Any, value: Any = b"", *args: Any, **kwargs: Any) -> Any:
        def describe(answer: Any, error: BaseException | None) -> list[Told]:
            made = answer[0] if isinstance(answer, tuple) else answer
            told = Told(Op.WRITE, _key(self, path if made is None else made), _outcome(error), creates=True)
            told.written = ABSENT + 1
            return [told.holding(value)]

        return call_sync(LIBRARY, lambda: original(self, path, value, *args, **kwargs), describe)

    return create


def _deletion(key: Key, version: Any, outcome: Outcome, *, gone: bool) -> Told:
    told = Told(Op.DELETE, key, Outcome.NO_EFFECT if gone else outcome, written=ABSENT)
    told.expected = version + 1 if isinstance(version, int) and version != ANY else None
    return told


def _deleting(original: Any) -> Any:
    def delete(self: Any, path: Any, version: Any = ANY, recursive: Any = False) -> Any:
        def describe(_: Any, error: BaseException | None) -> list[Told]:
            gone, key = type(error).__name__ == "NoNodeError", _key(self, path)
            keys = [replace(key, resource=f"{key.resource}/"), key] if recursive else [key]
            return [_deletion(each, version, _outcome(error), gone=gone) for each in keys]

        number = 2 if recursive else 1  # all below it, and the node
        return call_sync(LIBRARY, lambda: original(self, path, version, recursive), describe, number)

    return delete


# -- transactions --------------------------------------------------------------------------------------------------


def _committing(original: Any) -> Any:
    def commit(self: Any) -> Any:
        operations = []
        with GUARD:
            operations = [each for each in self.operations if type(each).__name__ in ("Create", "Delete", "SetData")]

        def describe(answers: Any, error: BaseException | None) -> list[Told]:
            answers = dict(zip(map(id, self.operations), answers or (), strict=False))
            refused = any(
                _outcome(each) is Outcome.REJECTED for each in answers.values() if isinstance(each, Exception)
            )
            return [_of_transaction(self.client, each, answers.get(id(each)), error, refused) for each in operations]

        return call_sync(LIBRARY, lambda: original(self), describe, len(operations))

    return commit


def _of_transaction(client: Any, operation: Any, answer: Any, error: BaseException | None, refused: bool) -> Told:
    """One operation of a transaction, which applies with all others or not at all."""
    failed = answer if isinstance(answer, BaseException) else error
    outcome = _outcome(failed)
    if refused and outcome is Outcome.ERROR:
        outcome = Outcome.REJECTED  # by the version that another operation of it insisted on
    key = _key(client, operation.path, whole=True)
    match type(operation).__name__:
        case "SetData":
            return _set(key, operation.data, operation.version, None if failed else answer, outcome)
        case "Delete":
            return _deletion(key, operation.version, outcome, gone=False)
    made = key if failed or not isinstance(answer, str) else _key(client, answer)
    return Told(Op.WRITE, made, outcome, written=ABSENT + 1, creates=True).holding(operation.data)


# -- locks ---------------------------------------------------------------------------------------------------------


def _taking(original: Any) -> Any:
    def acquire(self: Any, *args: Any, **kwargs: Any) -> Any:
        call, name = None, ""
        with GUARD:
            if not self.is_acquired:
                name = _key(self.client, self.path).resource
                call = holding.begin(LIBRARY, Op.LOCK, name, SYSTEM)
                if call is not None:
                    call.strand.suppressed += 1
        if call is None:
            return original(self, *args, **kwargs)
        taken, failed = False, None
        try:
            taken = original(self, *args, **kwargs)
            return taken
        except BaseException as error:
            failed = error
            raise
        finally:
            with GUARD:
                call.strand.suppressed -= 1
                token = _token(self) if taken else None
                outcome = Outcome.OK if taken else Outcome.REJECTED
                if failed is not None and type(failed).__name__ != "LockTimeout":
                    outcome = Outcome.UNKNOWN
                fact = holding.Fact(Op.LOCK, name, SYSTEM, call.strand.id, outcome, token=token, shared=_shared(self))
                holding.end(call, fact, failed)
                if taken:
                    held = name if token is None else f"{name}#{token}"
                    _holders[self] = call.strand, held
                    holding.take(call.strand, held)

    return acquire


def _giving_back(original: Any) -> Any:
    def release(self: Any) -> Any:
        call, holder, token = None, None, None
        with GUARD:
            if self.is_acquired:
                name, token = _key(self.client, self.path).resource, _token(self)
                holder, held = _holders.pop(self, (strands.current(), name))
                holding.drop(holder, held)
                call = holding.begin(LIBRARY, Op.UNLOCK, name, SYSTEM)
                if call is not None:
                    call.strand.suppressed += 1
        if call is None or holder is None:
            return original(self)
        failed = None
        try:
            return original(self)
        except BaseException as error:
            failed = error
            raise
        finally:
            with GUARD:
                call.strand.suppressed -= 1
                outcome = Outcome.OK if failed is None else Outcome.UNKNOWN
                name = _key(self.client, self.path).resource
                fact = holding.Fact(Op.UNLOCK, name, SYSTEM, holder.id, outcome, token=token, shared=_shared(self))
                holding.end(call, fact, failed)

    return release


def _shared(lock: Any) -> bool:
    return type(lock).__name__ == "ReadLock"


def _token(lock: Any) -> int | None:
    """The number that the server gave to the holder's node: it grows with each taking."""
    found = _NUMBER.search(lock.node or "")
    return int(found.group()) if found else None


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
