"""How a strand is held: a thread sleeps, a task awaits, a greenlet of SQLAlchemy's awaits through its parent.

An access ends in plain code, also where a coroutine made it; a loop must not be blocked there, so a task *owes* the
hold and pays at the next place where it can wait: where the hook of an async library returns (`seams`), else before it
goes on after its next `await` (`paced`). In between it can have done nothing that another task of its loop could see.
What runs in a bare callback of a loop can't wait at all and is not held. Every hold has an end.
"""

import asyncio
import sys
import time
import types
from asyncio import _get_running_loop, current_task
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

from noclobber import strands
from noclobber.guard import GUARD

__all__ = ["HOLD_S_MAX", "Hold", "forgive", "hold", "paced", "settle"]

HOLD_S_MAX: Final = 60.0
"""No hold is longer, whatever a plan says."""
OWED_MAX: Final = 10_000
"""Tasks that may owe a hold at one time; one that never goes on again never pays."""
LOOK_EVERY_S: Final = 0.002
_owed: dict[str, "Hold"] = {}


@dataclass(frozen=True, slots=True)
class Hold:
    """One wait.

    Attributes:
        seconds: at most so long.
        released: whether it may end now; None: it lasts the whole time.
        ended: told at its end whether it was released before its time was over.
    """

    seconds: float
    released: Callable[[], bool] | None = None
    ended: Callable[[bool], None] | None = None

    def waits(self) -> Generator[float, None, None]:
        """The pauses that it consists of, in seconds."""
        until = time.monotonic() + min(self.seconds, HOLD_S_MAX)
        while (rest := until - time.monotonic()) > 0 and not (self.released is not None and self.released()):
            yield rest if self.released is None else min(rest, LOOK_EVERY_S)
        if self.ended is not None:
            self.ended(rest > 0)

    def block(self) -> None:
        """Wait in a thread."""
        for pause in self.waits():
            time.sleep(pause)

    async def pause(self) -> None:
        """Wait in a task, without blocking its loop."""
        for pause in self.waits():
            await asyncio.sleep(pause)


def hold(strand: strands.Strand, held: Hold) -> bool:
    """Make the running code, which is `strand`, wait; whether it can."""
    loop = _get_running_loop()
    if loop is None:
        held.block()
        return True
    wait = _of_greenlet()
    if wait is not None:
        wait(held.pause())
        return True
    if current_task(loop) is None or len(_owed) >= OWED_MAX:
        return False
    _owed[strand.id] = held
    return True


def _of_greenlet() -> Callable[[Any], Any] | None:
    """What awaits for plain code that SQLAlchemy runs inside a task; None elsewhere."""
    known = sys.modules.get("sqlalchemy.util.concurrency")
    inside = getattr(known, "in_greenlet", None)
    return known.await_only if known is not None and inside is not None and inside() else None


async def settle() -> None:
    """Pay what the running task owes."""
    held = _owed.pop(strands.current().id, None) if _owed else None
    if held is not None:
        await held.pause()


def forgive() -> None:
    """What the running task owes it need not pay: it has waited for something else."""
    if _owed:
        _owed.pop(strands.current().id, None)


def paced(inner: Any, first: Callable[[], Hold | None] | None = None) -> Any:
    """`inner`, a coroutine, as one that pays what it owes each time before it goes on.

    Args:
        inner: a task's coroutine.
        first: a hold before its first step.
    """
    if not asyncio.iscoroutine(inner):
        return inner
    run = _run(inner, first)
    with GUARD:
        run.__name__, run.__qualname__ = inner.__name__, inner.__qualname__  # type: ignore[attr-defined]  # a coroutine's
    return run


async def _run(inner: Coroutine[Any, Any, Any], first: Callable[[], Hold | None] | None) -> Any:
    return await _stepped(inner, first)


@types.coroutine
def _stepped(inner: Coroutine[Any, Any, Any], first: Callable[[], Hold | None] | None) -> Generator[Any, Any, Any]:
    value: Any = None
    error: BaseException | None = None
    held = first() if first is not None else None
    try:
        while True:
            if held is not None:
                try:
                    yield from held.pause().__await__()
                except BaseException as raised:  # a cancellation while it is held belongs to what is held
                    value, error = None, raised
            try:
                waited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            value = error = None
            try:
                value = yield waited
            except BaseException as raised:
                error = raised
            held = None if not _owed or isinstance(error, GeneratorExit) else _owed.pop(strands.current().id, None)
    finally:
        inner.close()
