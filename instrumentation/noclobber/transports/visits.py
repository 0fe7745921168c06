"""A server's side: a request that carries a strand is handled by one of its own, a child of that.

Servers differ in whether a task handles one request or a connection's, so the strand is exchanged for the time of the
handling, and the task has waited for it when it goes on. A framework may run the handler in another task and pass the
answer on before that task has ended: whoever begins the answer, at the innermost place that is seen, is noted, and the
answer names all of them with what they had done by then.

A request without a strand changes no order, and neither does one that can't be believed. Each is a step, whatever it
carries: a connection's task handles many, and what one of them has read is nothing that the next one rests on. Agent
and run are the service's own: it acts, whoever has asked it to.

Source: contract 1 (step), `noclobber.version.base.source`.
"""

import contextlib
from asyncio import _get_running_loop, current_task
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry import context as otel

from noclobber import recorder, scope, strands
from noclobber.edges import joined
from noclobber.frameworks.acting import fresh
from noclobber.guard import GUARD
from noclobber.strands import Strand
from noclobber.transports import baggage

__all__ = ["Visit", "handled", "received"]

STEP: Final = "request"
"""Names each request's step; addresses are what callers like to put their secrets into."""


class Visit:
    """One request that came with a strand.

    Attributes:
        strand: its handler's.
    """

    def __init__(self, strand: Strand) -> None:
        self.strand = strand
        self._answering = [strand]

    def note(self) -> None:
        """The running strand begins the answer."""
        strand = strands.current()
        if strand not in self._answering:
            self._answering.append(strand)

    def answer(self) -> str | None:
        """The header of the answer; None where nothing was done for it."""
        places = [(strand.id, strand.seq) for strand in self._answering if strand.seq]
        return baggage.answer(places) if places else None


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """While a request is handled: a step, where nobody around has begun one."""
    token = None
    with GUARD:
        outer = scope.current()
        if recorder.active() is not None and (outer is None or outer.step is None):
            token = otel.attach(otel.set_value(scope._KEY, scope.merged(outer, None, None, fresh(STEP))))
    try:
        yield
    except GeneratorExit:  # thrown away by the collector, in whatever context that runs
        token = None
        raise
    finally:
        with GUARD:
            if token is not None:
                otel.detach(token)


@contextlib.contextmanager
def received(header: str | None) -> Iterator[Visit | None]:
    """While a request whose baggage is `header` is handled; None where that carries no strand."""
    task, visit, before = None, None, None
    with GUARD:
        if header:
            task = _task()
            visit = _visit(header) if task is not None else None
            if visit is not None:
                before = _exchanged(task, visit.strand)
    try:
        yield visit
    finally:
        with GUARD:
            if visit is not None and before is not None:
                _exchanged(task, before)
                joined(visit.strand)


def _task() -> Any:
    loop = _get_running_loop()
    return None if loop is None or recorder.active() is None else current_task(loop)


def _visit(header: str) -> Visit | None:
    place = baggage.carried(header)
    if place is None:
        return None
    around = strands.current()
    strand = Strand(strands.elsewhere(*place), around.name)
    strand.locks, strand.suppressed, strand.losses = around.locks, around.suppressed, around.losses
    return Visit(strand)


def _exchanged(task: Any, strand: Strand) -> Strand:
    """Let `task` run as `strand` from now on; returns as which one it ran."""
    before = strands.of_task(task)
    task._noclobber_strand = strand
    return before
