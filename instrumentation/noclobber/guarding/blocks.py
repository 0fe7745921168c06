"""What is guarded: `with noclobber.guarded("redis://*/acct:42"):` and `noclobber.instrument(enforce=[...])`.

    with noclobber.guarded("redis://*/acct:42"):
        balance = int(client.get("acct:42"))
        client.set("acct:42", balance - 10)  # raises StaleWrite if somebody wrote in between

A block remembers what was read under it, and a write of the same resource is then asked of the store on condition that
this still holds. Only inside the block, in its own context (tasks that it starts are in it), and only what its pattern
names; the wrappers around clients are there only while somebody guards. What a store can't compare is refused, at the
begin where the pattern tells it and else before the write is sent: there is no guard that silently is none.
A store with many clients (SQL) is guarded only where the one that is meant is named, `through="sqlalchemy"`.

Who enforces guards each step (or strand, where there are no steps) by what it has read itself. There a write without a
read before it passes: it was computed from nothing that could be stale.
"""

import contextlib
import fnmatch
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from types import FrameType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import scope, strands
from noclobber.sites import Site, Sites

__all__ = [
    "Memory", "StaleWrite", "Unguardable", "enforce", "guarded", "guards", "guards_in", "memory_of", "stale", "wrote",
]  # fmt: skip

STORES: Final = {
    "redis": ("redis", "noclobber.guarding.redis"),
    "s3": ("botocore", "noclobber.guarding.aws"),
    "dynamodb": ("botocore", "noclobber.guarding.aws"),
}
"""Scheme -> the library whose client is guarded, and the module that does it."""
THROUGH: Final = {
    "sqlalchemy": dict.fromkeys(("postgresql", "sqlite"), ("sqlalchemy", "noclobber.guarding.sqlalchemy")),
}
"""Of stores that have many clients: the one that is guarded, by the word with which it is asked for, as `STORES`."""
SEEN_MAX: Final = 10_000
"""Resources that one block or step remembers."""
WRITERS_MAX: Final = 4096
UNITS_MAX: Final = 64
"""Steps of one strand that are remembered, the last ones."""
_OUTSIDE: Final = "somebody outside this process"
_UNSEEN: Final = "somebody whose write was not seen here"
_sites = Sites()


class StaleWrite(RuntimeError):  # noqa: N818  the kind of finding that it prevents
    """A guarded write that would have replaced a state which its author had never seen; it was not made.

    Attributes:
        resource: what it would have been made to. agent: who wrote in between; None where that is not known.
        site: where in the code, as `file:line`; None where that is not known.
    """

    def __init__(self, resource: str, writer: "Writer | None" = None, *, some_unseen: bool = False) -> None:
        self.resource = resource
        self.agent = writer.agent if writer is not None else None
        self.site = writer.site if writer is not None else None
        who = writer.told() if writer is not None else _UNSEEN if some_unseen else _OUTSIDE
        super().__init__(
            f"{resource} has changed since it was read: {who} wrote in between. Nothing was written. "
            "Read again, decide again, and write again."
        )


class Unguardable(RuntimeError):  # noqa: N818  a state of affairs
    """What was to be guarded can't be: the message says why, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The last write to a resource that this process made.

    Attributes:
        strand, agent: who. site: `file:line`. at_s: when, on the monotonic clock.
    """

    strand: str
    agent: str | None
    site: str | None
    at_s: float

    def told(self) -> str:
        """As a sentence has it."""
        name = f"`{self.agent}`" if self.agent else "another strand of this process"
        place = f" at {self.site}" if self.site else ""
        return f"{name}{place}, {max(0.0, time.monotonic() - self.at_s) * 1000:.0f} ms ago,"


