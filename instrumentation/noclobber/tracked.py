"""Objects that agents share inside one process: `noclobber.tracked(dict, name=...)`.

A tracked dictionary counts the versions of each key. Since all accesses go through it, every write knows what it
replaces, so findings on it are certain. It is a `MutableMapping` around the object given, which stays as it is.
"""

import threading
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, TypeVar

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome, VersionKind
from noclobber.resources import uri

__all__ = ["TrackedDict", "tracked"]

K = TypeVar("K")
V = TypeVar("V")


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
        self._lock = threading.Lock()  # a version and its value change together; held for one dictionary operation

    def __getitem__(self, key: K) -> V:
        active = recorder.active()
        if active is None:
            return self._target[key]
        call = active.begin("tracked")
        with self._lock:
            version = self._versions.get(key, 1 if key in self._target else 0)
            found = key in self._target
            value = self._target[key] if found else None
        active.end(call, self._build, (Op.READ, key, version, found))
        if not found:
            raise KeyError(key)
        return value  # type: ignore[return-value]  found

    def __setitem__(self, key: K, value: V) -> None:
        active = recorder.active()
        if active is None:
            self._target[key] = value
            return
        call = active.begin("tracked")
        with self._lock:
            version = self._next(key)
            self._target[key] = value
        active.end(call, self._build, (Op.WRITE, key, version, True))

    def __delitem__(self, key: K) -> None:
        active = recorder.active()
        if active is None:
            del self._target[key]
            return
        call = active.begin("tracked")
        with self._lock:
            found = key in self._target
            version = self._next(key) if found else 0
            if found:
                del self._target[key]
        active.end(call, self._build, (Op.DELETE, key, version, found))
        if not found:
            raise KeyError(key)

    def __iter__(self) -> Iterator[K]:
        return iter(self._target)

    def __len__(self) -> int:
        return len(self._target)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]  asked for whatever the caller asks
        except KeyError:
            return False
        return True

    def __repr__(self) -> str:
        return f"tracked({self._target!r}, name={self._name!r})"

    def _next(self, key: K) -> int:
        version = self._versions.get(key, 1 if key in self._target else 0) + 1
        self._versions[key] = version
        return version

    def _build(self, call: Call) -> Sequence[Access]:
        op, key, version, found = call.facts
        name = uri("mem", strands.process_id(), self._name, str(key))
        attributes: dict[str, Any] = {Attr.VERSION_KIND: VersionKind.COUNTER}
        if op is Op.READ:
            attributes[Attr.VERSION_READ] = str(version) if found else "0"
        elif found:
            attributes[Attr.VERSION_OVERWRITTEN] = str(version - 1)
            attributes[Attr.VERSION_WRITTEN] = str(version)
        outcome = Outcome.OK if found else Outcome.NOT_FOUND if op is Op.READ else Outcome.NO_EFFECT
        return [Access(op, name, "memory", outcome, attributes=attributes, finds_base=op is not Op.READ)]
