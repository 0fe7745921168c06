"""Where a framework is hooked: attributes that can be put back, and classes that are not defined yet.

State is kept behind abstract classes (savers, stores, sessions), so every concrete class is wrapped, those that exist
and those that are defined later (`__init_subclass__`). A call that is recorded hides what it is made of: a session that
delegates to another, an async method that runs its sync twin in a thread, a client library below. The hiding travels
with the scope, because that is what strands, executors and tasks carry.

Source: capture.md, sections 5 and 10 (P2, P4); contract 2.4 (one call is counted once).
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Final

from opentelemetry import context as otel

from noclobber import recorder, scope
from noclobber.access import Call
from noclobber.guard import GUARD
from noclobber.pacing.seams import seam
from noclobber.scope import Enclosed, Scope

__all__ = ["Finish", "Patch", "Seams", "Start", "arecorded", "enclosing", "is_hidden", "recorded"]

MISSING: Final = object()

Patch = Callable[[type], None]
"""Wraps what one concrete class defines itself."""


# -- patching ----------------------------------------------------------------------------------------------------


class Seams:
    """The wrapped attributes of one framework.

    Attributes:
        library: the framework's name, for the scope of its spans.
    """

    def __init__(self, library: str) -> None:
        self.library = library
        self._originals: list[tuple[Any, str, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Wrap the function that `owner` (a class or a module) itself calls `name`; nothing where it has none."""
        original = vars(owner).get(name)
        if (
            not callable(original)
            or isinstance(original, staticmethod | classmethod)
            or getattr(original, "_noclobber", False)
            or getattr(original, "__isabstractmethod__", False)
        ):
            return
        wrapped: Any = functools.wraps(original)(make(original))
        wrapped._noclobber = True
        self._set(owner, name, wrapped)
        seam(owner, name)

    def watch(self, base: type, patch: Patch) -> None:
        """Apply `patch` to all subclasses of `base`, now and when they are defined."""
        for known in _subclasses(base):
            patch(known)
        owner: Any = base
        below: Any = vars(base).get("__init_subclass__", MISSING)

        def init_subclass(cls: Any, /, **kwargs: Any) -> None:
            if below is MISSING:
                super(owner, cls).__init_subclass__(**kwargs)
            else:
                below.__get__(None, cls)(**kwargs)
            with GUARD:
                patch(cls)

        self._set(base, "__init_subclass__", classmethod(init_subclass))

    def restore(self) -> None:
        """Put back what was there."""
        while self._originals:
            owner, name, original = self._originals.pop()
            if original is MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

    def begin(self, count: int) -> Call | None:
        """Note that a call of `count` accesses begins, which is not hidden; None where it is none."""
        active = recorder.active()
        return active.begin(self.library, count) if active is not None and count else None

    def _set(self, owner: Any, name: str, value: Any) -> None:
        self._originals.append((owner, name, vars(owner).get(name, MISSING)))
        setattr(owner, name, value)


def _subclasses(base: type) -> Iterator[type]:
    seen: set[type] = set()
    waiting: list[type] = list(base.__subclasses__())
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            yield each
            waiting += each.__subclasses__()


# -- recorded calls ----------------------------------------------------------------------------------------------

Start = Callable[[Any, tuple[Any, ...], dict[str, Any]], Call | None]
"""Begins a call of a method, given the object and the arguments; None where it is not to be recorded."""
Finish = Callable[[Any, Call, Any, BaseException | None], None]
"""Ends a call, given the object, the call, and its result or its error."""


def recorded(start: Start, finish: Finish) -> Callable[[Any], Any]:
    """Makes of a method one whose calls are recorded."""

    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = _started(start, self, args, kwargs)
            if call is None:
                return original(self, *args, **kwargs)
            token = _enclose(call)
            try:
                result = original(self, *args, **kwargs)
            except BaseException as error:
                _disclose(call, token, error)
                _ended(finish, self, call, None, error)
                raise
            _disclose(call, token)
            _ended(finish, self, call, result, None)
            return result

        return method

    return make


def arecorded(start: Start, finish: Finish) -> Callable[[Any], Any]:
    """Makes of a coroutine method one whose calls are recorded."""

    def make(original: Any) -> Any:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = _started(start, self, args, kwargs)
            if call is None:
                return await original(self, *args, **kwargs)
            token = _enclose(call)
            try:
                result = await original(self, *args, **kwargs)
            except BaseException as error:
                _disclose(call, token, error)
                _ended(finish, self, call, None, error)
                raise
            _disclose(call, token)
            _ended(finish, self, call, result, None)
            return result

        return method

    return make


def is_hidden() -> bool:
    """Whether calls are not to be recorded now: noclobber is off, or this is part of a call that is recorded."""
    return recorder.recording() is None


def enclosing() -> Call | None:
    """The recorded call that the running code is part of."""
    found = scope.current()
    return found.call if isinstance(found, Enclosed) else None


def _started(start: Start, self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    with GUARD:
        return start(self, args, kwargs)
    return None


def _enclose(call: Call) -> Any:
    """From now on whatever happens is part of `call`."""
    with GUARD:
        known = call.scope or Scope()
        inner = Enclosed(known.agent, known.run, known.step, known.explicit, known.unit, call)
        token = otel.attach(otel.set_value(scope._KEY, inner))
        call.strand.suppressed += 1
        return token
    return None


def _disclose(call: Call, token: Any, error: BaseException | None = None) -> None:
    """`call` has returned, or raised `error`."""
    with GUARD:
        if token is not None:
            call.strand.suppressed -= 1
            if not isinstance(error, GeneratorExit):  # thrown away by the collector, in whatever context that runs
                otel.detach(token)


def _ended(finish: Finish, self: Any, call: Call, result: Any, error: BaseException | None) -> None:
    with GUARD:
        finish(self, call, result, error)
