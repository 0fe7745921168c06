"""What is guarded: `with noclobber.guarded("redis://*/acct:42"):` and `noclobber.instrument(enforce=[...])`.

    with noclobber.guarded("redis://*/acct:42"):
        balance = int(client.get("acct:42"))
        client.set("acct:42", balance - 10)  # raises StaleWrite if somebody wrote in between

A block remembers what was read under it, and a write of the same resource is then asked of the store on condition that
this still holds. Only inside the block, in its own context (tasks that it starts are in it), and only what its pattern
names; the wrappers around clients are there only while somebody guards. What a store can't compare is refused, at the
begin where the pattern tells it and else before the write is sent: there is no guard that silently is none.

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
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import scope, strands
from noclobber.sites import Site, Sites

__all__ = ["Memory", "StaleWrite", "Unguardable", "enforce", "guarded", "guards", "memory_of", "stale", "wrote"]

STORES: Final = {
    "redis": ("redis", "noclobber.guarding.redis"),
    "s3": ("botocore", "noclobber.guarding.aws"),
    "dynamodb": ("botocore", "noclobber.guarding.aws"),
}
"""Scheme -> the library whose client is guarded, and the module that does it."""
SEEN_MAX: Final = 10_000
"""Resources that one block or step remembers."""
WRITERS_MAX: Final = 4096
UNITS_MAX: Final = 64
"""Steps of one strand that are remembered, the last ones."""
_OUTSIDE: Final = "somebody outside this process"
_sites = Sites()


class StaleWrite(RuntimeError):  # noqa: N818  the kind of finding that it prevents
    """A guarded write that would have replaced a state which its author had never seen; it was not made.

    Attributes:
        resource: what it would have been made to. agent: who wrote in between; None where that is not known.
        site: where in the code, as `file:line`; None where that is not known.
    """

    def __init__(self, resource: str, writer: "Writer | None" = None) -> None:
        self.resource = resource
        self.agent = writer.agent if writer is not None else None
        self.site = writer.site if writer is not None else None
        who = writer.told() if writer is not None else _OUTSIDE
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
        strict: whether a write of what was not read is refused.
    """

    def __init__(self, patterns: Sequence[str], *, strict: bool) -> None:
        self.strict = strict
        self._patterns = patterns
        self._seen: OrderedDict[str, Any] = OrderedDict()

    def names(self, scheme: str) -> bool:
        """Whether it guards resources of this scheme."""
        return any(pattern.startswith(scheme) for pattern in self._patterns)

    def covers(self, resource: str) -> bool:
        """Whether it guards this."""
        return any(fnmatch.fnmatchcase(resource, pattern) for pattern in self._patterns)

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
_of_strands: WeakKeyDictionary[strands.Strand, OrderedDict[str | None, Memory]] = WeakKeyDictionary()
_live: dict[str, int] = {}
"""Module of a store -> how many guards need its wrappers."""
_patterns: dict[tuple[str, ...], int] = {}
_writers: OrderedDict[str, Writer] = OrderedDict()


@contextlib.contextmanager
def guarded(*resources: str) -> Iterator[None]:
    """Guard `resources` (URIs, with `*` and `?`) inside the block: writes of them rest on what was read in it.

    Raises:
        Unguardable: the store of one has no conditional write, or its library is not installed.
    """
    patterns = tuple(resources)
    modules = _modules(patterns)
    _take(modules, patterns)
    token = _blocks.set((Memory(patterns, strict=True), *_blocks.get()))
    try:
        yield
    finally:
        _blocks.reset(token)
        _give(modules, patterns)


def enforce(resources: Sequence[str]) -> None:
    """Guard `resources` in the whole process from now on, instead of those before; none: nothing.

    Raises:
        Unguardable: as `guarded`.
    """
    global _enforced  # noqa: PLW0603  one a process
    patterns = tuple(resources)
    modules = _modules(patterns)
    before = _enforced
    _take(modules, patterns)
    _enforced = patterns
    _of_strands.clear()
    _give(_modules(before), before)


def guards(scheme: str) -> bool:
    """Whether the running code's calls on such resources may be under a guard; where not, they are left alone."""
    return any(memory.names(scheme) for memory in _blocks.get()) or any(
        pattern.startswith(scheme) for pattern in _enforced
    )


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


def wrote(resource: str) -> None:
    """The running strand has written `resource`: what whoever comes too late is told."""
    if not any(fnmatch.fnmatchcase(resource, pattern) for patterns in list(_patterns) for pattern in patterns):
        return
    known = scope.current()
    agent = known.agent if known is not None else None
    site = _place(_sites.of(sys._getframe(1)))
    _writers[resource] = Writer(strands.current().id, agent, site, time.monotonic())
    _writers.move_to_end(resource)
    while len(_writers) > WRITERS_MAX:
        _writers.popitem(last=False)


def stale(resource: str) -> StaleWrite:
    """What is raised where `resource` is not what it was."""
    writer = _writers.get(resource)
    return StaleWrite(resource, None if writer is None or writer.strand == strands.current().id else writer)


def _place(site: Site | None) -> str | None:
    if site is None:
        return None
    code, offset = site
    line = next((line for start, end, line in code.co_lines() if start <= offset < end), code.co_firstlineno)
    return f"{code.co_filename}:{line}"


def _modules(patterns: Sequence[str]) -> list[str]:
    """The modules that guard what `patterns` name.

    Raises:
        Unguardable: nothing can.
    """
    return list(dict.fromkeys(_module(pattern) for pattern in patterns))


def _module(pattern: str) -> str:
    scheme, found, _ = pattern.partition("://")
    known = STORES.get(scheme) if found else None
    if known is None:
        raise Unguardable(
            f"noclobber can't guard {pattern!r}: only {', '.join(f'{name}://' for name in STORES)} have a conditional "
            "write that it knows. Use the store's own version column or transaction, or hold a lock from the read to "
            "the write"
        )
    library, module = known
    try:
        import_module(library)
    except ImportError as error:
        raise Unguardable(f"noclobber can't guard {pattern!r}: {library} is not installed") from error
    return module


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
