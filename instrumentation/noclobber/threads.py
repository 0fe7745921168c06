"""Strands over threads and executors: each thread and each job is one; waiting for it joins it.

Agent, run and step travel along, since neither threads nor executors carry OpenTelemetry's context. Only our own
value travels: the rest of that context belongs to other people's traces.

Wrapped are Python-level seams only: `Thread.start`, `Thread.join`, the start of a thread's own code,
`ThreadPoolExecutor.submit`, and what waits for a `concurrent.futures.Future`.
"""

import concurrent.futures
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, _base
from typing import Any

from opentelemetry import context as otel

from noclobber import scope, strands
from noclobber.edges import joined, spawned
from noclobber.guard import GUARD
from noclobber.scope import Scope
from noclobber.strands import Strand

__all__ = ["install", "strand_of", "uninstall"]

_originals: dict[tuple[Any, str], Any] = {}


def install() -> None:
    """Wrap the seams, once."""
    if _originals:
        return
    _wrap(threading.Thread, "start", _start)
    _wrap(threading.Thread, "_bootstrap_inner", _bootstrap_inner)
    _wrap(threading.Thread, "join", _join)
    _wrap(ThreadPoolExecutor, "submit", _submit)
    _wrap(Future, "result", _asked)
    _wrap(Future, "exception", _asked)
    _wrap(Future, "_invoke_callbacks", _calling_back)
    _wrap(Future, "add_done_callback", _calling_back)
    for module in (concurrent.futures, _base):
        _wrap(module, "wait", _wait)
        _wrap(module, "as_completed", _as_completed)


def uninstall() -> None:
    """Put back what was there."""
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def installed() -> bool:
    """Whether the seams are wrapped."""
    return bool(_originals)


def strand_of(thing: object) -> Strand | None:
    """The strand of a thread or a future, None where it has none."""
    found = getattr(thing, "_noclobber_strand", None)
    return found if isinstance(found, Strand) else None


def carry(function: Callable[..., Any], strand: Strand, outer: Scope | None) -> Callable[..., Any]:
    """`function`, run as `strand` and acting as `outer` says."""

    @functools.wraps(function)
    def job(*args: Any, **kwargs: Any) -> Any:
        before = strands.set_thread_strand(strand)
        token = _enter(outer)
        try:
            return function(*args, **kwargs)
        finally:
            otel.detach(token)
            strands.set_thread_strand(before)
            joined(strand)  # the worker's own strand: whoever waits for the executor's end waits for its jobs

    return job


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals[owner, name] = original
    setattr(owner, name, functools.wraps(original)(make(original)))


def _enter(outer: Scope | None) -> Any:
    """Act as `outer`; as nobody in particular where None, whoever the pool's worker was started by."""
    return otel.attach(otel.set_value(scope._KEY, outer))


def _start(original: Any) -> Any:
    def start(self: threading.Thread) -> None:
        with GUARD:
            if getattr(self, "_noclobber_strand", None) is None:
                self._noclobber_strand = spawned(self.name)  # type: ignore[attr-defined]  # ours
                self._noclobber_scope = scope.current()  # type: ignore[attr-defined]  # ours
        original(self)

    return start


def _bootstrap_inner(original: Any) -> Any:
    def bootstrap_inner(self: threading.Thread) -> None:
        with GUARD:
            strand = strand_of(self)
            if strand is not None:
                strands.set_thread_strand(strand)
                _enter(getattr(self, "_noclobber_scope", None))
        original(self)

    return bootstrap_inner


def _join(original: Any) -> Any:
    def join(self: threading.Thread, timeout: float | None = None) -> None:
        original(self, timeout)
        with GUARD:
            if not self.is_alive():
                joined(strand_of(self))

    return join


def _submit(original: Any) -> Any:
    def submit(self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        strand = job = None
        with GUARD:
            strand = spawned()
            job = carry(fn, strand, scope.current())
        future: Future[Any] = original(self, job or fn, *args, **kwargs)
        future._noclobber_strand = strand  # type: ignore[attr-defined]  # ours
        return future

    return submit


def _asked(original: Any) -> Any:
    def asked(self: Future[Any], timeout: float | None = None) -> Any:
        try:
            return original(self, timeout)
        finally:
            with GUARD:
                if self.done() and not _in_callback():
                    joined(strand_of(self))

    return asked


def _calling_back(original: Any) -> Any:
    """What calls the callbacks of a future that is done: they look at its result on nobody's behalf."""

    def calling_back(self: Future[Any], *args: Any) -> Any:
        outer = getattr(_local, "calling_back", False)
        _local.calling_back = True
        try:
            return original(self, *args)
        finally:
            _local.calling_back = outer

    return calling_back


_local = threading.local()


def _in_callback() -> bool:
    """Whether a callback runs, a future's or an event loop's, which asks on nobody's behalf."""
    from asyncio import _get_running_loop, current_task

    if getattr(_local, "calling_back", False):
        return True
    return _get_running_loop() is not None and current_task() is None


def _wait(original: Any) -> Any:
    def wait(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        with GUARD:
            for future in answer.done:
                joined(strand_of(future))
        return answer

    return wait


def _as_completed(original: Any) -> Any:
    def as_completed(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for future in original(*args, **kwargs):
            with GUARD:
                joined(strand_of(future))
            yield future

    return as_completed
