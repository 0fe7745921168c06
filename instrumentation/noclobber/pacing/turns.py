"""Turns: asyncio's tasks go on one at a time, from access point to access point, in an order that somebody chooses.

    turns = Turns()
    turns.begin(recorder)
    turns.start("planner", plan())
    turns.start("writer", write())
    while labels := await turns.waiting():
        await turns.go_on(choose(labels))

A strand that has made an access waits for its turn before its program has the answer (decision 0012), so between two
choices exactly one strand runs, and the choices alone decide what happens: the same ones give the same interleaving
on every event loop. A strand is driven if it was started here, or by one that is and by the program's own code; tasks
that a library starts for itself run freely.

A driven strand that waits for another driven one, for a lock, an event or a queue of asyncio's is out of the game until
that has come, and then waits for its turn as well. What else it waits for (an answer of a store, a timer, a thread) is
waited for; what takes longer than `patience_s` is taken for something that another strand must do.

Source: Musuvathi et al., Finding and Reproducing Heisenbugs in Concurrent Programs (CHESS), OSDI 2008; which order to
choose is decided elsewhere.
"""

import asyncio
import os
import sys
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import CodeType, FrameType
from typing import Any, Final

from noclobber import recorder, scope, strands, tasks
from noclobber.access import Access, Call
from noclobber.contract import Op
from noclobber.pacing import seams
from noclobber.pacing.holds import Hold, forgive, paced
from noclobber.pacing.pacer import Pacer

__all__ = ["PATIENCE_S", "Line", "Standing", "Stuck", "Turns"]

PATIENCE_S: Final = 1.0
"""How long an answer from outside is waited for before another strand may go on."""
ROUNDS_MAX: Final = 1000
"""Rounds of the loop in which what was set in motion must arrive."""
ROUNDS_MIN: Final = 6
"""Rounds after which nothing more is on its way: a task's end reaches who waits for its group in three."""
CANCELS_MAX: Final = 5
"""How often a strand is cancelled that goes on all the same."""
LINES_MAX: Final = 10_000
NEVER: Final = frozenset({Op.JOIN, Op.SPAWN, Op.MARK})
_ASYNCIO: Final = os.path.dirname(asyncio.__file__) + os.sep  # noqa: PTH120  a prefix, compared as text
_NOCLOBBER: Final = os.path.dirname(recorder.__file__) + os.sep  # noqa: PTH120
_WAITING_FOR_OTHERS: Final = frozenset(
    _ASYNCIO + name for name in ("locks.py", "queues.py", "taskgroups.py", "runners.py")
)
_TASKS: Final = _ASYNCIO + "tasks.py"
_AWAITED: Final = {"_wait": "fs", "wait_for": "fut"}
"""Functions of `asyncio.tasks` that wait for others by a future of their own, and the variable that names those."""


class Standing(StrEnum):
    """What a driven strand is at."""

    RUNNING = "running"
    PARKED = "parked"
    """It waits for its turn."""
    BLOCKED = "blocked"
    """It waits for another."""
    ENDED = "ended"


class Stuck(RuntimeError):  # noqa: N818  a state that the program is in
    """All strands wait for one another: nobody can go on."""


class Line:
    """One driven strand.

    Attributes:
        label: what it is called, the same in every run. standing: what it is at.
        task: what it runs in. points: how many access points it has passed.
        idle: whether it has nothing to do, so that nobody waits for it.
    """

    __slots__ = ("_children", "_turn", "_waited", "idle", "label", "points", "standing", "task")

    def __init__(self, label: str) -> None:
        self.label = label
        self.standing = Standing.RUNNING
        self.task: asyncio.Task[Any] | None = None
        self.points = 0
        self.idle = False
        self._children = 0
        self._turn: asyncio.Future[None] | None = None
        self._waited: Any = None

    def child(self) -> "Line":
        """A strand that this one starts."""
        self._children += 1
        return Line(f"{self.label}.{self._children}")

    def due(self) -> bool:
        """Whether what it waits for has come, so that it will go on by itself."""
        done = getattr(self._waited, "done", None)
        return self.standing is Standing.BLOCKED and done is not None and bool(done())


@dataclass(frozen=True, slots=True)
class _Turn(Hold):
    """A wait that lasts until its strand is chosen."""

    turns: "Turns | None" = None
    line: Line | None = None

    def block(self) -> None:
        """A driven strand is a task; what a thread does for it is no access point."""

    async def pause(self) -> None:
        assert self.turns is not None
        assert self.line is not None
        await self.turns._park(self.line)


