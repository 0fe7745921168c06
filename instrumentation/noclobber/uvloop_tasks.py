"""Strands over uvloop: its loop makes tasks and jobs by methods of its own, which are wrapped as asyncio's are.

uvloop's servers run wherever it is installed: uvicorn takes it by itself. Its `Loop` is a Python class over one of
Cython, so the methods are set on that class, and taken away again. What asyncio's own functions do (gather, wait,
shield) is the same for every loop.

Source: uvloop/__init__.py and loop.pyx, 0.23.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.tasks import JobFuture, create_task_of, futures

__all__ = ["INTEGRATION"]

_hooked: list[Any] = []


def install(library: ModuleType) -> None:
    """Let its loop make tasks that know their strands."""
    loop: Any = getattr(library, "Loop", None)
    if loop is None or "create_task" in vars(loop):
        return  # another version, or somebody else's
    inherited = loop.create_task
    loop.create_task = functools.wraps(inherited)(create_task_of(inherited))
    inherited = loop.run_in_executor
    loop.run_in_executor = functools.wraps(inherited)(_run_in_executor(inherited))
    _hooked.append(loop)


def uninstall() -> None:
    """Leave it to the class below again."""
    while _hooked:
        loop = _hooked.pop()
        del loop.create_task, loop.run_in_executor


def _run_in_executor(original: Any) -> Any:
    def run_in_executor(self: Any, executor: Any, function: Any, *args: Any) -> Any:
        if executor is not None and not isinstance(executor, ThreadPoolExecutor):
            return original(self, executor, function, *args)  # a job for another process has to stay what it is
        future = JobFuture(loop=self)
        inner = original(self, executor, functools.partial(_job, future, function), *args)
        futures._chain_future(inner, future)
        return future

    return run_in_executor


def _job(future: JobFuture, function: Any, *args: Any) -> Any:
    with GUARD:
        future._noclobber_strand = strands.current()
    return function(*args)


INTEGRATION: Final = Integration("uvloop", install, uninstall)
