"""Who acts: agent, run and step, carried inside OpenTelemetry's context.

They live in the OTel context, not in a context variable of our own, because frameworks and the stock threading
instrumentation carry the OTel context across threads and executors and nothing else. A framework's integration
enters a scope around each run and node; a person may do it by hand. What nobody said is filled in when the access is
sent (`default_agent`).
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel
from opentelemetry.context import Context

from noclobber import strands

if TYPE_CHECKING:
    from noclobber.access import Call

__all__ = ["Enclosed", "Scope", "current", "deliberate_name", "entered", "merged", "running"]

_KEY: Final = "noclobber-scope"
_DEFAULT_NAMES = re.compile(
    r"(MainThread|Thread-\d+.*|Task-\d+|Dummy-\d+|ThreadPoolExecutor-.*|asyncio_\d+|AnyIO worker thread.*)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known about who acts.

    Attributes:
        agent, run, step: None where not known.
        explicit: whether a person named the agent (`with noclobber.agent(...)`), so that no framework overrides it.
        unit: id of this one pass through the step, unique in the deployment: names of steps repeat (two invocations
            of one graph on one thread give their nodes the same ids), and what belongs together must not.
    """

    agent: str | None = None
    run: str | None = None
    step: str | None = None
    explicit: bool = False
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Enclosed(Scope):
    """The scope inside a recorded call: what happens in there, in whatever thread or task, is part of it."""

    call: "Call | None" = None


_passes = itertools.count(1)


def _running() -> Callable[[], Context]:
    variable = getattr(getattr(otel, "_RUNTIME_CONTEXT", None), "_current_context", None)
    return variable.get if isinstance(variable, ContextVar) else otel.get_current


running: Final = _running()
"""The running context, from its context variable itself where OpenTelemetry keeps it in one: a tenth of the cost."""


def current(context: Context | None = None) -> Scope | None:
    """The scope of `context`, of the running code where None."""
    found = (running() if context is None else context).get(_KEY)
    return found if isinstance(found, Scope) else None


@contextlib.contextmanager
def entered(
    agent: str | None = None, run: str | None = None, step: str | None = None, *, explicit: bool = False
) -> Iterator[Scope]:
    """Act as `agent`, in `run` and `step`; what is None stays as it was around.

    A new run leaves the outer step behind, since steps belong to runs.
    """
    scope = merged(current(), agent, run, step, explicit=explicit)
    token = otel.attach(otel.set_value(_KEY, scope))
    try:
        yield scope
    finally:
        otel.detach(token)


def merged(
    outer: Scope | None, agent: str | None, run: str | None, step: str | None, *, explicit: bool = False
) -> Scope:
    """`outer` with what is new laid over it."""
    if outer is None:
        return Scope(agent, run, step, explicit, _pass(step))
    keeps_agent = outer.explicit and not explicit
    stays = run is None or run == outer.run
    if stays and step in (None, outer.step):
        step, unit = outer.step, outer.unit
    else:
        unit = _pass(step)
    return Scope(
        outer.agent if keeps_agent and outer.agent else agent or outer.agent,
        run or outer.run,
        step,
        outer.explicit or explicit,
        unit,
    )


def count_units_from(first: int) -> None:
    """Number the units from `first` on (a test's are the same in every run)."""
    global _passes  # noqa: PLW0603  one counter a process
    _passes = itertools.count(first)


def _pass(step: str | None) -> str | None:
    return None if step is None else f"{strands.process_id()}-u{next(_passes)}"


def deliberate_name(name: str) -> str | None:
    """`name` of a thread or task if a person chose it, None for the names that libraries count up."""
    return None if _DEFAULT_NAMES.fullmatch(name) else name
