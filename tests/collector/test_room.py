"""The room that the bytes of all requests share: never more than its limits, and given back whatever happens."""

import asyncio
import contextlib

import pytest

from noclobber_collector.receiver.answers import Refusal
from noclobber_collector.receiver.room import SMALL, Held, Room


def test_there_is_never_more_than_the_limit() -> None:
    """Large requests leave some of it for small ones; what was refused is not counted."""
    room = Room(10 * SMALL, 8 * SMALL)
    with Held(room) as large, Held(room) as other, Held(room) as small:
        large.grow(6 * SMALL)
        other.grow(2 * SMALL)
        assert not other.fits(1)
        for _ in range(4):
            small.grow(SMALL // 4)
        assert not small.fits(1)  # it is small no more
        with Held(room) as another:
            assert another.fits(SMALL)
            with pytest.raises(Refusal, match="come again"):
                Held(room).grow(1)
            assert room.bytes == 10 * SMALL
    assert room.bytes == 0


def test_it_is_given_back_whatever_happens() -> None:
    """In part while it is held, and the rest at the end."""
    room = Room(100, 100)
    with contextlib.suppress(ZeroDivisionError), Held(room) as held:
        held.grow(80)
        held.shrink(30)
        held.shrink(50)
        assert (held.size, room.bytes) == (30, 30)
        raise ZeroDivisionError
    assert room.bytes == 0


def test_who_has_waited_longest_is_told_first() -> None:
    """And one that waits no more is passed over."""

    async def told() -> list[str]:
        room, order = Room(100, 100), []

        async def wait(name: str, seconds: float) -> None:
            await room.wait(seconds)
            order.append(name)

        waiting = [asyncio.create_task(wait(name, 60)) for name in ("first", "second", "third")]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.wait(waiting[1:2])
        for each in (waiting[0], waiting[2]):
            room.give(0)
            await each
        await wait("nobody gave", 0.01)
        return order

    assert asyncio.run(told()) == ["first", "third", "nobody gave"]
