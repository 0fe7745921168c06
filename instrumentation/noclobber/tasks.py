"""Strands over asyncio: each task is one; whoever awaits it joins it.

A task factory makes tasks of a subclass, whose `__await__`, `result` and `exception` see who waits. A task that only
carries one awaited call (`wait_for` before 3.12, `shield`) is no strand of its own: it runs as the strand that waits,
until that waiter is cancelled. `gather`, `wait`, `TaskGroup` and executors' futures join at the seams where they wait.
A nested span is no join, and neither is a callback that looks at a result.

Source: capture.md, section 6.2; CPython's asyncio/tasks.py, 3.11 to 3.13.
"""

import asyncio
import functools
import sys
from asyncio import base_events, futures, tasks
from collections.abc import Callable, Generator, Iterable
from types import CodeType
from typing import Any, Final

from noclobber import strands
from noclobber.edges import joined, note_spawn, spawned
from noclobber.guard import GUARD
from noclobber.strands import Strand
from noclobber.threads import strand_of

__all__ = ["StrandTask", "install", "uninstall"]

_originals: dict[tuple[Any, str], Any] = {}
HELPER_DEPTH: Final = 5
"""Frames between `wait_for` or `shield` and the creation of its task."""


def install() -> None:
    """Wrap the seams, once."""
    if _originals:
        return
    _wrap(base_events.BaseEventLoop, "create_task", _create_task)
    _wrap(tasks._GatheringFuture, "__await__", _await_gathered)
    _wrap(tasks._GatheringFuture, "__iter__", _await_gathered)
    _wrap(tasks._GatheringFuture, "result", _result_gathered)
    _wrap(tasks, "_wait", _wait)
    _wrap(asyncio.TaskGroup, "create_task", _group_create_task)
    _wrap(asyncio.TaskGroup, "__aexit__", _group_exit)
    for module in (asyncio, tasks):
        _wrap(module, "shield", _shield)
    for module in (asyncio, futures):
        _wrap(module, "wrap_future", _wrap_future)


def uninstall() -> None:
    """Put back what was there; tasks that run already stay as they are."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


def _asked_by_strand() -> bool:
    """Whether a task or plain code asks for a result, not a bare callback of the loop."""
    return asyncio._get_running_loop() is None or asyncio.current_task() is not None


class _Joining:
    """What joins a strand when somebody waits for it; mixed into asyncio's futures and tasks."""

    _noclobber_strand: Strand | None = None
    _noclobber_helper: bool = False

    def _noclobber_joined(self) -> None:
        with GUARD:
            if not self._noclobber_helper and self.done() and _asked_by_strand():  # type: ignore[attr-defined]
                joined(self._noclobber_strand)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from super().__await__())  # type: ignore[misc]  a future's
        finally:
            self._noclobber_joined()

    __iter__ = __await__

    def result(self) -> Any:
        """The future's own, after noting who waited."""
        self._noclobber_joined()
        return super().result()  # type: ignore[misc]  a future's

    def exception(self) -> BaseException | None:
        """The future's own, after noting who waited."""
        self._noclobber_joined()
        return super().exception()  # type: ignore[misc,no-any-return]  a future's


class StrandTask(_Joining, asyncio.Task):  # type: ignore[type-arg]
    """A task that knows its strand."""


class JobFuture(_Joining, asyncio.Future):  # type: ignore[type-arg]
    """A future for a job in an executor."""


def _factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> Any:
    return StrandTask(coroutine, loop=loop, **kwargs)


def _create_task(original: Any) -> Any:
    def create_task(self: Any, coroutine: Any, **kwargs: Any) -> Any:
        helper = strand = None
        with GUARD:
            helper = _for_helper(sys._getframe(1))
            strand = strands.current() if helper else spawned()
            if self.get_task_factory() is None:
                self.set_task_factory(_factory)
        task = original(self, coroutine, **kwargs)
        with GUARD:
            if strand is not None:
                _attach(task, strand, helper=bool(helper))
        return task

    return create_task


