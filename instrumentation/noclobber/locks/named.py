"""Locks inside one process that somebody named: `noclobber.lock(threading.Lock(), name="ledger")`.

What `threading` and `asyncio` have as locks are mostly C types that nobody can patch, and a program has many that guard
nothing shared, so a lock is recorded where it is given a name. What comes back does what the lock does, and is used in
its place. Its holds are counted while it is held, so the count orders them exactly: it is the fencing token.

A semaphore that lets several in protects nothing from them: its takings are told as `shared`, and accesses inside do
not name it. One that was given back more often than taken lets more in than it was made for, and is shared from then
on.

Source: contract, 2.2 (a lock's own order in one process).
"""

import functools
import inspect
from types import TracebackType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Call
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.locks import holding
from noclobber.resources import uri
from noclobber.strands import Strand

__all__ = ["AsyncNamedLock", "NamedLock", "lock"]

LIBRARY: Final = "locks"
SYSTEM: Final = "memory"


def lock(target: Any, *, name: str) -> Any:
    """`target` with its taking and giving back recorded, as the lock `mem://{process}/{name}`.

    Args:
        target: a lock, reentrant lock or semaphore of `threading` or `asyncio`, or what behaves like one.
        name: what people call it; one name is one lock in a process.
    """
    return (AsyncNamedLock if inspect.iscoroutinefunction(target.acquire) else NamedLock)(target, name)


class _Named:
    """What both kinds share; everything that is not said here is the lock's own."""

    def __init__(self, target: Any, name: str) -> None:
        self._target = target
        self._name = name
        self._shared = getattr(target, "_value", 1) != 1
        self._named = "", ""
        self._holder: Strand | None = None
        self._depth = 0
        self._count = 0

    def __getattr__(self, name: str) -> Any:
        if name == "_target":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._target, name)

    def __repr__(self) -> str:
        return f"noclobber.lock({self._target!r}, name={self._name!r})"

    def release(self, *args: Any) -> Any:
        """Give it back, as the lock does."""
        if self._depth > 1:
            self._depth -= 1
            return self._target.release(*args)
        return self._given_back(functools.partial(self._target.release, *args))

    def _begin(self, op: Op) -> Call | None:
        with GUARD:
            return holding.begin(LIBRARY, op, self._uri, SYSTEM)
        return None

    @property
    def _uri(self) -> str:
        process = strands.process_id()
        if self._named[0] != process:
            self._named = process, uri("mem", process, self._name)
        return self._named[1]

    def _taken(self, call: Call | None, taken: Any, error: BaseException | None) -> None:
        """The lock was asked for, and `taken` or not; in the hands of the taker only one strand comes here."""
        with GUARD:
            ok, strand = bool(taken) and error is None, strands.current()
            if ok and not self._shared:
                self._count += 1
                self._depth, self._holder = 1, strand
            if call is not None:
                outcome = Outcome.OK if ok else Outcome.REJECTED if error is None else Outcome.ERROR
                token = self._count if ok and not self._shared else None
                holding.end(call, self._fact(Op.LOCK, strand, outcome, token), error)
                if token is not None:
                    holding.take(strand, f"{self._uri}#{token}")

    def _given_back(self, give: Any) -> Any:
        """Give it back; from then on another may hold it, so all that is known of this hold is taken out before."""
        holder, token, depth = self._holder, self._count, self._depth
        strand = holder or strands.current()
        self._shared = self._shared or holder is None
        self._holder, self._depth = None, 0
        with GUARD:
            if holder is not None:
                holding.drop(holder, f"{self._uri}#{token}")
        call = self._begin(Op.UNLOCK)
        try:
            answer = give()
        except BaseException as error:
            if holder is not None:
                self._holder, self._depth = holder, depth
                holding.take(holder, f"{self._uri}#{token}")
            self._end_release(call, strand, None if holder is None else token, error)
            raise
        self._end_release(call, strand, None if holder is None else token, None)
        return answer

    def _end_release(self, call: Call | None, strand: Strand, token: int | None, error: BaseException | None) -> None:
        with GUARD:
            if call is not None:
                outcome = Outcome.OK if error is None else Outcome.REJECTED
                holding.end(call, self._fact(Op.UNLOCK, strand, outcome, token), error)

    def _fact(self, op: Op, strand: Strand, outcome: Outcome, token: int | None) -> holding.Fact:
        return holding.Fact(op, self._uri, SYSTEM, strand.id, outcome, token, shared=self._shared)


class NamedLock(_Named):
    """A lock, reentrant lock or semaphore of threads; see `lock`."""

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        """Take it, as the lock does."""
        if self._depth and self._is_mine():
            taken = self._target.acquire(*args, **kwargs)
            self._depth += 1
            return taken
        call = self._begin(Op.LOCK)
        try:
            taken = self._target.acquire(*args, **kwargs)
        except BaseException as error:
            self._taken(call, None, error)
            raise
        self._taken(call, taken, None)
        return taken

    def __enter__(self) -> Any:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _is_mine(self) -> bool:
        """Whether the running thread holds it and may take it once more."""
        owned = getattr(self._target, "_is_owned", None)
        return owned is not None and bool(owned())

    @property
    def _release_save(self) -> Any:
        """What a `threading.Condition` gives a reentrant lock back by, however often it was taken."""
        save = self._target._release_save

        def give_up() -> Any:
            depth = self._depth
            return self._given_back(save), depth

        return give_up

    @property
    def _acquire_restore(self) -> Any:
        """What it takes it again by."""
        restore = self._target._acquire_restore

        def take_again(state: Any) -> None:
            inner, depth = state
            call = self._begin(Op.LOCK)
            restore(inner)
            self._taken(call, taken=True, error=None)
            self._depth = depth

        return take_again


class AsyncNamedLock(_Named):
    """A lock or semaphore of asyncio; see `lock`."""

    async def acquire(self) -> Any:
        """Take it, as the lock does."""
        call = self._begin(Op.LOCK)
        try:
            taken = await self._target.acquire()
        except BaseException as error:
            self._taken(call, None, error)
            raise
        self._taken(call, taken, None)
        return taken

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
