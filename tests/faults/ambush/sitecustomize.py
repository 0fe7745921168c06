"""Lets a process of the pipeline die of kill -9 in the middle of a phase that a test has ordered.

Python imports a module of this name as it starts, wherever this folder is on its path; production code knows nothing of
it. A phase of spool or loader may last 20 us, and nobody who looks on from outside hits it on a busy machine. So at the
begin of the ordered phase the process arms a timer of the kernel whose signal is SIGKILL, at a random moment within the
time that this phase took when it last came: no line of Python has a say in where it is then. Where it really died the
byte of `noclobber_collector.phases` tells afterwards.

The order is the first byte of `{worker}.order`, beside the phases; behind it stands, in nanoseconds, how long each
phase took when it last came, in the processes before, too.
"""

import ctypes
import mmap
import os
import random
import signal
import time
from pathlib import Path

from noclobber_collector.phases import FOLDER, Phase, Phases

FILE_BYTES = 8 + 8 * 16
CLOCK_MONOTONIC = 1


class _SigEvent(ctypes.Structure):
    """`struct sigevent` with SIGEV_SIGNAL: the whole process gets the signal."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _Times(ctypes.Structure):
    """`struct itimerspec`: once, after so long."""

    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


class Ambush:
    """Of one worker of this process."""

    def __init__(self, file: Path) -> None:
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(opened, FILE_BYTES)
        self._order = mmap.mmap(opened, FILE_BYTES)
        os.close(opened)
        self._took_ns = memoryview(self._order)[8:].cast("Q")
        self._libc = ctypes.PyDLL(None, use_errno=True)  # one that keeps the interpreter's lock: nobody comes between
        self._timer = ctypes.c_void_p()
        event = _SigEvent(None, signal.SIGKILL, 0)
        if self._libc.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), "timer_create")
        self._phase, self._since_ns = Phase.STARTING, time.perf_counter_ns()

    def enter(self, phase: Phase) -> None:
        """A phase begins."""
        now_ns = time.perf_counter_ns()
        self._took_ns[self._phase] = now_ns - self._since_ns
        self._phase, self._since_ns = phase, now_ns
        if self._order[0] == phase:
            self._order[0] = 0
            after_ns = max(1, int(random.random() * self._took_ns[phase]))
            times = _Times(0, 0, *divmod(after_ns, 10**9))
            self._libc.timer_settime(self._timer, 0, ctypes.byref(times), None)


def _ambushed(phases: type[Phases]) -> None:
    """Have each worker's phases looked at as they begin."""
    begin, enter = phases.__init__, phases.enter
    ambushes: dict[int, Ambush] = {}

    def __init__(self: Phases, name: str) -> None:  # noqa: N807  takes its place
        ambushes[id(self)] = Ambush(Path(os.environ[FOLDER]) / f"{name}.order")
        begin(self, name)

    def entered(self: Phases, phase: Phase) -> None:
        enter(self, phase)
        ambushes[id(self)].enter(phase)

    phases.__init__, phases.enter = __init__, entered  # type: ignore[method-assign]


if os.environ.get(FOLDER):
    _ambushed(Phases)
