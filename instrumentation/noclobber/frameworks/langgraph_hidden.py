"""What LangGraph's savers and stores do in their databases besides what is recorded of them: none of it is an access.

Tables are set up, pending writes kept under a task's own id, histories listed, expired items swept, all through
sqlite3 or psycopg, whose own hooks would tell rows of LangGraph's tables as if they were an agent's state.

Source: langgraph/checkpoint/sqlite, langgraph/store/sqlite; contract 2.4 (one call is counted once).
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, Final

from opentelemetry import context as otel

from noclobber import scope, strands
from noclobber.frameworks.langgraph_seams import is_hidden, wrap
from noclobber.guard import GUARD
from noclobber.scope import Enclosed, Scope

__all__ = ["OF_SAVERS", "OF_STORES", "hide", "hiding"]

OF_SAVERS: Final = (
    "setup", "put_writes", "aput_writes", "list", "alist", "get_delta_channel_history", "aget_delta_channel_history",
)  # fmt: skip
OF_STORES: Final = ("setup", "sweep_ttl")


def hide(owner: type, names: tuple[str, ...]) -> None:
    """Let nothing be recorded inside those methods of `owner` that it has."""
    for name in names:
        wrap(owner, name, _hidden)


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