class Turns(Pacer):
    """Drives the tasks of one event loop, one at a time.

    Attributes:
        lines: the driven strands, in the order in which they were started.
        patience_s: how long an answer from outside is waited for.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self.patience_s = patience_s
        self._by_strand: dict[str, Line] = {}
        self._starting: Line | None = None
        self._changed: asyncio.Event | None = None
        self._ending = False

    # -- who drives ------------------------------------------------------------------------------------------------

    def start(
        self, label: str, coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop | None = None
    ) -> Line:
        """Start `coroutine` as the agent `label`; it stands before its first step."""
        line = Line(label)
        self._starting = line
        try:
            with scope.entered(agent=label, explicit=True):
                line.task = (loop or asyncio.get_running_loop()).create_task(coroutine, name=label)
        finally:
            self._starting = None
        return line

    async def waiting(self) -> list[Line]:
        """The strands of which one may go on, once nobody runs; empty: all have ended, or wait for what others do."""
        await self._quiet()
        return [line for line in self.lines if line.standing is Standing.PARKED]

    async def go_on(self, line: Line) -> None:
        """Let `line` run to its next access point, to its end, or until it waits for another."""
        turn, line._turn = line._turn, None
        if turn is not None and not turn.done():
            line.standing = Standing.RUNNING
            line.points += 1
            turn.set_result(None)
        await self._quiet()

    async def run(self, choose: Callable[[list[Line]], Line]) -> None:
        """Let all go on as `choose` says, to their ends.

        Raises:
            Stuck: they all wait for one another.
        """
        while lines := await self.waiting():
            await self.go_on(choose(lines))
        left = [line.label for line in self.lines if line.standing is not Standing.ENDED]
        if left:
            raise Stuck(f"{', '.join(left)} wait for one another, and nobody can go on")

    async def cancel(self) -> None:
        """End what has not ended: each is cancelled, and waits for no turn in what it does then."""
        self._ending = True
        for _ in range(CANCELS_MAX):
            left = [line for line in self.lines if line.task is not None and not line.task.done()]
            if not left:
                return
            for line in left:
                assert line.task is not None
                line.task.cancel()
            await asyncio.wait([line.task for line in left if line.task is not None], timeout=self.patience_s)

    async def _quiet(self) -> None:
        """Wait until nobody runs, and nothing that was set in motion is on its way."""
        self._changed = self._changed or asyncio.Event()
        waited = False
        for _ in range(ROUNDS_MAX):
            running = [line for line in self.lines if line.standing is Standing.RUNNING]
            if running:
                if not await self._change():
                    for line in running:
                        line.standing = Standing.BLOCKED
                continue
            await self._rounds()
            if any(line.standing is Standing.RUNNING or line.due() for line in self.lines):
                continue
            blocked = any(line.standing is Standing.BLOCKED and not line.idle for line in self.lines)
            if waited or not blocked or any(line.standing is Standing.PARKED for line in self.lines):
                return
            waited = not await self._change()  # all wait: a timer or an answer from outside may still come

    async def _change(self) -> bool:
        """Whether a strand's standing changes in time."""
        assert self._changed is not None
        self._changed.clear()
        try:
            async with asyncio.timeout(self.patience_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _rounds(self) -> None:
        for number in range(ROUNDS_MAX):
            if number >= ROUNDS_MIN and not any(line.due() for line in self.lines):
                return
            await asyncio.sleep(0)

    # -- who is driven ---------------------------------------------------------------------------------------------

    def hold_after(self, active: "recorder.Recorder", call: Call, accesses: Sequence[Access]) -> Hold | None:  # noqa: ARG002
        """Until it is chosen."""
        line = self._by_strand.get(call.strand.id)
        if line is None or all(access.op in NEVER for access in accesses):
            return None
        return _Turn(0.0, turns=self, line=line)

    def begin(self, active: "recorder.Recorder") -> None:
        """Drive what is started from now on."""
        seams.begin()
        tasks.around = self._around
        active.pace(self)

    def _around(self, coroutine: Any) -> Any:
        line, self._starting = self._starting, None
        if line is None:
            parent = self._by_strand.get(strands.current().id)
            if parent is None or not _by_the_program(coroutine, sys._getframe(2)):
                return coroutine
            line = parent.child()
        if not asyncio.iscoroutine(coroutine) or len(self.lines) >= LINES_MAX:
            return coroutine
        self.lines.append(line)
        run = _run(self, line, coroutine)
        run.__name__, run.__qualname__ = coroutine.__name__, coroutine.__qualname__  # type: ignore[attr-defined]  # a coroutine's
        return run

    async def _park(self, line: Line) -> None:
        """Wait for its turn."""
        if self._ending:
            return
        line._turn = asyncio.get_running_loop().create_future()
        self._stands(line, Standing.PARKED)
        try:
            await line._turn
        except BaseException:
            line._turn = None
            line.standing = Standing.RUNNING
            raise

    def _stands(self, line: Line, standing: Standing) -> None:
        line.standing = standing
        if self._changed is not None:
            self._changed.set()


def _is_driven(future: Any) -> bool:
    """Whether a future is that of a driven strand, or of several of which one is."""
    children = getattr(future, "_children", None)
    if children is not None:
        return any(not child.done() and _is_driven(child) for child in children)
    coroutine = future.get_coro() if hasattr(future, "get_coro") else None
    return getattr(coroutine, "cr_code", None) is _run.__code__


async def _run(turns: Turns, line: Line, inner: Coroutine[Any, Any, Any]) -> Any:
    strand = strands.current().id
    before = turns._by_strand.get(strand)  # a helper of `wait_for` runs as the strand that waits
    turns._by_strand[strand] = line
    line.task = line.task or asyncio.current_task()
    try:
        return await _stepped(turns, line, inner, paced(inner, lambda: _Turn(0.0, turns=turns, line=line)))
    finally:
        if before is not None:
            turns._by_strand[strand] = before
        turns._stands(line, Standing.ENDED)


@types.coroutine
def _stepped(turns: Turns, line: Line, program: Any, inner: Any) -> Generator[Any, Any, Any]:
    """Run `inner`, which runs `program`; once what it waits for has come from another strand it waits for its turn."""
    value: Any = None
    error: BaseException | None = None
    try:
        while True:
            try:
                waited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as end:
                return end.value
            value = error = None
            line._waited = waited
            if line.standing is Standing.RUNNING and _for_another(waited, program):
                turns._stands(line, Standing.BLOCKED)
            try:
                value = yield waited
            except BaseException as raised:
                error = raised
            if line.standing is Standing.BLOCKED and not isinstance(error, asyncio.CancelledError | GeneratorExit):
                forgive()  # one wait is enough
                try:
                    yield from turns._park(line).__await__()
                except BaseException as raised:  # it is cancelled meanwhile
                    value, error = None, raised
            line.standing = Standing.RUNNING
    finally:
        inner.close()


def _for_another(waited: Any, program: Any) -> bool:
    """Whether what a strand waits for is what another strand will do."""
    if waited is None:
        return False
    if _is_driven(waited):
        return True
    code, frame = _innermost(program)
    if code is None:
        return False
    if code.co_filename in _WAITING_FOR_OTHERS:
        return True
    if code.co_filename == _TASKS and frame is not None:
        name = _AWAITED.get(code.co_name)
        awaited = frame.f_locals.get(name) if name is not None else ()
        each = awaited if isinstance(awaited, set | tuple | list) else (awaited,)
        return any(_is_driven(future) for future in each if future is not None and not future.done())
    return False


def _innermost(coroutine: Any) -> tuple[CodeType | None, FrameType | None]:
    """Where a suspended coroutine stands."""
    found: tuple[CodeType | None, FrameType | None] = (None, None)
    while coroutine is not None:
        for prefix, below in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            code = getattr(coroutine, f"{prefix}_code", None)
            if code is not None:
                found = code, getattr(coroutine, f"{prefix}_frame", None)
                coroutine = getattr(coroutine, below, None)
                break
        else:
            return found
    return found


def _by_the_program(coroutine: Any, frame: FrameType | None) -> bool:
    """Whether a task is made by the program's own code, or runs it; not one that a library makes for itself."""
    active = recorder.active()
    if active is None:
        return False
    code = getattr(coroutine, "cr_code", None)
    own = active._sites
    if code is not None and own.of_file(code.co_filename):
        return True
    while frame is not None and frame.f_code.co_filename.startswith((_ASYNCIO, _NOCLOBBER)):
        frame = frame.f_back
    return frame is not None and own.of_file(frame.f_code.co_filename)
