"""Values of one object in this process, whose versions are counted here.

Where all accesses to a framework's object pass its hooks, each of its values counts its versions, so every write knows
what it replaces, as with `noclobber.tracked`. A value that is changed in place keeps its number: no read of it is told
as stale, and no such change is seen.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome, VersionKind
from noclobber.frameworks.seams import is_hidden

__all__ = ["Counted"]


class Counted:
    """The values of one object by name.

    Attributes:
        resource: names the resource of a value.
    """

    __slots__ = ("_has", "_library", "_lock", "_system", "_versions", "resource")

    def __init__(
        self, library: str, system: str, resource: Callable[[str], str], has: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._library, self._system, self._has = library, system, has
        self.resource = resource
        self._versions: dict[str, int] = {}
        self._lock = threading.RLock()  # a version and its value change together; held for one value's access

    def got(self, name: str, get: Callable[[], Any]) -> Any:
        """Get the value of `name`."""
        call = self._begin()
        with self._lock:
            value, version = get(), self._version(name)
        if call is not None:
            recorder.end(call, _build, (self, name, Op.READ, version, None))
        return value

    def set(self, name: str, put: Callable[[], None]) -> None:
        """Set the value of `name`."""
        self._change(Op.WRITE, name, put)

    def deleted(self, name: str, delete: Callable[[], None]) -> None:
        """Take the value of `name` away."""
        self._change(Op.DELETE, name, delete)

    def _begin(self) -> Call | None:
        return None if is_hidden() else recorder.begin(self._library)

    def _version(self, name: str) -> int:
        """Number of the state of `name`: 0 where nothing is, 1 where it was there before anybody set it."""
        return self._versions.get(name, 1) if self._has(name) else 0

    def _change(self, op: Op, name: str, change: Callable[[], None]) -> None:
        call = self._begin()
        before = after = None
        try:
            with self._lock:
                now = self._version(name)
                change()
                if op is Op.WRITE:
                    self._versions[name] = now + 1
                else:
                    self._versions.pop(name, None)  # what follows begins a new life
                before, after = now, now + 1 if op is Op.WRITE else 0
        except BaseException as error:  # the object's own: what it was given was refused
            if call is not None:
                recorder.end(call, _build, (self, name, op, None, None), error)
            raise
        if call is not None:
            recorder.end(call, _build, (self, name, op, before, after))


def _build(call: Call) -> Sequence[Access]:
    counted, name, op, before, after = call.facts
    access = Access(op, counted.resource(name), counted._system, finds_base=op is not Op.READ)
    if before is None:
        access.outcome = Outcome.ERROR
    elif op is Op.READ:
        access.outcome = Outcome.OK if before else Outcome.NOT_FOUND
        access.attributes = {Attr.VERSION_KIND: VersionKind.COUNTER, Attr.VERSION_READ: str(before)}
    else:
        access.attributes = {
            Attr.VERSION_KIND: VersionKind.COUNTER,
            Attr.VERSION_OVERWRITTEN: str(before),
            Attr.VERSION_WRITTEN: str(after),
        }
    return [access]
