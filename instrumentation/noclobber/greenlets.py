"""Strands over gevent: each of its greenlets is one; waiting for it joins it.

Many greenlets share one thread, so what hangs on the running thread elsewhere hangs on the running greenlet here.
gevent's `Greenlet` is a C type that can't be patched: a subclass takes its place as soon as gevent is imported, before
a program has it by name. A greenlet that is none of these (a raw one, the hub, one of before) is part of
the strand that it was switched to from, by its `parent`: that may hide a race between the two, and never invents one.

A greenlet is joined by whoever waits for it (`join`, `get`, `kill`, `joinall`, `wait`, a group's `join`). Where its end
is told to somebody else (a link, `map`), the strand that has started it is said to have waited.

Source: gevent 24 to 26 (greenlet.py, pool.py, threadpool.py); capture.md 6.2.
"""

import collections
import functools
import importlib
import sys
from types import ModuleType
from typing import Any, Final, Self

from noclobber import scope, strands
from noclobber.bootstrap.registry import Integration
from noclobber.edges import joined, spawned
from noclobber.guard import GUARD
from noclobber.stores.wrapping import knowing
from noclobber.strands import Strand
from noclobber.threads import carry, strand_of

__all__ = ["INTEGRATION"]

LIBRARY: Final = "gevent"
ENDED_MAX: Final = 1024
"""Ended greenlets that `gevent.wait()`, which waits for all, can still name."""
_put_back: list[tuple[Any, str, Any]] = []
_ended: "collections.deque[Strand]" = collections.deque(maxlen=ENDED_MAX)
_WAITS: Final = frozenset({"switch", "_discard", "discard", "throw"})
"""Methods that are told of a greenlet's end by those who wait for it in a way that is seen."""


class _Local:
    """What `threading.local` is for threads, for greenlets."""

    def __init__(self) -> None:
        self.__dict__["_current"] = sys.modules["greenlet"].getcurrent

    def _values(self) -> dict[str, Any] | None:
        """Of the running greenlet, else of the nearest parent that has any; the last one's where none has."""
        current = self._current()
        while True:
            owner, values = current.__dict__.get("_noclobber", (None, None))
            if owner is self:
                return values  # type: ignore[no-any-return]  # ours
            if current.parent is None:
                values = {}
                current._noclobber = self, values
                return values
            current = current.parent

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values()[name]  # type: ignore[index]  # there always is one
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        values = self._values()
        assert values is not None
        values[name] = value

    def __delattr__(self, name: str) -> None:
        values = self._values()
        assert values is not None
        del values[name]

    def begin(self, strand: Strand) -> None:
        """The running greenlet has values of its own from now on."""
        self._current()._noclobber = self, {"strand": strand}


def install(library: ModuleType) -> None:
    """Put the subclass in the place of gevent's own class."""
    with knowing(LIBRARY):
        original = library.Greenlet
        made = _subclass(original)
        if not isinstance(strands.local(), _Local):
            strands.live_in(_Local)
        _replace({"Greenlet": (original, made), "joinall": (library.joinall, _joining(library.joinall))})
        primitives = importlib.import_module("gevent._hub_primitives")
        _replace({
            "wait": (primitives.wait_on_objects, _waiting(primitives.wait_on_objects)),
            "iwait": (primitives.iwait_on_objects, _iterating(primitives.iwait_on_objects)),
        })  # fmt: skip
        for name in ("spawn", "spawn_later"):  # methods of the class that was there when they were made
            _put(library, name, getattr(made, name))
        from wrapt import register_post_import_hook

        for name, hook in (("gevent.pool", _pools), ("gevent.threadpool", _thread_pools)):
            register_post_import_hook(hook, name)


def uninstall() -> None:
    """Put back what was there; greenlets that were made stay strands."""
    for owner, name, original in reversed(_put_back):
        setattr(owner, name, original)
    _put_back.clear()
    _ended.clear()


def _put(owner: Any, name: str, value: Any) -> None:
    _put_back.append((owner, name, vars(owner)[name]))
    setattr(owner, name, value)


def _replace(exchanged: dict[str, tuple[Any, Any]]) -> None:
    """Wherever gevent's modules have one of them by name; its C modules look for C types there."""
    for module_name, module in list(sys.modules.items()):
        ours = module_name.partition(".")[0] == "gevent" and "._gevent_c" not in module_name
        if ours and isinstance(module, ModuleType):
            for original, new in exchanged.values():
                for name in [name for name, value in vars(module).items() if value is original]:
                    _put(module, name, new)


# -- greenlets -----------------------------------------------------------------------------------------------------


