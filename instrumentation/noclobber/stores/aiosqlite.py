"""aiosqlite: what its thread does with sqlite3 is done by the task that waits for it.

Every call goes to the connection's own thread as a function (`Connection._execute`). It is run there as the strand
and in the context of the task that asked, which waits for it, so that sqlite3's own hooks record the access as that
task's. A task that was cancelled waits no longer: what then still begins in the thread is a strand of its own.

Source: aiosqlite/core.py; contract 1 (strand).
"""

import asyncio
import contextvars
import functools
import sys
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.sql_session import SITE
from noclobber.strands import Strand

__all__ = ["INTEGRATION"]

_originals: dict[Any, Any] = {}


def install(library: ModuleType) -> None:
    """Wrap the method that hands functions to the thread."""
    owner: Any = library.Connection
    _originals[owner] = owner._execute
    owner._execute = functools.wraps(owner._execute)(_executing(owner._execute))


def uninstall() -> None:
    """Put back what was there."""
    for owner, original in _originals.items():
        owner._execute = original
    _originals.clear()


class _Carrier:
    """Runs a function in the thread as the task that waits for it."""

    __slots__ = ("_context", "_function", "strand", "waited_for")

    def __init__(self, function: Any, active: recorder.Recorder) -> None:
        self._function = function
        self.strand = strands.current()
        self.waited_for = True
        self._context = contextvars.copy_context()
        self._context.run(SITE.set, active._site(sys._getframe(2)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        strand = self.strand if self.waited_for else Strand(self.strand)
        before = strands.set_thread_strand(strand)
        try:
            return self._context.run(self._function, *args, **kwargs)
        finally:
            strands.set_thread_strand(before)


def _executing(original: Any) -> Any:
    async def execute(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        carrier = None
        with GUARD:
            active = recorder.active()
            carrier = None if active is None else _Carrier(fn, active)
        try:
            return await original(self, fn if carrier is None else carrier, *args, **kwargs)
        except asyncio.CancelledError:
            if carrier is not None:
                carrier.waited_for = False
            raise

    return execute


INTEGRATION: Final = Integration("aiosqlite", install, uninstall)