class Memory:
    """What was read under one guard.

    Attributes:
        patterns: what it guards. strict: whether a write of what was not read is refused.
    """

    def __init__(self, patterns: Sequence[str], *, strict: bool) -> None:
        self.strict = strict
        self.patterns = patterns
        self._seen: OrderedDict[str, Any] = OrderedDict()

    def names(self, scheme: str) -> bool:
        """Whether it guards resources of this scheme."""
        return any(pattern.startswith(scheme) for pattern in self.patterns)

    def covers(self, resource: str) -> bool:
        """Whether it guards this."""
        return any(fnmatch.fnmatchcase(resource, pattern) for pattern in self.patterns)

    def saw(self, resource: str, state: Any) -> None:
        """Remember what was read.

        Raises:
            Unguardable: too much was read to remember it all.
        """
        if resource not in self._seen and len(self._seen) >= SEEN_MAX:
            raise Unguardable(f"more than {SEEN_MAX} resources were read under one guard: guard fewer at a time")
        self._seen[resource] = state

    def known(self, resource: str) -> Any:
        """What was read; None where nothing was."""
        return self._seen.get(resource)

    def seen(self, resource: str) -> Any:
        """What was read; None where nothing was.

        Raises:
            Unguardable: nothing was, and the guard is a block's.
        """
        state = self._seen.get(resource)
        if state is None and self.strict:
            raise Unguardable(
                f"{resource} was not read inside the block that guards it, so there is nothing to compare with: "
                "read it there, or write it outside"
            )
        return state

    def forget(self, resource: str) -> None:
        """What was read holds no more."""
        self._seen.pop(resource, None)


_blocks: ContextVar[tuple[Memory, ...]] = ContextVar("noclobber-guards", default=())
_enforced: tuple[str, ...] = ()
_enforced_modules: tuple[str, ...] = ()
_of_strands: WeakKeyDictionary[strands.Strand, OrderedDict[str | None, Memory]] = WeakKeyDictionary()
_live: dict[str, int] = {}
"""Module of a store -> how many guards need its wrappers."""
_patterns: dict[tuple[str, ...], int] = {}
_writers: OrderedDict[str, Writer] = OrderedDict()


@contextlib.contextmanager
def guarded(*resources: str, through: str | None = None) -> Iterator[None]:
    """Guard `resources` (URIs, with `*` and `?`) inside the block: writes of them rest on what was read in it.

    Args:
        resources: what is guarded.
        through: `"sqlalchemy"` for SQL: only what SQLAlchemy sends is guarded; who uses a driver beside it is not seen.

    Raises:
        Unguardable: the store of one has no conditional write, or its library is not installed.
    """
    patterns = tuple(resources)
    modules = _modules(patterns, through)
    _take(modules, patterns)
    token = _blocks.set((Memory(patterns, strict=True), *_blocks.get()))
    try:
        yield
    finally:
        _blocks.reset(token)
        _give(modules, patterns)


def enforce(resources: Sequence[str], through: str | None = None) -> None:
    """Guard `resources` in the whole process from now on, instead of those before; none: nothing.

    Raises:
        Unguardable: as `guarded`.
    """
    global _enforced, _enforced_modules
    patterns = tuple(resources)
    modules = _modules(patterns, through)
    before = _enforced_modules, _enforced
    _take(modules, patterns)
    _enforced_modules, _enforced = tuple(modules), patterns
    _of_strands.clear()
    _give(*before)


def guards(scheme: str) -> bool:
    """Whether the running code's calls on such resources may be under a guard; where not, they are left alone."""
    return any(memory.names(scheme) for memory in _blocks.get()) or any(
        pattern.startswith(scheme) for pattern in _enforced
    )


def guards_in(container: str) -> bool:
    """Whether the running code is under a guard that may name something in `container`, whose URI ends in a slash."""
    held = [memory.patterns for memory in _blocks.get()]
    return any(_reaches(pattern, container) for patterns in (*held, _enforced) for pattern in patterns)


def _reaches(pattern: str, container: str) -> bool:
    """Whether a name in `container`, which has no further slash, may match: a start of the pattern names it."""
    last = pattern.rfind("/") + 1
    return any(fnmatch.fnmatchcase(container, pattern[:end]) for end in range(last, len(pattern) + 1))


