"""What a framework does in its databases besides what is recorded of it: none of it is an access of an agent's.

Tables are set up, pending writes kept under a task's own id, outputs logged, all through client libraries whose own
hooks would tell rows of the framework's tables as if they were an agent's state.

Source: contract 2.4 (one call is counted once).
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as otel

from noclobber import edges, scope, strands
from noclobber.frameworks.seams import Seams, is_hidden
from noclobber.guard import GUARD
from noclobber.scope import Enclosed, Scope

__all__ = ["hide", "hiding", "showing"]


def hide(seams: Seams, owner: type, names: tuple[str, ...]) -> None:
    """Let nothing be recorded inside those methods of `owner` that it has."""
    for name in names:
        seams.wrap(owner, name, _hidden)


@contextlib.contextmanager
def hiding() -> Iterator[None]:
    """Whatever happens inside is part of something that is none of the agent's accesses."""
    token = strand = None
    with GUARD:
        if not is_hidden():
            known = scope.current() or Scope()
            inner = Enclosed(known.agent, known.run, known.step, known.explicit, known.unit)
            token = otel.attach(otel.set_value(scope._KEY, inner))
            strand = strands.current()
            strand.suppressed += 1
    try:
        yield
    finally:
        with GUARD:
            if strand is not None:
                strand.suppressed -= 1
            if token is not None:
                otel.detach(token)


@dataclass(frozen=True, slots=True)
class _Shown(Scope):
    """The scope of what is told of besides the call that it is part of."""


@contextlib.contextmanager
def showing(library: str) -> Iterator[None]:
    """Inside a recorded call of `library`: what happens here touches other state than that call is told of.

    All that one such call shows is one step, whatever threads it runs in: its writes rest on what it read itself. What
    a call that is shown is made of stays hidden.
    """
    token = strand = None
    suppressed = 0
    with GUARD:
        known = scope.current()
        call = known.call if isinstance(known, Enclosed) else None
        if known is not None and call is not None and call.library == library and not isinstance(call.scope, _Shown):
            step = f"{library}-{call.strand.id}-{call.first_seq}"
            shown = _Shown(known.agent, known.run, step, known.explicit, step)
            token = otel.attach(otel.set_value(scope._KEY, shown))
            strand = strands.current()
            if strand.parent_id == call.strand.id and not strand.seq:  # a helper of the call, of which nobody was told
                edges.note_spawn(strand, call.strand)
            suppressed, strand.suppressed = strand.suppressed, 0
    try:
        yield
    finally:
        with GUARD:
            if strand is not None:
                strand.suppressed += suppressed
            if token is not None:
                otel.detach(token)


def _hidden(original: Any) -> Any:
    if inspect.isasyncgenfunction(original):
        return _hidden_items_async(original)
    if inspect.isgeneratorfunction(original):
        return _hidden_items(original)

    def method(*args: Any, **kwargs: Any) -> Any:
        with hiding():
            return original(*args, **kwargs)

    async def amethod(*args: Any, **kwargs: Any) -> Any:
        with hiding():
            return await original(*args, **kwargs)

    return amethod if inspect.iscoroutinefunction(original) else method


def _hidden_items(original: Any) -> Any:
    """A generator is hidden while it works, not while its caller does."""

    def method(*args: Any, **kwargs: Any) -> Any:
        with contextlib.closing(original(*args, **kwargs)) as items:
            while True:
                with hiding():
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                yield item

    return method


def _hidden_items_async(original: Any) -> Any:
    async def method(*args: Any, **kwargs: Any) -> Any:
        async with contextlib.aclosing(original(*args, **kwargs)) as items:
            while True:
                with hiding():
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                yield item

    return method
