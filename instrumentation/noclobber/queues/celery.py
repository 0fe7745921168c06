"""Celery: tasks sent, tasks run by a worker, results waited for; the task is the agent, its root the run.

A task's message is named by the task's id and the number of its retry, which sender and worker both know. A run is a
step of its own, and what it writes is work on that message. A worker's and a client's traffic with the broker and the
result backend is part of Celery and not recorded: it would look like agents that share a queue's inner keys.

A task that returned has sent its result, and who got that (`AsyncResult.get`) comes after it; a retry or a failure
sends none. When a message is acknowledged (before the run, by default) is not told. Eager tasks are plain calls, and
a task class with a `__call__` of its own is left alone.

Source: celery/app/base.py, app/trace.py, worker/consumer/consumer.py; capture.md section 4.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import recorder, scope, strands
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.queues.messages import UNTOLD, Queue
from noclobber.resources import quoted
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "celery"
SYSTEM: Final = "celery"
RESULTS: Final = "celery://results"
UNSURE: Final = frozenset({"OperationalError", "ConnectionError", "TimeoutError"})
_wrapping = Wrapping(LIBRARY)
_running_as: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
"""Task -> its own attribute `run` before it was wrapped, None where its class had it."""


def install(library: ModuleType) -> None:
    """Wrap sending, running and waiting."""
    from celery import result, signals
    from celery.app import trace
    from wrapt import register_post_import_hook

    hooks: list[Hook] = [
        (library.Celery, "send_task", _sending),
        (trace, "build_tracer", _tracing),
        (result.AsyncResult, "get", _waiting),
    ]
    consumer = sys.modules.get("celery.worker.consumer.consumer")
    if consumer is not None:  # it has taken the name already
        hooks.append((consumer, "build_tracer", _tracing))
    _wrapping.wrap(hooks)
    register_post_import_hook(_with_worker, "celery.worker.worker")
    signals.worker_process_shutdown.connect(_ending, weak=False)


def _with_worker(worker: ModuleType) -> None:
    """Keep quiet what a worker's main loop does with the broker, at once or when a program becomes a worker."""
    with GUARD:
        if _wrapping:
            _wrapping.wrap([(worker.WorkController, name, _quietly) for name in ("start", "stop", "terminate")])


def uninstall() -> None:
    """Put back what was there."""
    from celery import signals

    signals.worker_process_shutdown.disconnect(_ending)
    _wrapping.restore()
    for task, plain in list(_running_as.items()):
        if plain is None:
            del task.run
        else:
            task.run = plain
    _running_as.clear()


def _ending(**_: Any) -> None:
    """A child of a prefork pool leaves without Python's own end."""
    with GUARD:
        recorder.stop()


def _name(task_id: Any, retries: Any) -> str:
    return f"{task_id}/{retries}" if retries else str(task_id)


Fact = tuple[Op, str, str, str | None, Outcome, int | None]
"""Op, queue, message, group, outcome, and which delivery."""


def _build(call: Call) -> Sequence[Access]:
    op, queue, message, group, outcome, delivery = call.facts
    partial = message == UNTOLD and outcome is Outcome.UNKNOWN
    held = op is Op.RECEIVE and queue != RESULTS
    return [Queue(queue, SYSTEM, group).access(op, message, outcome, delivery=delivery, held=held, partial=partial)]


def _note(fact: Fact) -> None:
    active = recorder.active()
    if active is not None:
        active.end(active.begin(LIBRARY), _build, fact)


# -- sends ---------------------------------------------------------------------------------------------------------


