"""Live analysis in a process of its own, as the engine sees it: started, woken, asked how it stands, ended.

The loader and live analysis each keep an interpreter busy; in one process they take turns at one core, and the other
one idles. `ApartAnalyzer` offers what `LiveAnalyzer` offers to those around it, starts the process that does the work
(`live_process`), lends it the store (`loan`), and starts it again should it end by itself: it goes on from its
checkpoint, and doing work twice changes nothing.

Source: docs/decisions/0013.
"""

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from noclobber_analyzer.live_limits import Totals
from noclobber_analyzer.live_process import END, WAKE, Told
from noclobber_collector.loan import lend
from noclobber_collector.store import Store

__all__ = ["ApartAnalyzer"]

PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
STEADY_S: Final = 30.0
"""A process that lived this long starts again after the shortest pause."""
AT_START: Final[dict[str, object]] = {
    "behind_seconds": 0.0, "kept_accesses": 0, "evicted_accesses": 0, "dirty_resources": 0, "waiting_resources": 0,
    "silent_processes": [], "step_seconds": 0.0, "ranges": "all", "last_error": "", **asdict(Totals()),
}  # fmt: skip
"""How things stand before the process has told."""

log = logging.getLogger("noclobber.analyzer")


class ApartAnalyzer:
    """Analyses what arrives in a store, in a process of its own.

    Args:
        store: holds everything; lent to the process.
        on_found: called after something was written to the log of issues.
        words: options of the process.
    """

    def __init__(self, store: Store, *, on_found: Callable[[], None] = lambda: None, words: Sequence[str] = ()) -> None:
        self._store, self._on_found, self._words = store, on_found, words
        self._stats = AT_START
        self._process: subprocess.Popen[bytes] | None = None
        self._talk: socket.socket | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="noclobber-analyzer", daemon=True)

    def start(self) -> None:
        """Go on where the last analyzer was."""
        self._thread.start()

    def wake(self) -> None:
        """Something was loaded: look now. One who has not heard the last call yet needs no other."""
        with contextlib.suppress(OSError, AttributeError):
            self._talk.send(WAKE, socket.MSG_DONTWAIT)  # type: ignore[union-attr]  # suppressed: there is none now

    def stop(self, timeout_s: float) -> bool:
        """Have it judge what is there, write the checkpoint, end; returns whether that was done in time."""
        self._stopping.set()
        self._say_end()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        in_time = not self._thread.is_alive()
        if not in_time and self._process is not None:
            self._process.kill()
            self._thread.join(1.0)
        return in_time

    @property
    def alive(self) -> bool:
        """Whether it runs, or is about to be started again."""
        return self._thread.is_alive()

    @property
    def pid(self) -> int | None:
        """Of the process; None: it does not run now."""
        return self._process.pid if self._process is not None else None

    def stats(self) -> dict[str, object]:
        """What an operator asks, as the process told half a second ago at most."""
        return self._stats

    def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                ended = f"ended with code {self._live_once()}"
            except OSError as error:
                ended = f"can't be started: {error.strerror or error}"
            if self._stopping.is_set():
                return
            pause_s = PAUSE_FIRST_S if time.monotonic() - begun >= STEADY_S else min(pause_s * 2, PAUSE_MAX_S)
            log.error("the process of live analysis %s; it starts again in %.1f s", ended, pause_s)
            self._stopping.wait(pause_s)

    def _live_once(self) -> int:
        """Start the process and listen to it until it has ended; returns its exit code."""
        loan, lent = socket.socketpair()
        talk, talked = socket.socketpair()
        fds = ["--loan-fd", str(lent.fileno()), "--talk-fd", str(talked.fileno())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "noclobber_analyzer.live_process", *fds, *self._words],
            stdin=subprocess.DEVNULL,
            pass_fds=(lent.fileno(), talked.fileno()),
        )
        lent.close()
        talked.close()
        lender = threading.Thread(
            target=lend, args=(self._store, Connection(loan.detach())), name="lender", daemon=True
        )
        lender.start()
        self._talk = talk
        if self._stopping.is_set():  # it was asked to end while it started
            self._say_end()
        try:
            self._listen(talk)
            return self._process.wait()
        finally:
            self._talk = self._process = None
            talk.close()
            lender.join()

    def _listen(self, talk: socket.socket) -> None:
        with talk.makefile("rb") as lines, contextlib.suppress(OSError, msgspec.DecodeError):  # killed in a line
            for line in lines:
                told = msgspec.json.decode(line, type=Told)
                if told.stats:
                    self._stats = told.stats
                if told.found:
                    self._on_found()

    def _say_end(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._talk.sendall(END)  # type: ignore[union-attr]  # suppressed: there is none now
