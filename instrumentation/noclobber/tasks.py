"""Strands over asyncio: each task is one; whoever awaits it joins it.

A task factory makes tasks of a subclass, whose `__await__`, `result` and `exception` see who waits. A task that only
carries one awaited call (`wait_for` before 3.12, `shield`) is no strand of its own: it runs as the strand that waits,
until that waiter is cancelled. `gather`, `wait`, `TaskGroup` and executors' futures join at the seams where they wait.
A nested span is no join, and neither is a callback that looks at a result.

Where somebody has set a task factory of their own, it makes the tasks; each coroutine then goes through a small driver,
which sees what it waits for. What such a task learns from an already finished one by a bare `await`, or through
`as_completed`, stays unseen; `gather`, `wait`, `wait_for` and TaskGroup join there too.

Source: capture.md, section 6.2; CPython's asyncio/tasks.py, 3.11 to 3.13.
"""

import asyncio
import asyncio.futures
import asyncio.tasks
import functools
import inspect
import sys
import threading
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import CodeType
from typing import Any, Final

from noclobber import strands
from noclobber.edges import joined, note_spawn, spawned
from noclobber.guard import GUARD
from noclobber.strands import Strand
from noclobber.threads import strand_of

__all__ = ["MEMBERS_MAX", "JobFuture", "StrandTask", "create_task_of", "futures", "install", "uninstall"]

tasks: Any = asyncio.tasks  # private names of it are wrapped
futures: Any = asyncio.futures
_originals: dict[tuple[Any, str], Any] = {}
_given: dict[int, Strand] = {}
"""Coroutines on their way into another thread's loop (by id, while the call holds them), with the strand they get."""
MEMBERS_MAX: Final = 10_000
"""Tasks that a group remembers for its end; a server's group never ends."""
around: Callable[[Any], Any] | None = None
"""What is put around the coroutine of each new task; None: nothing (`noclobber.pacing`)."""
_making = threading.local()
"""Strand of the task that is being made in this thread: an eager task runs before its maker could tell it."""


def install() -> None:
    """Wrap the seams, once."""
    if _originals:
        return
    _wrap(base_events.BaseEventLoop, "create_task", create_task_of)
    _wrap(tasks._GatheringFuture, "__await__", _await_gathered)
    _wrap(tasks._GatheringFuture, "__iter__", _await_gathered)
    _wrap(tasks._GatheringFuture, "result", _result_gathered)
    _wrap(tasks, "_wait", _wait)
    _wrap(asyncio.TaskGroup, "create_task", _group_create_task)
    _wrap(asyncio.TaskGroup, "__aexit__", _group_exit)
    for module in (asyncio, tasks):
        _wrap(module, "shield", _shield)
        _wrap(module, "wait_for", _wait_for)
    for module in (asyncio, futures):
        _wrap(module, "wrap_future", _wrap_future)
    for module in (asyncio, tasks):
        _wrap(module, "run_coroutine_threadsafe", _run_threadsafe)


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
            return (yield from super().__await__())  # type: ignore[misc]  # a future's
        finally:
            self._noclobber_joined()

    __iter__ = __await__

    def result(self) -> Any:
        """The future's own, after noting who waited."""
        self._noclobber_joined()
        return super().result()  # type: ignore[misc]  # a future's

    def exception(self) -> BaseException | None:
        """The future's own, after noting who waited."""
        self._noclobber_joined()
        return super().exception()  # type: ignore[misc,no-any-return]  # a future's


class StrandTask(_Joining, asyncio.Task):  # type: ignore[type-arg]
    """A task that knows its strand."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        made = getattr(_making, "strand", None)
        if made is not None:
            self._noclobber_strand, self._noclobber_helper = made
        super().__init__(*args, **kwargs)


class JobFuture(_Joining, asyncio.Future):  # type: ignore[type-arg]
    """A future for a job in an executor, or for what a shield protects."""


class _Driven(Coroutine[Any, Any, Any]):
    """A coroutine in a task of somebody else's factory: runs it, and joins what it has waited for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._waited: Any = None
        self.__name__, self.__qualname__ = inner.__name__, inner.__qualname__

    def send(self, value: Any) -> Any:
        self._join()
        self._waited = self._inner.send(value)
        return self._waited

    def throw(self, *error: Any) -> Any:
        self._join()
        self._waited = self._inner.throw(*error)
        return self._waited

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._inner.__await__()  # type: ignore[no-any-return]  # a coroutine's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # cr_frame and the like, for whoever prints tasks

    def _join(self) -> None:
        waited, self._waited = self._waited, None
        with GUARD:
            if waited is not None and waited.done() and not getattr(waited, "_noclobber_helper", False):
                joined(strand_of(waited))


def _factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> Any:
    return StrandTask(coroutine, loop=loop, **kwargs)


def _prepared(loop: Any, coroutine: Any) -> Any:
    """Make `loop` build tasks that know their strands, by whatever factory it has; returns what to run."""
    factory = loop.get_task_factory()
    if factory is _factory or factory is _eager_factory:
        return coroutine
    if factory is None:
        loop.set_task_factory(_factory)
    elif factory is getattr(asyncio, "eager_task_factory", None):
        loop.set_task_factory(_eager_factory)
    elif inspect.iscoroutine(coroutine):
        return _Driven(coroutine)
    return coroutine


