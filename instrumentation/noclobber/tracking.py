"""Objects that agents share inside one process: `noclobber.tracked(dict, name=...)`.

A tracked dictionary counts the versions of each key. Since all accesses go through it, every write knows what it
replaces, so findings on it are certain. It is a `MutableMapping` around the object given, which stays as it is; what is
one step of a dictionary (`pop`, `setdefault`) is one step here.

A cache (cachetools) forgets keys by itself, which nobody sees. So its versions come from one counter, which never gives
a number twice (`ordered`), a miss proves nothing, and what was written where nothing is has replaced nobody's state.
"""

import threading
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final, TypeVar

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.resources import uri

__all__ = ["TrackedDict", "tracked"]

K = TypeVar("K")
V = TypeVar("V")
_MISSING: Final[Any] = object()
FORGOTTEN_MAX: Final = 1024
"""Keys that a cache may have forgotten before their numbers are."""


def tracked(target: MutableMapping[K, V], *, name: str) -> "TrackedDict[K, V]":
    """`target` with its reads and writes recorded, each key a resource `mem://{process}/{name}/{key}`.

    Args:
        target: a dictionary, or anything that behaves like one.
        name: what people call it; one name is one object in a process.
    """
    return TrackedDict(target, name)


class TrackedDict(MutableMapping[K, V]):
    """A mapping whose accesses are recorded; see `tracked`."""

    def __init__(self, target: MutableMapping[K, V], name: str) -> None:
        self._target = target
        self._name = name
        self._versions: dict[K, int] = {}
        self._forgets = any(each.__module__.partition(".")[0] == "cachetools" for each in type(target).__mro__)
        self._last = 0
        self._lock = threading.RLock()  # a version and its value change together; held for one dictionary operation

    def __getitem__(self, key: K) -> V:
        return self._recorded(self._get, key)  # type: ignore[no-any-return]  # a V

    def __setitem__(self, key: K, value: V) -> None:
        self._recorded(self._set, key, value)

    def __delitem__(self, key: K) -> None:
        self._recorded(self._pop, key)

    def pop(self, key: K, *default: Any) -> Any:
        """Take a key out; `default`, else KeyError, where it is not there."""
        return self._recorded(self._pop, key, *default)

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The value of `key`, which becomes `default` where it is not there."""
        return self._recorded(self._default, key, default)

    def __iter__(self) -> Iterator[K]:
        return iter(self._target)

    def __len__(self) -> int:
        return len(self._target)

    def __contains__(self, key: object) -> bool:
        return self._recorded(self._has, key)  # type: ignore[no-any-return]  # a bool

    def __repr__(self) -> str:
        return f"tracked({self._target!r}, name={self._name!r})"

    def _recorded(self, operation: Any, key: Any, *values: Any) -> Any:
        """Do `operation` under the lock, and record what it says that it was."""
        call = recorder.begin("tracked")
        answer, fact, error = None, None, None
        try:
            with self._lock:
                answer, fact, error = operation(key, *values)
        except BaseException as raised:
            error = raised  # the object's own, such as of a key that can't be hashed
            raise
        finally:
            if call is not None:
                recorder.end(call, self._build, (key, *(fact or (Op.READ, None, None, Outcome.ERROR))), error)
        if error is not None:
            raise error
        return answer

    # Each does its work, and gives (answer, (op, version before, version after, outcome), error to raise).

    def _get(self, key: K) -> tuple[Any, Any, BaseException | None]:
        before = self._version(key)
        try:
            value = self._target[key]
        except KeyError as error:
            return None, (Op.READ, 0, None, Outcome.NOT_FOUND), error
        if before == 0:
            before = self._versions[key] = self._after(0)  # the object made it while it was asked (defaultdict)
        return value, (Op.READ, before, None, Outcome.OK), None

    def _has(self, key: K) -> tuple[Any, Any, None]:
        before = self._version(key)
        return before > 0, (Op.READ, before, None, Outcome.OK if before else Outcome.NOT_FOUND), None

    def _set(self, key: K, value: V) -> tuple[None, Any, None]:
        before = self._version(key)
        self._target[key] = value
        after = self._versions[key] = self._after(before)
        return None, (Op.WRITE, before, after, Outcome.OK), None

    def _default(self, key: K, value: Any) -> tuple[Any, Any, None]:
        before = self._version(key)
        if before:
            return self._target[key], (Op.READ, before, None, Outcome.OK), None
        self._target[key] = value
        after = self._versions[key] = self._after(0)
        return value, (None, 0, after, Outcome.OK), None

    def _pop(self, key: K, default: Any = _MISSING) -> tuple[Any, Any, BaseException | None]:
        before = self._version(key)
        if not before:
            return default, (Op.DELETE, None, None, Outcome.NO_EFFECT), KeyError(key) if default is _MISSING else None
        value = self._target[key]
        del self._target[key]
        self._versions.pop(key, None)  # nothing there is version 0, and what follows begins a new life
        return value, (Op.DELETE, before, 0, Outcome.OK), None

    def _version(self, key: K) -> int:
        """Number of the state of `key`: 0 where nothing is, 1 where it was there before anybody asked."""
        if key not in self._target:
            return 0
        if self._forgets and key not in self._versions:
            self._versions[key] = self._after(0)
        return self._versions.get(key, 1)

    def _after(self, before: int) -> int:
        """The number of the state that follows number `before`."""
        if not self._forgets:
            return before + 1
        self._last += 1
        if len(self._versions) > FORGOTTEN_MAX + 2 * len(self._target):
            self._versions = {key: version for key, version in self._versions.items() if key in self._target}
        return self._last

    def _build(self, call: Call) -> Sequence[Access]:
        key, op, before, after, outcome = call.facts
        if self._forgets and not before:
            return [self._where_nothing_is(key, op, after, outcome)]
        kind = VersionKind.ORDERED if self._forgets else VersionKind.COUNTER
        attributes: dict[str, Any] = {Attr.VERSION_KIND: kind}
        if op is None:  # setdefault where nothing was: the object itself looks and writes at once
            op = Op.WRITE
            attributes |= {Attr.WRITE_MODE: WriteMode.INSERT, Attr.GUARD: Guard.UNIQUE}
        if op is Op.READ and before is not None:
            attributes[Attr.VERSION_READ] = str(before)
        elif after is not None:
            attributes |= {Attr.VERSION_OVERWRITTEN: str(before), Attr.VERSION_WRITTEN: str(after)}
        return [Access(op, self._uri(key), "memory", outcome, attributes=attributes, finds_base=op is not Op.READ)]

    def _where_nothing_is(self, key: Any, op: Op | None, after: int | None, outcome: Outcome) -> Access:
        """In a cache: nobody knows since when, so neither is a miss a version, nor has a write replaced one."""
        attributes: dict[str, Any] = {}
        if after is None:
            attributes[Attr.PARTIAL] = True
        else:
            attributes |= {Attr.VERSION_KIND: VersionKind.ORDERED, Attr.VERSION_WRITTEN: str(after)}
        if op is None:
            attributes |= {Attr.WRITE_MODE: WriteMode.INSERT, Attr.GUARD: Guard.UNIQUE}
        return Access(op or Op.WRITE, self._uri(key), "memory", outcome, attributes=attributes)

    def _uri(self, key: Any) -> str:
        return uri("mem", strands.process_id(), self._name, str(key))
