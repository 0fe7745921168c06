"""Strands: sequential lines of execution, and which one is running.

A strand is a thread, or an asyncio task, or a bare callback of an event loop. Program order exists only inside a
strand; `seq` counts its accesses. The strand hangs on the running task object itself, not on a context variable:
tasks that share one explicit context are two strands.

Which waits join strands is decided by `noclobber.tasks` and `noclobber.threads`.
"""

import itertools
import secrets
import sys
import threading
from asyncio import _get_running_loop, current_task
from asyncio.events import Handle
from typing import Any, Final

__all__ = [
    "Strand",
    "begin_process",
    "current",
    "elsewhere",
    "go_on_as",
    "live_in",
    "local",
    "of_task",
    "process_id",
    "reset_after_fork",
    "set_thread_strand",
    "thread_strand",
]


KNOWN_MAX: Final = 64
"""Joins that a strand remembers, the last ones; a join that is forgotten is at worst sent twice."""


LOSSES_MAX: Final = 64
"""Losses that a strand remembers by number; with a full ring they come in thousands."""


class Strand:
    """One sequential line of execution.

    Attributes:
        id: unique in the deployment: process id, a dash, a number.
        seq: how many accesses it has begun.
        parent_id, parent_seq: the strand that started it, and that strand's last number then. Only its name is kept: a
            chain of tasks that start one another must not hold all of them in memory.
        locks: locks that it holds, as the contract writes them.
        name: the thread's or task's name.
        announced: number of the access that carried parent_id and parent_seq first, 0 before.
        lost_seq: the last number of a lost call of its own, 0 before.
        losses: numbers of the lost calls that it comes after, its own and others'; it trusts nothing older.
        joined: whether it has waited for another strand, so that waiting for it tells something.
        kept: what the parts of the drain keep with it, by part; the drain's alone, and gone with the strand.
        suppressed: above 0 while calls are not to be recorded (they are part of a call that is).
    """

    __slots__ = (
        "__weakref__", "_known", "announced", "id", "joined", "kept", "locks", "losses", "lost_seq", "name",
        "parent_id", "parent_seq", "seq", "suppressed",
    )  # fmt: skip

    def __init__(self, parent: "Strand | None" = None, name: str = "") -> None:
        self.id = f"{_process}-{next(_numbers)}"
        self.parent_id, self.parent_seq = _ancestor(parent) if parent is not None else (None, 0)
        self.seq = 0
        self.locks: tuple[str, ...] = ()
        self.name = name
        self.announced = 0
        self.lost_seq = 0
        self.losses: frozenset[int] = frozenset()
        self.joined = False
        self.kept: dict[object, Any] = {}
        self.suppressed = 0
        self._known: dict[str, int] | None = None

    def take(self, count: int = 1) -> int:
        """Take the next `count` numbers; returns the first."""
        first = self.seq + 1
        self.seq += count
        return first

    def lose(self, seq: int) -> None:
        """Note that the call up to number `seq` will never be seen."""
        self.lost_seq = max(self.lost_seq, seq)
        known = self.losses if len(self.losses) < LOSSES_MAX else frozenset()  # fewer known: others forget more
        self.losses = known | {next(_losses)}

    def knows(self, other: "Strand") -> bool:
        """Whether the join with `other` at its present number was noted lately (results are asked for twice)."""
        return self._known is not None and self._known.get(other.id) == other.seq

    def note_known(self, other: "Strand") -> None:
        """Remember the join with `other`."""
        known = self._known = {} if self._known is None else self._known
        known.pop(other.id, None)
        known[other.id] = other.seq
        if len(known) > KNOWN_MAX:
            del known[next(iter(known))]

    def __repr__(self) -> str:
        return f"<Strand {self.id} seq={self.seq}>"


def _ancestor(parent: Strand) -> tuple[str | None, int]:
    """Whom a child of `parent` follows: `parent`, or whom that one follows while it has made no access itself."""
    return (parent.id, parent.seq) if parent.seq else (parent.parent_id, parent.parent_seq)


def elsewhere(identity: str, seq: int) -> Strand:
    """The strand of another process that names itself `identity` and stands at number `seq`."""
    strand = Strand()
    strand.id, strand.seq = identity, seq
    return strand


_process = secrets.token_hex(8)
_numbers = itertools.count(1)
_losses = itertools.count(1)
_new_local: Any = threading.local
_local: Any = threading.local()
_RUN_CALLBACK: Final = Handle._run.__code__


def process_id() -> str:
    """`noclobber.process`: random, new for every start and every fork."""
    return _process


def current() -> Strand:
    """The strand of the running code; made where there is none yet."""
    loop = _get_running_loop()
    if loop is None:
        try:
            return _local.strand  # type: ignore[no-any-return]  # set below and by noclobber.threads
        except AttributeError:
            return _of_thread()
    return _in_loop(loop)


def set_thread_strand(strand: Strand | None) -> Strand | None:
    """Make `strand` the running thread's; returns the one before (None: made when first asked for)."""
    before: Strand | None = getattr(_local, "strand", None)
    if strand is None:
        if before is not None:
            del _local.strand
    else:
        _local.strand = strand
    return before


def thread_strand() -> Strand | None:
    """The running thread's strand, if it has one already."""
    return getattr(_local, "strand", None)


def _of_thread() -> Strand:
    strand = Strand(name=threading.current_thread().name)
    _local.strand = strand
    return strand


def of_task(task: Any) -> Strand:
    """The strand of an asyncio task; made where it has none yet."""
    strand: Strand | None = getattr(task, "_noclobber_strand", None)
    if strand is None:
        get_name = getattr(task, "get_name", None)
        strand = Strand(name=get_name() if get_name else "")
        try:
            task._noclobber_strand = strand
        except AttributeError:  # a task class with fixed slots: one strand a thread is the best that can be had
            return _of_thread()
    return strand


def _in_loop(loop: Any) -> Strand:
    task = current_task(loop)
    if task is not None:
        strand: Strand | None = getattr(task, "_noclobber_strand", None)
        return strand if strand is not None else of_task(task)
    return _of_callback()


def _of_callback() -> Strand:
    """The strand of a bare loop callback: one for each run of `Handle._run`.

    Where the loop runs callbacks without a Python frame (uvloop) all of a thread's callbacks are one strand, which
    may hide a race between two of them and never invents one.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code is not _RUN_CALLBACK:
        frame = frame.f_back
    handle = frame.f_locals.get("self") if frame.f_code is _RUN_CALLBACK else None
    if handle is None:
        return thread_strand() or _of_thread()
    known_handle, strand = getattr(_local, "callback", (None, None))
    if strand is None or known_handle is not handle:
        strand = Strand(name="callback")
        _local.callback = (handle, strand)
    return strand


def reset_after_fork() -> None:
    """In a forked child: another process, other strands."""
    begin_process(secrets.token_hex(8))


Process = tuple[str, "itertools.count[int]", Any]
"""Everything that a process's strands are counted by."""


def begin_process(identity: str) -> Process:
    """Be the process `identity` from now on, with strands counted from 1; returns what it was."""
    before = (_process, _numbers, _local)
    go_on_as((identity, itertools.count(1), _new_local()))
    return before


def local() -> Any:
    """What each thread keeps for itself."""
    return _local


def live_in(kind: Any) -> None:
    """What each thread kept for itself is kept by each of what `kind` tells apart (greenlets), from now on."""
    global _new_local, _local
    running = thread_strand()
    _new_local, _local = kind, kind()
    set_thread_strand(running)


def go_on_as(process: Process) -> None:
    """Be `process` again."""
    global _process, _numbers, _local
    _process, _numbers, _local = process
