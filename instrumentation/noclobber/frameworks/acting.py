"""Who acts inside a framework's call: agent, run and step, laid over whatever that call runs.

A framework knows whom it lets act, so identity needs no line in the agent: the function that runs an agent, a tool or
a step is wrapped, and what is known of its arguments becomes the scope of all that happens inside. Scopes travel in
OpenTelemetry's context, so tasks and threads that the framework starts have them too. A generator has its scope while
it works, not while its caller does.

Source: capture.md, sections 5 and 6.3 (a context that was set is always reset).
"""

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from opentelemetry import context as otel

from noclobber import recorder, scope, strands
from noclobber.guard import GUARD

__all__ = ["Says", "Who", "acting", "fresh"]


class Who(NamedTuple):
    """What a framework says of one call; None where it says nothing, and what is around holds on."""

    agent: str | None = None
    run: str | None = None
    step: str | None = None


Says = Callable[[tuple[Any, ...], dict[str, Any]], Who | None]
"""Tells who acts, given a call's arguments; None where nothing is known."""

_numbers: Iterator[int] = itertools.count(1)


def fresh(word: str) -> str:
    """A name for a run or step to which the framework gives none: unique in the deployment."""
    return f"{word}-{strands.process_id()[:8]}.{next(_numbers)}"


def acting(says: Says) -> Callable[[Any], Any]:
    """Makes of a function one that runs as whom `says` names; plain, coroutine and generator functions alike."""

    def make(original: Any) -> Any:
        if inspect.iscoroutinefunction(original):
            return _coroutine(original, says)
        if inspect.isasyncgenfunction(original):
            return _async_generator(original, says)
        if inspect.isgeneratorfunction(original):
            return _generator(original, says)
        return _plain(original, says)

    return make


def _plain(original: Any, says: Says) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        inner = _inner(says, args, kwargs)
        token = _enter(inner)
        try:
            result = original(*args, **kwargs)
        finally:
            _leave(token)
        return _finished(result, inner) if inspect.iscoroutine(result) else result

    return function


async def _finished(result: Any, inner: scope.Scope | None) -> Any:
    """A coroutine that a plain function has made: it runs when it is awaited."""
    token = _enter(inner)
    try:
        return await result
    except GeneratorExit:
        token = None
        raise
    finally:
        _leave(token)


def _coroutine(original: Any, says: Says) -> Any:
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        token = _enter(_inner(says, args, kwargs))
        try:
            return await original(*args, **kwargs)
        except GeneratorExit:  # thrown away by the collector, in whatever context that runs
            token = None
            raise
        finally:
            _leave(token)

    return coroutine


def _generator(original: Any, says: Says) -> Any:
    def generator(*args: Any, **kwargs: Any) -> Any:
        inner, items = _inner(says, args, kwargs), original(*args, **kwargs)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                token = _enter(inner)
                try:
                    item = items.send(sent) if thrown is None else items.throw(thrown)
                except StopIteration as end:
                    return end.value
                finally:
                    _leave(token)
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    thrown = error
        finally:
            items.close()

    return generator


def _async_generator(original: Any, says: Says) -> Any:
    async def generator(*args: Any, **kwargs: Any) -> Any:
        inner, items = _inner(says, args, kwargs), original(*args, **kwargs)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            while True:
                token = _enter(inner)
                try:
                    item = await (items.asend(sent) if thrown is None else items.athrow(thrown))
                except StopAsyncIteration:
                    return
                finally:
                    _leave(token)
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:
                    thrown = error
        finally:
            await items.aclose()

    return generator


def _inner(says: Says, args: tuple[Any, ...], kwargs: dict[str, Any]) -> scope.Scope | None:
    """The scope inside a call, None where it is the one outside."""
    with GUARD:
        who = says(args, kwargs) if recorder.active() is not None else None
        outer = scope.current()
        if who is not None and not isinstance(outer, scope.Enclosed):
            return scope.merged(outer, who.agent, who.run, who.step)
    return None


def _enter(inner: scope.Scope | None) -> Any:
    with GUARD:
        if inner is not None:
            return otel.attach(otel.set_value(scope._KEY, inner))
    return None


def _leave(token: Any) -> None:
    with GUARD:
        if token is not None:
            otel.detach(token)