_eager_factory: Any = (
    asyncio.create_eager_task_factory(StrandTask) if sys.version_info >= (3, 12) else object()  # type: ignore[attr-defined,unused-ignore]
)


def create_task_of(original: Any) -> Any:
    """A loop's `create_task`, by which its tasks know their strands."""

    def create_task(self: Any, coroutine: Any, **kwargs: Any) -> Any:
        strand, helper, run = None, False, coroutine
        before = getattr(_making, "strand", None)
        with GUARD:
            strand = _given.pop(id(coroutine), None)
            if strand is None:
                helper = _for_helper(sys._getframe(1))
                strand = strands.current() if helper else spawned()
            run = _prepared(self, coroutine)
            if around is not None:
                run = around(run)
            _making.strand = (strand, helper)
        try:
            task = original(self, run, **kwargs)
        finally:
            _making.strand = before
        with GUARD:
            if strand is not None:
                _attach(task, strand, helper=helper)
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
    while frame is not None and frame.f_code in _STEPS:
        frame = frame.f_back
    return frame is not None and frame.f_code in _HELPERS


_HELPERS: Final[frozenset[CodeType]] = frozenset({tasks.wait_for.__code__, tasks.shield.__code__})
_STEPS: Final[frozenset[CodeType]] = frozenset(
    function.__code__
    for function in (tasks.ensure_future, getattr(tasks, "_ensure_future", None))
    if function is not None
)
"""What stands between those two and the making of the task. Nothing of the program's does."""


def _wait_for(original: Any) -> Any:
    def wait_for(fut: Any, timeout: float | None) -> Any:
        if isinstance(fut, _Joining) or not futures.isfuture(fut):
            return original(fut, timeout)
        return _joined_after(original(fut, timeout), fut)  # a foreign task doesn't see who asks for its result

    return wait_for


async def _joined_after(waiting: Any, task: Any) -> Any:
    try:
        return await waiting
    finally:
        with GUARD:
            if task.done():
                joined(strand_of(task))


def _shield(original: Any) -> Any:
    def shield(arg: Any) -> Any:
        outer = None
        with GUARD:
            loop = futures._get_loop(arg) if futures.isfuture(arg) else asyncio._get_running_loop()
            if loop is not None:
                outer = _shielded(original, arg, loop)
        return original(arg) if outer is None else outer

    return shield


def _shielded(original: Any, arg: Any, loop: Any) -> Any:
    """`shield` with an outer future that joins: nothing else of the waiter's touches what is inside."""
    loop.create_future = functools.partial(JobFuture, loop=loop)
    try:
        outer = original(arg)
    finally:
        del loop.create_future
    inner = arg if futures.isfuture(arg) else _inner_of(outer)
    if isinstance(outer, JobFuture) and inner is not outer:
        if getattr(inner, "_noclobber_helper", False):
            outer.add_done_callback(functools.partial(_on_shield_done, inner))
        else:
            outer._noclobber_strand = strand_of(inner)
    return outer


def _inner_of(outer: Any) -> Any:
    """The task that a shield protects: the outer future's done-callback holds it."""
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
            note_spawn(alone, waiter)
            inner._noclobber_strand = alone
            inner._noclobber_helper = False


def _run_threadsafe(original: Any) -> Any:
    def run_coroutine_threadsafe(coroutine: Any, loop: Any) -> Any:
        strand = None
        with GUARD:
            strand = _given[id(coroutine)] = spawned()
        future = original(coroutine, loop)
        future._noclobber_strand = strand
        return future

    return run_coroutine_threadsafe


def _children(gathered: Any) -> Iterable[Any]:
    """Those whose end the waiter has seen: all, or the ones with the error that ended it."""
    children = [child for child in getattr(gathered, "_children", ()) if child.done()]
    error = gathered._exception if gathered.done() and not gathered.cancelled() else None
    if error is None:
        return children
    if isinstance(error, asyncio.CancelledError):
        return [child for child in children if child.cancelled()]
    return [child for child in children if not child.cancelled() and child._exception is error]


def _join_gathered(gathered: Any) -> None:
    with GUARD:
        if gathered.done() and _asked_by_strand():
            for child in _children(gathered):
                if hasattr(child, "_children"):
                    _join_gathered(child)
                elif not getattr(child, "_noclobber_helper", False):
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
                if hasattr(future, "_children"):
                    _join_gathered(future)
                elif not getattr(future, "_noclobber_helper", False):
                    joined(strand_of(future))
        return done, pending

    return wait


def _group_create_task(original: Any) -> Any:
    def create_task(self: Any, *args: Any, **kwargs: Any) -> Any:
        task = original(self, *args, **kwargs)
        with GUARD:
            members = getattr(self, "_noclobber_members", None)
            if members is None:
                members = self._noclobber_members = deque(maxlen=MEMBERS_MAX)
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
        futures._chain_future(future, wrapped)
        return wrapped

    return wrap_future
