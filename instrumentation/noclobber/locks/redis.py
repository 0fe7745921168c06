"""redis-py's own lock: taking and giving back, and which locks a strand holds meanwhile.

The commands inside a lock's methods are part of it and not recorded by themselves. A lock's owner is told as a keyed
print of its token. It has a lease and no fencing token, so nothing here claims that the holder still held it.
"""

import functools
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import Attr, Op, Outcome
from noclobber.guard import GUARD
from noclobber.stores.redis_place import place_of
from noclobber.strands import Strand
from noclobber.versions import encode, fingerprint

__all__ = ["install", "uninstall"]

LIBRARY: Final = "redis"
_originals: dict[tuple[type, str], Any] = {}
_holders: WeakValueDictionary[tuple[str, Any], Strand] = WeakValueDictionary()


def install() -> None:
    """Wrap both lock classes."""
    import redis.asyncio.lock
    import redis.lock

    for name, op in (("acquire", Op.LOCK), ("release", Op.UNLOCK), ("extend", Op.LOCK), ("reacquire", Op.LOCK)):
        _wrap(redis.lock.Lock, name, _sync(op))
        _wrap(redis.asyncio.lock.Lock, name, _async(op))


def uninstall() -> None:
    """Put back what was there."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: type, name: str, make: Any) -> None:
    original = owner.__dict__[name]
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


def _begin(lock: Any, op: Op) -> tuple[Call, str, Any] | None:
    with GUARD:
        active, strand = recorder.recording(), strands.current()
        if active is None:
            return None
        token = getattr(lock.local, "token", None)
        call = active.begin(LIBRARY)
        name = _resource(lock)
        if op is Op.LOCK:
            call.build, call.facts = _build, (op, name, lock.timeout, token, None)
            active.waits(call)
        strand.suppressed += 1
        return call, name, token
    return None


def _finish(begun: tuple[Call, str, Any], lock: Any, op: Op, taken: Any, error: BaseException | None) -> None:
    with GUARD:
        call, name, token = begun
        call.strand.suppressed -= 1
        token = getattr(lock.local, "token", None) or token
        ok = error is None and taken is not False
        if ok or op is Op.UNLOCK:  # a refused release says that it was lost before
            _hold(call.strand, name, token, taken=op is Op.LOCK)
        active = recorder.active()
        if active is not None:
            call.error = error
            active.end(call, _build, (op, name, lock.timeout, token, ok))


def _hold(strand: Strand, name: str, token: Any, *, taken: bool) -> None:
    """Whoever gives a lock back, it is its holder who no longer holds it."""
    before = _holders.pop((name, token), strand)
    before.locks = tuple(each for each in before.locks if each != name)
    if taken:
        strand.locks = (*(each for each in strand.locks if each != name), name)
        _holders[name, token] = strand


def _build(call: Call) -> Sequence[Access]:
    op, name, timeout_s, token, ok = call.facts
    # Whoever was turned away has no token that could be told: it is named by its strand.
    owner = fingerprint(encode(token)) if token is not None else call.strand.id
    attributes: dict[str, AttributeValue] = {Attr.LOCK_OWNER: owner}
    if timeout_s:
        attributes[Attr.LOCK_TTL_MS] = int(timeout_s * 1000)
    outcome = Outcome.OK if ok or ok is None else Outcome.REJECTED
    if call.error is not None:
        import redis

        refused = isinstance(call.error, redis.exceptions.LockError)
        outcome = Outcome.REJECTED if refused else Outcome.UNKNOWN
    return [Access(op, name, "redis", outcome, attributes=attributes, remembered=False)]


def _resource(lock: Any) -> str:
    return place_of(lock.redis.connection_pool).of(lock.name)


def _sync(op: Op) -> Any:
    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            begun = _begin(self, op)
            if begun is None:
                return original(self, *args, **kwargs)
            try:
                taken = original(self, *args, **kwargs)
            except BaseException as error:
                _finish(begun, self, op, None, error)
                raise
            _finish(begun, self, op, taken, None)
            return taken

        return method

    return make


def _async(op: Op) -> Any:
    def make(original: Any) -> Any:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            begun = _begin(self, op)
            if begun is None:
                return await original(self, *args, **kwargs)
            try:
                taken = await original(self, *args, **kwargs)
            except BaseException as error:
                _finish(begun, self, op, None, error)
                raise
            _finish(begun, self, op, taken, None)
            return taken

        return method

    return make
