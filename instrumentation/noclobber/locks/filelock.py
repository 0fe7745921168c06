"""filelock's locks, plain and asyncio: taking and giving back, and which locks a strand holds meanwhile.

A lock is named by its file, links resolved, so that all processes of a machine mean the same one. A lock that is taken
again by who holds it already (they count) is one hold, from the first taking to the last giving back. It has no
fencing token; a soft lock with a lifetime has a lease.

Not reached: `ReadWriteLock` and its kin, which are no subclasses of `BaseFileLock`.
"""

import os
from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import file_uri
from noclobber.stores.wrapping import Hook, Wrapping
from noclobber.strands import Strand

__all__ = ["INTEGRATION"]

LIBRARY: Final = "filelock"
SYSTEM: Final = "file"
_WRAPPING: Final = Wrapping(LIBRARY)
_holders: dict[str, Strand] = {}
"""Who holds which file's lock: one hold at a time, whichever object it was taken by."""


def install(library: ModuleType) -> None:
    """Wrap what takes and gives back."""
    hooks: list[Hook] = [
        (_owner(library.BaseFileLock, "acquire"), "acquire", _taking),
        (_owner(library.BaseFileLock, "release"), "release", _giving_back),
    ]
    base = getattr(library, "BaseAsyncFileLock", None)  # since 3.15
    if base is not None:
        hooks += [
            (_owner(base, "acquire"), "acquire", _taking_async),
            (_owner(base, "release"), "release", _giving_back_async),
        ]
    _WRAPPING.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _WRAPPING.restore()
    _holders.clear()


def _owner(kind: type, name: str) -> type:
    """The class that defines a method of `kind`: versions of filelock differ in it."""
    return next((each for each in kind.__mro__ if name in vars(each)), kind)


Begun = tuple[Call, str, Strand]
"""The call, the lock's name, and who holds it or asks for it."""


def _begin(lock: Any, op: Op, *, force: bool = False) -> Begun | None:
    """None where nothing is recorded: also where a holder takes it again, or gives back all but the last time."""
    with GUARD:
        held = bool(lock.is_locked)
        again = held if op is Op.LOCK else not held or (not force and getattr(lock, "lock_counter", 1) > 1)
        if again:
            return None
        name = file_uri(os.path.realpath(lock.lock_file))
        holder = strands.current()
        if op is Op.UNLOCK:
            holder = holder if name in holder.locks else _holders.get(name, holder)
            holding.drop(holder, name)
            if _holders.get(name) is holder:
                del _holders[name]
        call = holding.begin(LIBRARY, op, name, SYSTEM)
        if call is None:
            return None
        call.strand.suppressed += 1
        return call, name, holder
    return None


def _end(begun: Begun, lock: Any, op: Op, error: BaseException | None) -> None:
    with GUARD:
        call, name, holder = begun
        call.strand.suppressed -= 1
        held = bool(lock.is_locked)
        if op is Op.LOCK:
            outcome = Outcome.OK if held and error is None else _refusal(error)
        else:
            outcome = Outcome.ERROR if held else Outcome.OK
        holding.end(call, holding.Fact(op, name, SYSTEM, holder.id, outcome, ttl_ms=_lease_ms(lock)), error)
        if held and (op is Op.UNLOCK or error is None):
            _holders[name] = holder
            holding.take(holder, name)


def _refusal(error: BaseException | None) -> Outcome:
    import filelock

    return Outcome.REJECTED if isinstance(error, filelock.Timeout) else Outcome.ERROR


def _lease_ms(lock: Any) -> int | None:
    """A soft lock's lifetime: others may break it then. Native locks have none."""
    lifetime = getattr(lock, "lifetime", None)
    soft = any("Soft" in each.__name__ for each in type(lock).__mro__)
    return int(lifetime * 1000) if soft and lifetime is not None else None


def _taking(original: Any) -> Any:
    def acquire(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begin(self, Op.LOCK)
        if begun is None:
            return original(self, *args, **kwargs)
        try:
            proxy = original(self, *args, **kwargs)
        except BaseException as error:
            _end(begun, self, Op.LOCK, error)
            raise
        _end(begun, self, Op.LOCK, None)
        return proxy

    return acquire


def _giving_back(original: Any) -> Any:
    def release(self: Any, force: bool = False) -> Any:
        begun = _begin(self, Op.UNLOCK, force=force)
        if begun is None:
            return original(self, force=force)
        try:
            answer = original(self, force=force)
        except BaseException as error:
            _end(begun, self, Op.UNLOCK, error)
            raise
        _end(begun, self, Op.UNLOCK, None)
        return answer

    return release


def _taking_async(original: Any) -> Any:
    async def acquire(self: Any, *args: Any, **kwargs: Any) -> Any:
        begun = _begin(self, Op.LOCK)
        if begun is None:
            return await original(self, *args, **kwargs)
        try:
            proxy = await original(self, *args, **kwargs)
        except BaseException as error:
            _end(begun, self, Op.LOCK, error)
            raise
        _end(begun, self, Op.LOCK, None)
        return proxy

    return acquire


def _giving_back_async(original: Any) -> Any:
    async def release(self: Any, force: bool = False) -> Any:
        begun = _begin(self, Op.UNLOCK, force=force)
        if begun is None:
            return await original(self, force=force)
        try:
            answer = await original(self, force=force)
        except BaseException as error:
            _end(begun, self, Op.UNLOCK, error)
            raise
        _end(begun, self, Op.UNLOCK, None)
        return answer

    return release


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
