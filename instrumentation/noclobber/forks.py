"""Where a process begins and ends beside its program: forks, `multiprocessing`'s children, exit, SIGTERM.

Of a SIGTERM that nobody handles a process dies at once, and what it had not handed over dies with it: every `docker
stop` would lose the last moments. So where the program leaves the signal alone it is answered by handing over, for a
bounded time, and dying of it then, with the same status. A program that sets a handler of its own replaces that.

A module that is being imported while another thread forks is half a module in the child for good, so what the drain
imports in its own time it imports under a lock that a fork waits for.
"""

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

__all__ = ["end_with_multiprocessing", "hand_over_at_sigterm", "opening", "watch"]

FORK_WAIT_S: Final = 1.0
"""How long a fork waits at most."""
_opening = threading.Lock()
_kept_from_opening = False


@contextlib.contextmanager
def opening() -> Iterator[None]:
    """Import something, or open it, with no fork meanwhile."""
    with _opening:
        yield


def watch(in_child: Callable[[], None], at_exit: Callable[[], None]) -> None:
    """Call `in_child` in every forked child, and `at_exit` at the interpreter's end."""

    def begin() -> None:
        global _opening  # noqa: PLW0603  one a process
        _opening = threading.Lock()  # the parent's
        in_child()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=begin)
    atexit.register(at_exit)


def end_with_multiprocessing(owner: object, at_exit: Callable[[], None]) -> None:
    """A child of `multiprocessing` leaves through finalizers of its own, never through `atexit`."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(owner, lambda _: util.Finalize(None, at_exit, exitpriority=-1000))


def hand_over_at_sigterm(hand_over: Callable[[], None], timeout_s: float) -> None:
    """Where SIGTERM is left to the system: call `hand_over` before dying of it."""

    def die(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        done = _thread.allocate_lock()
        done.acquire()

        def work() -> None:
            try:
                hand_over()
            finally:
                done.release()

        # Not in this thread, which may hold any lock just now, and not by `threading`, whose lock that may be.
        _thread.start_new_thread(work, ())
        done.acquire(timeout=timeout_s)
        os.kill(os.getpid(), number)

    if os.name == "posix" and threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError):  # not in the main interpreter
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, die)


def _before() -> None:
    global _kept_from_opening  # noqa: PLW0603  one a process
    _kept_from_opening = _opening.acquire(timeout=FORK_WAIT_S)


def _after_in_parent() -> None:
    if _kept_from_opening:
        _opening.release()