def _subclass(original: Any) -> Any:
    class Same(type):
        """gevent's own class and what stands in its place are one for `isinstance`."""

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, original) if cls is Greenlet else super().__instancecheck__(instance)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, original) if cls is Greenlet else super().__subclasscheck__(subclass)

    class Greenlet(original, metaclass=Same):  # type: ignore[misc]  # known only when gevent is imported
        __doc__ = original.__doc__

        def start(self) -> None:
            _begin(self)
            super().start()

        def start_later(self, seconds: float) -> None:
            _begin(self)
            super().start_later(seconds)

        @classmethod
        def spawn_later(cls, seconds: float, *args: Any, **kwargs: Any) -> Any:
            own = cls is Greenlet and not args and "run" not in kwargs  # gevent refuses that of its own class
            return original.spawn_later(seconds) if own else super().spawn_later(seconds, *args, **kwargs)

        def run(self) -> Any:
            _enter(self)
            try:
                return super().run()
            finally:
                _leave(self)

        def join(self, timeout: Any = None) -> Any:
            try:
                return super().join(timeout)
            finally:
                _join(self)

        def get(self, block: bool = True, timeout: Any = None) -> Any:
            try:
                return super().get(block, timeout)
            finally:
                _join(self)

        def kill(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return super().kill(*args, **kwargs)
            finally:
                _join(self)

        def rawlink(self, callback: Any) -> None:
            _linked(self, callback)
            super().rawlink(callback)

    for name in ("__module__", "__qualname__"):
        setattr(Greenlet, name, getattr(original, name))
    return Greenlet


def _begin(greenlet: Any) -> None:
    with GUARD:
        if strand_of(greenlet) is None:
            greenlet._noclobber_parent = strands.current()
            greenlet._noclobber_strand = spawned(str(getattr(greenlet, "name", "")))
            greenlet._noclobber_scope = scope.current()


def _enter(greenlet: Any) -> None:
    from opentelemetry import context as otel

    with GUARD:
        strand, local = strand_of(greenlet), strands.local()
        if strand is not None and isinstance(local, _Local):
            local.begin(strand)
            otel.attach(otel.set_value(scope._KEY, greenlet._noclobber_scope))


def _leave(greenlet: Any) -> None:
    """The last thing that it does: tell those who are told of its end in ways that are not seen."""
    with GUARD:
        strand = strand_of(greenlet)
        if strand is None:
            return
        _ended.append(strand)
        for group in greenlet.__dict__.get("_noclobber_groups", ()):
            group.__dict__.setdefault("_noclobber_ended", []).append(strand)
        if greenlet.__dict__.get("_noclobber_linked"):
            _join_as(greenlet._noclobber_parent, strand)


def _join(greenlet: Any) -> None:
    with GUARD:
        if greenlet.ready():
            joined(strand_of(greenlet))


def _join_as(waiter: Strand, other: Strand) -> None:
    """Say that `waiter`, which is not running, has waited for `other`."""
    before = strands.set_thread_strand(waiter)
    try:
        joined(other)
    finally:
        strands.set_thread_strand(before)


def _linked(greenlet: Any, callback: Any) -> None:
    with GUARD:
        name, owner = getattr(callback, "__name__", ""), getattr(callback, "__self__", None)
        if name not in _WAITS and not type(callback).__name__.endswith("Waiter"):
            greenlet._noclobber_linked = True
        elif name == "_discard" and hasattr(owner, "__dict__"):
            greenlet.__dict__.setdefault("_noclobber_groups", []).append(owner)


# -- what waits for several ----------------------------------------------------------------------------------------


def _joining(original: Any) -> Any:
    @functools.wraps(original)
    def joinall(greenlets: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(greenlets, *args, **kwargs)
        finally:
            with GUARD:
                for each in greenlets if isinstance(greenlets, list | tuple | set | frozenset) else ():
                    _join_if_over(each)

    return joinall


def _join_if_over(each: Any) -> None:
    if strand_of(each) is not None and each.ready():
        joined(strand_of(each))


def _waiting(original: Any) -> Any:
    @functools.wraps(original)
    def wait(objects: Any = None, *args: Any, **kwargs: Any) -> Any:
        answer = original(objects, *args, **kwargs)
        with GUARD:
            if objects is None:
                for strand in list(_ended):
                    joined(strand)
            else:
                for each in answer:
                    _join_if_over(each)
        return answer

    return wait


def _iterating(original: Any) -> Any:
    @functools.wraps(original)
    def iwait(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        return _Iterating(found)

    return iwait


class _Iterating:
    """An `iwait` that is iterated over, or entered as a context."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> "_Iterating":
        return self

    def __next__(self) -> Any:
        each = next(self._inner)
        with GUARD:
            _join_if_over(each)
        return each

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *args: object) -> Any:
        return self._inner.__exit__(*args)


# -- modules that come later ---------------------------------------------------------------------------------------


def _pools(module: ModuleType) -> None:
    with GUARD:
        group = module.Group
        if group.greenlet_class is not module.Greenlet and issubclass(module.Greenlet, group.greenlet_class):
            _put(group, "greenlet_class", module.Greenlet)
        original = group.join

        @functools.wraps(original)
        def join(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = original(self, *args, **kwargs)
            with GUARD:
                for strand in self.__dict__.pop("_noclobber_ended", ()):
                    joined(strand)
            return answer

        _put(group, "join", join)


def _thread_pools(module: ModuleType) -> None:
    with GUARD:
        original = module.ThreadPool.spawn

        @functools.wraps(original)
        def spawn(self: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            job, strand, parent = func, None, strands.current()
            with GUARD:
                strand = spawned()
                job = carry(func, strand, scope.current()) if callable(func) else func
            result = original(self, job, *args, **kwargs)
            with GUARD:
                if strand is not None:
                    result.rawlink(lambda _: _join_as(parent, strand))
            return result

        _put(module.ThreadPool, "spawn", spawn)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
