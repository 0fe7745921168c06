"""The state of a CrewAI flow: fields of one object that all its methods read and change, also beside each other.

A flow hands its state out by reference, so it is watched where fields are got and set: the class of a state that a flow
has handed out gets an `__getattribute__` and a `__setattr__`, which record fields of that very object and pass all else
on. Each field counts its versions, and since all accesses go through here every write knows what it replaces, as with
`noclobber.tracked`. A field whose value is changed in place (a list that is appended to) keeps its number: no read of
it is told as stale, and no such change is seen. Copies, and the id, are not recorded; nor is a state that is a dict.

Source: crewai/flow/runtime (`Flow.state`, 1.15); `noclobber.tracking`.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.contract import Attr, Op, Outcome, VersionKind
from noclobber.guard import GUARD
from noclobber.resources import uri

__all__ = ["install", "uninstall"]

LIBRARY: Final = "crewai"
SYSTEM: Final = "crewai.flow"
_PRIOR: Final = 1
"""The number of what a field held before anybody set it."""


class _Kept:
    """One state object: the flow that it belongs to, and the version of each field."""

    __slots__ = ("flow", "lock", "versions")

    def __init__(self, flow: str) -> None:
        self.flow = flow
        self.versions: dict[str, int] = {}
        self.lock = threading.RLock()  # a version and its value change together; held for one field's access


_kept: dict[int, _Kept] = {}
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
        _kept[id(state)] = _Kept(str(state.id))
        weakref.finalize(state, _kept.pop, id(state), None)
        kind = type(state)
        if kind not in _watched and not {"__getattribute__", "__setattr__"} & vars(kind).keys():
            _watch_class(kind, frozenset(fields) - {"id"})


def _watch_class(kind: Any, fields: frozenset[str]) -> None:
    get: Callable[[Any, str], Any] = kind.__getattribute__
    put: Callable[[Any, str, Any], None] = kind.__setattr__

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        if name not in fields or (kept := _kept.get(id(self))) is None:
            return get(self, name)
        return _got(kept, name, lambda: get(self, name))

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if name not in fields or (kept := _kept.get(id(self))) is None:
            put(self, name, value)
        else:
            _set(kept, name, lambda: put(self, name, value))

    kind.__getattribute__, kind.__setattr__ = __getattribute__, __setattr__
    _watched[kind] = __getattribute__, __setattr__


def _got(kept: _Kept, name: str, get: Callable[[], Any]) -> Any:
    call = None if strands.current().suppressed else recorder.begin(LIBRARY)
    with kept.lock:
        value, version = get(), kept.versions.get(name, _PRIOR)
    if call is not None:
        recorder.end(call, _build, (kept.flow, name, Op.READ, version, version))
    return value


def _set(kept: _Kept, name: str, put: Callable[[], None]) -> None:
    call = None if strands.current().suppressed else recorder.begin(LIBRARY)
    try:
        with kept.lock:
            before = kept.versions.get(name, _PRIOR)
            put()
            kept.versions[name] = before + 1
    except BaseException as error:  # the model's own: it was validated, and refused
        if call is not None:
            recorder.end(call, _build, (kept.flow, name, Op.WRITE, None, None), error)
        raise
    if call is not None:
        recorder.end(call, _build, (kept.flow, name, Op.WRITE, before, before + 1))


def _build(call: Call) -> Sequence[Access]:
    flow, name, op, before, after = call.facts
    attributes: dict[str, Any] = {Attr.VERSION_KIND: VersionKind.COUNTER}
    if call.error is not None:
        attributes = {}
    elif op is Op.READ:
        attributes[Attr.VERSION_READ] = str(before)
    else:
        attributes |= {Attr.VERSION_OVERWRITTEN: str(before), Attr.VERSION_WRITTEN: str(after)}
    resource = uri(LIBRARY, "flow", strands.process_id(), flow, name)
    outcome = Outcome.OK if call.error is None else Outcome.ERROR
    return [Access(op, resource, SYSTEM, outcome, attributes=attributes, finds_base=op is Op.WRITE)]
