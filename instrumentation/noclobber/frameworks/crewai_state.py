"""The state of a CrewAI flow: fields of one object that all its methods read and change, also beside each other.

A flow hands its state out by reference, so it is watched where fields are got and set: the class of a state that a flow
has handed out gets an `__getattribute__` and a `__setattr__`, which record fields of that very object and pass all else
on. Each field counts its versions, and since all accesses go through here every write knows what it replaces, as with
`noclobber.tracked`. A field whose value is changed in place (a list that is appended to) keeps its number: no read of
it is told as stale, and no such change is seen. Copies, and the id, are not recorded; nor is a state that is a dict.

Source: crewai/flow/runtime (`Flow.state`, 1.15); `noclobber.tracking`.
"""

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from noclobber import recorder
from noclobber.frameworks import places
from noclobber.frameworks.counted import Counted
from noclobber.guard import GUARD
from noclobber.resources import uri

__all__ = ["install", "uninstall"]

LIBRARY: Final = "crewai"
SYSTEM: Final = "crewai.flow"
_kept: dict[int, Counted] = {}
_watched: dict[type, tuple[Any, Any]] = {}
_properties: list[tuple[Any, Any, Any]] = []
_watching = threading.Lock()


def install(flow: Any) -> None:
    """Watch what the property `state` of `flow`, the class of all flows, hands out."""
    original = vars(flow)["state"]

    def state(self: Any) -> Any:
        found = original.fget(self)
        if id(found) not in _kept and recorder.active() is not None:
            with GUARD:
                _watch(found)
        return found

    ours = property(state, doc=original.__doc__)
    _properties.append((flow, original, ours))
    flow.state = ours


def uninstall() -> None:
    """Watch nothing any more."""
    while _properties:
        flow, original, ours = _properties.pop()
        if vars(flow)["state"] is ours:
            flow.state = original
    with _watching:
        for kind, (get, put) in _watched.items():
            for name, own in (("__getattribute__", get), ("__setattr__", put)):
                if vars(kind).get(name) is own:
                    delattr(kind, name)
        _watched.clear()
        _kept.clear()


def _watch(state: Any) -> None:
    fields = getattr(type(state), "model_fields", None)
    if not fields or not getattr(state, "id", None) or type(state).__module__.startswith("crewai."):
        return  # a dict, or a state of the framework's own flows
    with _watching:
        name = functools.partial(uri, LIBRARY, "flow", places.of_object(state), str(state.id))
        weakref.finalize(state, _kept.pop, id(state), None).atexit = False
        _kept[id(state)] = Counted(LIBRARY, SYSTEM, name)
        kind = type(state)
        if kind not in _watched and not {"__getattribute__", "__setattr__"} & vars(kind).keys():
            _watch_class(kind, frozenset(fields) - {"id"})


def _watch_class(kind: Any, fields: frozenset[str]) -> None:
    get: Callable[[Any, str], Any] = kind.__getattribute__
    put: Callable[[Any, str, Any], None] = kind.__setattr__

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        if name not in fields or (kept := _kept.get(id(self))) is None:
            return get(self, name)
        return kept.got(name, lambda: get(self, name))

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if name not in fields or (kept := _kept.get(id(self))) is None:
            put(self, name, value)
        else:
            kept.set(name, lambda: put(self, name, value))

    kind.__getattribute__, kind.__setattr__ = __getattribute__, __setattr__
    _watched[kind] = __getattribute__, __setattr__
