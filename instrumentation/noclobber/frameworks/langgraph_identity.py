"""Who acts inside a graph, and what comes after what: node runs, supersteps, invokes.

LangGraph says it itself. Each node run is a task with a namespace of its own: that is the step; the node's name is the
agent; the thread is the run. Parallel nodes of a superstep run as jobs of the invoke's executor, or as tasks of its
loop, and the Pregel loop waits for all of them before it starts the next ones: the strands of `noclobber.threads` and
`noclobber.tasks` see both. What they cannot see is told here: a node that is alone in its superstep is run by the loop
itself; a `@task` is awaited through a future chained to it; from 3.12 on an eager task runs before anybody could give
it a strand, and may have ended when its executor looks for tasks to wait for.

Source: LangGraph's pregel/_runner.py, _executor.py, _retry.py (1.0 to 1.2); capture.md 5 and 6.
"""

import asyncio
import sys
from collections import deque
from typing import Any, Final

from opentelemetry import context as otel

from noclobber import scope, strands
from noclobber.edges import joined, spawned
from noclobber.frameworks.langgraph_seams import wrap
from noclobber.guard import GUARD
from noclobber.scope import Scope
from noclobber.strands import Strand
from noclobber.tasks import JobFuture
from noclobber.threads import strand_of

__all__ = ["install", "scope_of"]

FUTURES_MAX: Final = 64
"""Tasks of one invoke whose strands its end joins, the newest: each save waits for the one before it."""
EAGER: Final = sys.version_info >= (3, 12)


def install() -> None:
    """Wrap the runner and its executors."""
    from langgraph.pregel import _executor, _runner

    wrap(_runner, "run_with_retry", _run)
    wrap(_runner, "arun_with_retry", _arun)
    wrap(_runner, "chain_future", _chain_future)
    wrap(_runner, "_acall", _acall)
    wrap(_executor.AsyncBackgroundExecutor, "submit", _submit)
    wrap(_executor.AsyncBackgroundExecutor, "__aexit__", _aexit)
    if EAGER:
        wrap(_executor, "run_coroutine_threadsafe", _eagerly)
        wrap(_runner, "run_coroutine_threadsafe", _eagerly)


# -- who acts ----------------------------------------------------------------------------------------------------


def scope_of(task: Any) -> Scope:
    """Agent, run and step of a Pregel task, laid over the scope around it.

    Without a thread the outermost invoke is the run: a graph inside a node goes on with its caller's.
    """
    outer = scope.current()
    config = task.config or {}
    settings = config.get("configurable") or {}
    thread = settings.get("thread_id")
    run = str(thread) if thread is not None else outer.run if outer is not None else None
    if run is None:
        invoke = getattr(config.get("callbacks"), "parent_run_id", None)
        run = None if invoke is None else str(invoke)
    return scope.merged(outer, str(task.name), run, settings.get("checkpoint_ns") or str(task.id))


class _NodeRun:
    """One run of a node: acts as the node, in a strand of its own also where the Pregel loop runs it inline."""

    __slots__ = ("_strand", "_task", "_token", "_waiter")

    def __init__(self, task: Any, *, inline: bool) -> None:
        self._strand: Strand | None = None
        self._waiter: Strand | None = None
        self._task: Any = None
        self._token: Any = None
        with GUARD:
            if inline:
                self._begin_strand(str(task.name))
            self._token = otel.attach(otel.set_value(scope._KEY, scope_of(task)))

    def _begin_strand(self, name: str) -> None:
        strand = spawned(name)
        if asyncio._get_running_loop() is not None and (running := asyncio.current_task()) is not None:
            self._task, self._waiter = running, strands.of_task(running)
            self._task._noclobber_strand = strand
        else:
            self._waiter = strands.set_thread_strand(strand)
        self._strand = strand

    def end(self, *, thrown_away: bool = False) -> None:
        """The node has returned or raised; `thrown_away`: by the collector, in whatever context that runs."""
        with GUARD:
            if self._token is not None and not thrown_away:
                otel.detach(self._token)
            if self._strand is None:
                return
            if self._task is not None:
                self._task._noclobber_strand = self._waiter
            else:
                strands.set_thread_strand(self._waiter)
            if not thrown_away:
                joined(self._strand)


def _run(original: Any) -> Any:
    from langgraph.pregel._runner import PregelRunner

    loop = PregelRunner.tick.__code__

    def run_with_retry(task: Any, *args: Any, **kwargs: Any) -> Any:
        run = _NodeRun(task, inline=sys._getframe(1).f_code is loop)
        try:
            return original(task, *args, **kwargs)
        finally:
            run.end()

    return run_with_retry


def _arun(original: Any) -> Any:
    from langgraph.pregel._runner import PregelRunner

    loop = PregelRunner.atick.__code__

    async def arun_with_retry(task: Any, *args: Any, **kwargs: Any) -> Any:
        run = _NodeRun(task, inline=sys._getframe(1).f_code is loop)
        try:
            result = await original(task, *args, **kwargs)
        except GeneratorExit:
            run.end(thrown_away=True)
            raise
        except BaseException:
            run.end()
            raise
        run.end()
        return result

    return arun_with_retry


# -- what comes after what ---------------------------------------------------------------------------------------


def _submit(original: Any) -> Any:
    def submit(self: Any, *args: Any, **kwargs: Any) -> Any:
        future = original(self, *args, **kwargs)
        with GUARD:
            futures = getattr(self, "_noclobber_futures", None)
            if futures is None:
                futures = self._noclobber_futures = deque(maxlen=FUTURES_MAX)
            futures.append(future)
        return future

    return submit


def _join_all(executor: Any) -> None:
    with GUARD:
        for future in getattr(executor, "_noclobber_futures", ()):
            if future.done():
                joined(strand_of(future))


def _aexit(original: Any) -> Any:
    async def leave(self: Any, *args: Any) -> Any:
        try:
            return await original(self, *args)
        finally:
            _join_all(self)

    return leave


def _chain_future(original: Any) -> Any:
    def chain_future(source: Any, destination: Any) -> Any:
        with GUARD:
            destination._noclobber_strand = strand_of(source)
        return original(source, destination)

    return chain_future


def _acall(original: Any) -> Any:
    """What a `@task` returns inside an async entrypoint: a future whose await tells who waited."""

    def acall(*args: Any, **kwargs: Any) -> Any:
        future = original(*args, **kwargs)
        if type(future) is not asyncio.Future:
            return future
        from langgraph._internal._future import chain_future

        watched = JobFuture(loop=future.get_loop())
        future.add_done_callback(lambda done: setattr(watched, "_noclobber_strand", strand_of(done)))
        return chain_future(future, watched)

    return acall


def _eagerly(original: Any) -> Any:
    def run_coroutine_threadsafe(coroutine: Any, *args: Any, **kwargs: Any) -> Any:
        strand: Strand | None = None
        if not kwargs.get("lazy"):
            with GUARD:
                strand = spawned()
        return original(coroutine if strand is None else _as_strand(coroutine, strand), *args, **kwargs)

    return run_coroutine_threadsafe


async def _as_strand(coroutine: Any, strand: Strand) -> Any:
    with GUARD:
        task: Any = asyncio.current_task()
        if task is not None and strand_of(task) is None:
            task._noclobber_strand = strand
    return await coroutine