def _attach(task: Any, strand: Strand, *, helper: bool) -> None:
    if not helper and not strand.name:
        strand.name = task.get_name() if hasattr(task, "get_name") else ""
    task._noclobber_strand = strand
    if helper:
        task._noclobber_helper = True


def _for_helper(frame: Any) -> bool:
    """Whether a task is made by `wait_for` or `shield` to carry the call that its caller awaits."""
    for _ in range(HELPER_DEPTH):
        if frame is None:
            return False
        if frame.f_code in _HELPERS:
            return True
        frame = frame.f_back
    return False


_HELPERS: Final[frozenset[CodeType]] = frozenset({tasks.wait_for.__code__, tasks.shield.__code__})


def _shield(original: Any) -> Any:
    def shield(arg: Any) -> Any:
        outer = original(arg)
        with GUARD:
            inner = _inner_of(outer)
            if getattr(inner, "_noclobber_helper", False):
                outer.add_done_callback(functools.partial(_on_shield_done, inner))
        return outer

    return shield


def _inner_of(outer: Any) -> Any:
    """The task that a shield protects: its done-callback holds the outer future, and the outer's holds it."""
    for callback, _ in getattr(outer, "_callbacks", None) or ():
        for cell in getattr(callback, "__closure__", None) or ():
            if isinstance(cell.cell_contents, asyncio.Future) and cell.cell_contents is not outer:
                return cell.cell_contents
    return None


def _on_shield_done(inner: Any, outer: Any) -> None:
    with GUARD:
        if outer.cancelled() and not inner.done():
            waiter: Strand = inner._noclobber_strand
            alone = Strand(waiter, waiter.name)
            note_spawn(alone)
            inner._noclobber_strand = alone
            inner._noclobber_helper = False


def _children(gathered: Any) -> Iterable[Any]:
    children = getattr(gathered, "_children", ())
    failed = not gathered.cancelled() and gathered.done() and gathered._exception is not None
    if not failed:
        return [child for child in children if child.done()]
    error = gathered._exception
    return [child for child in children if child.done() and not child.cancelled() and child._exception is error]


def _join_gathered(gathered: Any) -> None:
    with GUARD:
        if gathered.done() and _asked_by_strand():
            for child in _children(gathered):
                if not getattr(child, "_noclobber_helper", False):
                    joined(strand_of(child))


def _await_gathered(original: Any) -> Any:
    def await_gathered(self: Any) -> Generator[Any, None, Any]:
        try:
            return (yield from original(self))
        finally:
            _join_gathered(self)

    return await_gathered


def _result_gathered(original: Any) -> Any:
    def result(self: Any) -> Any:
        _join_gathered(self)
        return original(self)

    return result


def _wait(original: Any) -> Any:
    async def wait(*args: Any, **kwargs: Any) -> Any:
        done, pending = await original(*args, **kwargs)
        with GUARD:
            for future in done:
                joined(strand_of(future))
        return done, pending

    return wait


def _group_create_task(original: Any) -> Any:
    def create_task(self: Any, *args: Any, **kwargs: Any) -> Any:
        task = original(self, *args, **kwargs)
        with GUARD:
            members = getattr(self, "_noclobber_members", None)
            if members is None:
                members = self._noclobber_members = []
            members.append(strand_of(task))
        return task

    return create_task


def _group_exit(original: Any) -> Any:
    async def aexit(self: Any, *args: Any) -> Any:
        try:
            return await original(self, *args)
        finally:
            with GUARD:
                for member in getattr(self, "_noclobber_members", ()):
                    joined(member)

    return aexit


def _wrap_future(original: Any) -> Any:
    def wrap_future(future: Any, *, loop: Any = None) -> Any:
        strand = strand_of(future)
        if strand is None or futures.isfuture(future):
            return original(future, loop=loop)
        wrapped = JobFuture(loop=loop if loop is not None else asyncio.get_event_loop())
        wrapped._noclobber_strand = strand
        futures._chain_future(future, wrapped)  # type: ignore[attr-defined]  what the original does
        return wrapped

    return wrap_future
