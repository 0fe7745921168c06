"""python-dynamodb-lock's locks in a DynamoDB table: taking, renewing and giving back, and who holds which meanwhile.

A lock is named as the item that it is, and what the library does to that item is part of it. Its lease is renewed by a
thread of the library, for whoever holds it; each renewal is told, so that a lease that ran out is known as such. The
holder is told as one object of the library; its own record number is no fencing token, for nothing grows in it.

Locks that a program makes of conditional writes itself are told as what they are: guarded writes of an item.

Source: python-dynamodb-lock 0.9.1 (python_dynamodb_lock.py); contract 2.1.
"""

from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import recorder, strands
from noclobber.access import Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import quoted
from noclobber.stores.wrapping import Wrapping
from noclobber.strands import Strand

__all__ = ["INTEGRATION"]

LIBRARY: Final = "python_dynamodb_lock"
SYSTEM: Final = "aws.dynamodb"
RELEASED: Final = "RELEASED"
_wrapping = Wrapping("python-dynamodb-lock")
_holders: "WeakKeyDictionary[Any, tuple[Strand, str]]" = WeakKeyDictionary()
"""Who took a lock, and its name."""


def install(library: ModuleType) -> None:
    """Wrap what takes, renews and gives back."""
    client = library.DynamoDBLockClient
    _wrapping.wrap(
        [(client, "acquire_lock", _taking), (client, "_send_heartbeat", _renewing), (client, "release_lock", _giving)]
    )


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _name(client: Any, key: Any, sort: Any) -> str:
    region = client._dynamodb_table.meta.client.meta.region_name or ""
    key_of = sorted(((str(client._partition_key_name), key), (str(client._sort_key_name), sort)))
    item = ",".join(f"{quoted(name)}={quoted(str(value))}" for name, value in key_of)
    return f"dynamodb://{quoted(region)}/{quoted(str(client._table_name))}/{item}"


def _begin(op: Op, name: str) -> Call | None:
    call = holding.begin(LIBRARY, op, name, SYSTEM)
    if call is not None:
        call.strand.suppressed += 1
    return call


def _fact(op: Op, name: str, client: Any, owner: str, outcome: Outcome) -> holding.Fact:
    lease = int(client._lease_duration.total_seconds() * 1000)
    return holding.Fact(op, name, SYSTEM, owner, outcome, ttl_ms=lease)


def _taking(original: Any) -> Any:
    def acquire_lock(self: Any, partition_key: Any, *args: Any, **kwargs: Any) -> Any:
        call, name, lock, failed = None, "", None, None
        with GUARD:
            sort = args[0] if args else kwargs.get("sort_key", self._DEFAULT_SORT_KEY_VALUE)
            name = _name(self, partition_key, sort)
            call = _begin(Op.LOCK, name)
        if call is None:
            return original(self, partition_key, *args, **kwargs)
        try:
            lock = original(self, partition_key, *args, **kwargs)
            return lock
        except BaseException as error:
            failed = error
            raise
        finally:
            with GUARD:
                call.strand.suppressed -= 1
                owner = call.strand.id if lock is None else _owner(lock)
                holding.end(call, _fact(Op.LOCK, name, self, owner, _refusal(failed)), failed)
                if lock is not None:
                    _holders[lock] = call.strand, name
                    holding.take(call.strand, name)

    return acquire_lock


def _owner(lock: Any) -> str:
    return f"{strands.process_id()}-lock-{id(lock)}"


def _refusal(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.OK
    refused = getattr(error, "code", None) == "ACQUIRE_TIMEOUT"
    return Outcome.REJECTED if refused else Outcome.UNKNOWN


def _renewing(original: Any) -> Any:
    def send_heartbeat(self: Any, lock: Any, *args: Any, **kwargs: Any) -> Any:
        held, call, before = _holders.get(lock), None, None
        with GUARD:
            before = lock.record_version_number
            call = None if held is None or recorder.active() is None else _begin(Op.LOCK, held[1])
        if call is None or held is None:
            return original(self, lock, *args, **kwargs)
        try:
            return original(self, lock, *args, **kwargs)
        finally:
            with GUARD:
                call.strand.suppressed -= 1
                renewed = lock.record_version_number != before
                outcome = Outcome.OK if renewed else Outcome.REJECTED
                holding.end(call, _fact(Op.LOCK, held[1], self, _owner(lock), outcome))

    return send_heartbeat


def _giving(original: Any) -> Any:
    def release_lock(self: Any, lock: Any, *args: Any, **kwargs: Any) -> Any:
        held, call, failed = _holders.pop(lock, None), None, None
        with GUARD:
            if held is not None:
                holding.drop(*held)
                call = _begin(Op.UNLOCK, held[1])
        if call is None or held is None:
            return original(self, lock, *args, **kwargs)
        try:
            return original(self, lock, *args, **kwargs)
        except BaseException as error:
            failed = error
            raise
        finally:
            with GUARD:
                call.strand.suppressed -= 1
                stolen = getattr(failed, "code", None) == "LOCK_STOLEN" or lock.status != RELEASED
                outcome = Outcome.REJECTED if stolen else Outcome.OK if failed is None else Outcome.UNKNOWN
                holding.end(call, _fact(Op.UNLOCK, held[1], self, _owner(lock), outcome), failed)

    return release_lock


INTEGRATION: Final = Integration("python-dynamodb-lock", install, uninstall)
