"""Strands over anyio on asyncio: its task groups and its worker threads wait in ways of their own.

A task group waits for a bare future that its last task sets, and a worker thread takes jobs from a queue, so neither is
seen at asyncio's or the executors' seams. trio is not covered.
"""

import functools
from collections import deque
from types import ModuleType
from typing import Any

from noclobber import scope
from noclobber.bootstrap.registry import Integration
from noclobber.edges import joined, spawned
from noclobber.guard import GUARD
from noclobber.strands import Strand
from noclobber.tasks import MEMBERS_MAX
from noclobber.threads import carry, strand_of

__all__ = ["INTEGRATION"]

_originals: list[tuple[Any, str, Any]] = []


class _Tasks(set[Any]):
    """The tasks of a group that run, which also remembers those that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.strands: deque[Strand | None] = deque(maxlen=MEMBERS_MAX)

    def add(self, task: Any, /) -> None:
        super().add(task)
        self.strands.append(strand_of(task))


def install(backend: ModuleType) -> None:
    """Wrap the asyncio backend's task group and worker threads."""
    _wrap(backend.TaskGroup, "__aenter__", _enter)
    _wrap(backend.TaskGroup, "__aexit__", _exit)
    _wrap(backend.AsyncIOBackend, "run_sync_in_worker_thread", _in_worker)


def uninstall() -> None:
    """Put back what was there."""
    while _originals:
        setattr(*_originals.pop())


def _wrap(owner: Any, name: str, make: Any) -> None:
    original = owner.__dict__[name]
    _originals.append((owner, name, original))
    setattr(owner, name, make(original))


def _enter(original: Any) -> Any:
    @functools.wraps(original)
    async def aenter(self: Any) -> Any:
        entered = await original(self)
        with GUARD:
            if type(self._tasks) is set and not self._tasks:
                self._tasks = _Tasks()
        return entered

    return aenter


def _exit(original: Any) -> Any:
    @functools.wraps(original)
    async def aexit(self: Any, *error: Any) -> Any:
        try:
            return await original(self, *error)
        finally:
            with GUARD:
                for strand in getattr(self._tasks, "strands", ()):
                    joined(strand)

    return aexit


def _in_worker(original: Any) -> Any:
    function = original.__func__

    async def run_sync_in_worker_thread(cls: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        strand, job = None, func
        with GUARD:
            strand = spawned()
            job = carry(func, strand, scope.current())
        try:
            return await function(cls, job, *args, **kwargs)
        finally:
            joined(strand)

    return classmethod(functools.wraps(function)(run_sync_in_worker_thread))


INTEGRATION = Integration("anyio", install, uninstall)
