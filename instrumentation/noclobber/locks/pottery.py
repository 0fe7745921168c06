"""pottery's Redlock: one lock over several servers, held by whoever most of them say.

It is one lock with one name, that of all its servers and its key: a strand holds it from the return of `acquire` to
its giving back, whichever of the servers agreed. What it asks each of them, in threads and tasks of its own, is part
of that and not recorded. `synchronize` and the `with` statement pass the same methods under their private names.

Source: pottery/redlock.py and pottery/aioredlock.py of pottery 3.0; Redis documentation, "Distributed Locks with
Redis".
"""

from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op
from noclobber.locks.redis import Make, methods, methods_async
from noclobber.resources import quoted
from noclobber.stores.redis_place import home_of, place_of
from noclobber.stores.wrapping import Hook, Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pottery"
_METHODS: Final = (
    ("acquire", Op.LOCK), ("_{0}__acquire", Op.LOCK), ("extend", Op.LOCK),
    ("release", Op.UNLOCK), ("_{0}__release", Op.UNLOCK),
)  # fmt: skip
_ASKED: Final = ("_{0}__acquire_master", "_{0}__acquired_master", "_{0}__extend_master", "_{0}__release_master")
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap both classes."""
    with knowing(LIBRARY):
        from pottery import AIORedlock, Redlock

        hooks: list[Hook] = [(Redlock, name.format("Redlock"), methods(REDLOCK, op)) for name, op in _METHODS]
        hooks += [(AIORedlock, name.format("AIORedlock"), methods_async(REDLOCK, op)) for name, op in _METHODS]
        hooks += [(Redlock, name.format("Redlock"), _unrecorded) for name in _ASKED]
        hooks += [(AIORedlock, name.format("AIORedlock"), _unrecorded_async) for name in _ASKED]
        _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _name(lock: Any) -> str:
    servers = sorted({place_of(home_of(each)).uri.removeprefix("redis://").rstrip("/") for each in lock.masters})
    return f"redlock://{','.join(quoted(each) for each in servers)}/{quoted(lock.key)}"


REDLOCK: Final = Make(
    LIBRARY,
    name=_name,
    token=lambda lock: lock._uuid or None,
    ttl_s=lambda lock: lock.auto_release_time,
    refusals=frozenset({"ReleaseUnlockedLock", "ExtendUnlockedLock", "TooManyExtensions"}),
)


def _unrecorded(original: Any) -> Any:
    """What one server is asked, in a thread that the lock started."""

    def ask(self: Any, master: Any) -> Any:
        strand = strands.current()
        strand.suppressed += 1
        try:
            return original(self, master)
        finally:
            strand.suppressed -= 1

    return ask


def _unrecorded_async(original: Any) -> Any:
    """The same in a task."""

    async def ask(self: Any, master: Any) -> Any:
        strand = strands.current()
        strand.suppressed += 1
        try:
            return await original(self, master)
        finally:
            strand.suppressed -= 1

    return ask


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
