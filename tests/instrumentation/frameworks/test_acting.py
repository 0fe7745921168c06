"""Who acts inside a framework's calls: plain functions, coroutines, generators, and what they raise."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import noclobber
from noclobber import scope
from noclobber.frameworks.acting import Who, acting, fresh
from noclobber.testing import capture


def inside() -> tuple[str | None, str | None, str | None]:
    known = scope.current() or scope.Scope()
    return known.agent, known.run, known.step


def says(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Who:
    return Who("planner", "run-1", "step-1")


PLANNER = ("planner", "run-1", "step-1")
NOBODY = (None, None, None)


@pytest.fixture(autouse=True)
def on() -> Iterator[None]:
    """Recording is on."""
    with capture():
        yield


def test_a_plain_function() -> None:
    """It acts while it runs, and nobody does after it, also where it raises."""
    assert acting(says)(inside)() == PLANNER
    assert inside() == NOBODY

    def fail() -> None:
        raise KeyError(inside())

    with pytest.raises(KeyError) as caught:
        acting(says)(fail)()
    assert caught.value.args == (PLANNER,)
    assert inside() == NOBODY


async def test_a_coroutine() -> None:
    """Also one that a plain function has made, and a task that it starts."""

    async def ask() -> Any:
        await asyncio.sleep(0)
        return await asyncio.create_task(asyncio.sleep(0, inside())), inside()

    assert await acting(says)(ask)() == (PLANNER, PLANNER)
    assert await acting(says)(functools.partial(ask))() == (PLANNER, PLANNER)
    assert inside() == NOBODY


def test_a_generator() -> None:
    """It acts while it works, not while its caller does; what is sent, returned and thrown passes."""
    seen: list[Any] = []

    def work() -> Iterator[Any]:
        try:
            sent = yield inside()
            seen.append(sent)
            yield inside()
        finally:
            seen.append("closed")

    items: Any = acting(says)(work)()
    assert next(items) == PLANNER
    assert inside() == NOBODY
    assert items.send("answer") == PLANNER
    items.close()
    assert seen == ["answer", "closed"]


def test_what_is_thrown_into_a_generator_reaches_it() -> None:
    """As without noclobber."""

    def work() -> Iterator[str]:
        with contextlib.suppress(KeyError):
            yield "first"
        yield "after"

    items: Any = acting(says)(work)()
    assert next(items) == "first"
    assert items.throw(KeyError("x")) == "after"
    assert list(items) == []


async def test_an_async_generator() -> None:
    """The same with await."""
    closed: list[str] = []

    async def work() -> AsyncIterator[Any]:
        try:
            yield inside()
            await asyncio.sleep(0)
            yield inside()
        finally:
            closed.append("closed")

    items: Any = acting(says)(work)()
    assert await anext(items) == PLANNER
    assert inside() == NOBODY
    assert await anext(items) == PLANNER
    await items.aclose()
    assert closed == ["closed"]


async def test_what_is_thrown_into_an_async_generator_reaches_it() -> None:
    """As without noclobber."""

    async def work() -> AsyncIterator[str]:
        with contextlib.suppress(KeyError):
            yield "first"
        yield "after"

    items: Any = acting(says)(work)()
    assert await anext(items) == "first"
    assert await items.athrow(KeyError("x")) == "after"
    assert [each async for each in items] == []


def test_a_person_s_word_wins() -> None:
    """No framework overrides the agent that a person has named."""
    with noclobber.agent("me"):
        assert acting(says)(inside)() == ("me", "run-1", "step-1")


def test_names_of_ours_are_never_the_same() -> None:
    """Two runs without a name have two."""
    assert fresh("run") != fresh("run")