def _sending(original: Any) -> Any:
    def send_task(self: Any, name: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        with GUARD:
            call = _begin()
        if call is None:
            return original(self, name, *args, **kwargs)
        try:
            result = original(self, name, *args, **kwargs)
        except BaseException as error:
            _sent(call, self, kwargs, kwargs.get("task_id") or UNTOLD, error)
            raise
        _sent(call, self, kwargs, result.id, None)
        return result

    return send_task


def _begin() -> Call | None:
    active, strand = recorder.recording(), strands.current()
    if active is None:
        return None
    call = active.begin(LIBRARY)
    strand.suppressed += 1
    return call


def _sent(call: Call, app: Any, options: dict[str, Any], task_id: Any, error: BaseException | None) -> None:
    with GUARD:
        call.strand.suppressed -= 1
        active = recorder.active()
        if active is None:
            return
        call.error = error
        named = options.get("queue") or options.get("routing_key") or app.conf.task_default_queue
        outcome = Outcome.OK if error is None else Outcome.UNKNOWN if type(error).__name__ in UNSURE else Outcome.ERROR
        message = _name(task_id, options.get("retries"))
        active.end(call, _build, (Op.SEND, _queue(named), message, None, outcome, None))


def _queue(named: Any) -> str:
    return f"celery://{quoted(str(getattr(named, 'name', named)))}"


# -- runs ----------------------------------------------------------------------------------------------------------


def _tracing(original: Any) -> Any:
    def build_tracer(name: Any, task: Any, *args: Any, **kwargs: Any) -> Any:
        from celery.app.task import Task
        from celery.app.trace import task_has_custom

        # A worker calls `run`, or `__call__` where that is not the one of `Task`: it may be patched by Celery itself.
        if kwargs.get("eager") or task_has_custom(task, "__call__") not in (None, Task):
            return original(name, task, *args, **kwargs)
        with GUARD:
            if task not in _running_as:
                plain, own = task.run, "run" in vars(task)
                task.run = _running(plain, task)
                _running_as[task] = plain if own else None
        return _quietly(original(name, task, *args, **kwargs))

    return build_tracer


def _quietly(original: Callable[..., Any]) -> Callable[..., Any]:
    """What a worker does around a run, or in its main loop, is Celery's own."""

    def quiet(*args: Any, **kwargs: Any) -> Any:
        strand = strands.current()
        strand.suppressed += 1
        try:
            return original(*args, **kwargs)
        finally:
            strand.suppressed -= 1

    return quiet


def _running(plain: Callable[..., Any], task: Any) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if recorder.active() is None:
            return plain(*args, **kwargs)
        request, strand = task.request, strands.current()
        if request.called_directly or request.is_eager:
            return plain(*args, **kwargs)
        outer, strand.suppressed = strand.suppressed, 0
        try:
            with scope.entered(agent=task.name, run=str(request.root_id or request.id)):
                with scope.entered(step=f"run {request.id}"):
                    with GUARD:
                        _received(task, request)
                    answer = plain(*args, **kwargs)
                with GUARD:  # no work on the message: a run that recognised a repetition has a result, too
                    _note((Op.SEND, RESULTS, f"{request.id}/result", None, Outcome.OK, None))
                return answer
        finally:
            strand.suppressed = outer

    return functools.wraps(plain)(run)


def _received(task: Any, request: Any) -> None:
    told = request.delivery_info or {}
    queue = _queue(told.get("routing_key") or task.app.conf.task_default_queue)
    everybody = _is_broadcast(task.app, told.get("exchange"))
    group = f"{queue}@{request.hostname}" if everybody else queue
    delivery = 2 if told.get("redelivered") else 1
    _note((Op.RECEIVE, queue, _name(request.id, request.retries), group, Outcome.OK, delivery))


def _is_broadcast(app: Any, exchange: Any) -> bool:
    """Whether each worker gets the message: then each is a group of its own."""
    if not exchange:
        return False
    return any(
        each.exchange is not None and each.exchange.name == exchange and each.exchange.type == "fanout"
        for each in app.amqp.queues.values()
    )


# -- results -------------------------------------------------------------------------------------------------------


def _waiting(original: Any) -> Any:
    def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        strand = strands.current()
        strand.suppressed += 1
        start_ns = recorder.now_ns()
        try:
            answer = original(self, *args, **kwargs)
        finally:
            strand.suppressed -= 1
        with GUARD:
            active = recorder.recording()
            if active is not None:
                call = active.begin(LIBRARY)
                call.start_ns = start_ns
                reader = f"waiter {call.strand.id}.{call.seq}"  # who waits takes nothing from others
                active.end(call, _build, (Op.RECEIVE, RESULTS, f"{self.id}/result", reader, Outcome.OK, None))
        return answer

    return get


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