def memory_of(resource: str) -> Memory | None:
    """The guard that the running code's calls on `resource` are under; None: none."""
    for memory in _blocks.get():
        if memory.covers(resource):
            return memory
    if _enforced and any(fnmatch.fnmatchcase(resource, pattern) for pattern in _enforced):
        known = scope.current()
        unit = known.unit if known is not None else None
        units = _of_strands.setdefault(strands.current(), OrderedDict())
        if unit not in units:
            units[unit] = Memory(_enforced, strict=False)
            if len(units) > UNITS_MAX:
                units.popitem(last=False)
        return units[unit]
    return None


def wrote(resource: str, frame: FrameType | None = None) -> None:
    """The running strand has written `resource`, called by `frame` (None: by who calls this): what is told the late."""
    if not any(fnmatch.fnmatchcase(resource, pattern) for patterns in list(_patterns) for pattern in patterns):
        return
    known = scope.current()
    agent = known.agent if known is not None else None
    site = _place(_sites.of(frame or sys._getframe(1)))
    _writers[resource] = Writer(strands.current().id, agent, site, time.monotonic())
    _writers.move_to_end(resource)
    while len(_writers) > WRITERS_MAX:
        _writers.popitem(last=False)


def stale(resource: str, *, some_unseen: bool = False) -> StaleWrite:
    """What is raised where `resource` is not what it was; `some_unseen`: this process has writes that nobody notes."""
    writer = _writers.get(resource)
    known = None if writer is None or writer.strand == strands.current().id else writer
    return StaleWrite(resource, known, some_unseen=some_unseen)


def _place(site: Site | None) -> str | None:
    if site is None:
        return None
    code, offset = site
    line = next((line for start, end, line in code.co_lines() if start <= offset < end), code.co_firstlineno)
    return f"{code.co_filename}:{line}"


def _modules(patterns: Sequence[str], through: str | None) -> list[str]:
    """The modules that guard what `patterns` name.

    Raises:
        Unguardable: nothing can.
    """
    if through is not None and through not in THROUGH:
        raise Unguardable(f"noclobber can't guard through {through!r}: it knows {', '.join(THROUGH)}")
    return list(dict.fromkeys(_module(pattern, through) for pattern in patterns))


def _module(pattern: str, through: str | None) -> str:
    scheme, found, _ = pattern.partition("://")
    known = {**STORES, **THROUGH.get(through or "", {})}.get(scheme) if found else None
    if known is None:
        raise Unguardable(_why_not(pattern, scheme))
    library, module = known
    try:
        import_module(library)
    except ImportError as error:
        raise Unguardable(f"noclobber can't guard {pattern!r}: {library} is not installed") from error
    return module


def _why_not(pattern: str, scheme: str) -> str:
    for word, stores in THROUGH.items():
        if scheme in stores:
            return (
                f'noclobber guards {pattern!r} only if you add through="{word}". It then guards what the ORM of {word} '
                "flushes, and does not see writes that this process makes through a driver beside it"
            )
    return (
        f"noclobber can't guard {pattern!r}: only {', '.join(f'{name}://' for name in STORES)} have a conditional "
        "write that it knows. Use the store's own version column or transaction, or hold a lock from the read to "
        "the write"
    )


def _take(modules: Sequence[str], patterns: tuple[str, ...]) -> None:
    for number, name in enumerate(modules):
        try:
            if not _live.get(name):
                import_module(name).install()
        except BaseException:
            for taken in modules[:number]:
                _leave(taken)
            raise
        _live[name] = _live.get(name, 0) + 1
    if patterns:
        _patterns[patterns] = _patterns.get(patterns, 0) + 1


def _give(modules: Sequence[str], patterns: tuple[str, ...]) -> None:
    for name in modules:
        _leave(name)
    if patterns:
        _patterns[patterns] -= 1
        if not _patterns[patterns]:
            del _patterns[patterns]


def _leave(name: str) -> None:
    _live[name] -= 1
    if not _live[name]:
        import_module(name).uninstall()
