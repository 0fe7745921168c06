"""Keeps the sidecar's processes alive, and ends them in the right order.

One loop, no threads: start the children, reap those that end, start them again after a pause that doubles, and on
SIGTERM or SIGINT end them one after the other in the order given. Children hold the read end of a pipe whose write
end only the supervisor has: should the supervisor be killed, the pipe closes and they end by themselves, so nothing
is left behind that holds the store's lock.

A child may say, by its exit code, that starting it again is pointless (a store of a newer version, a damaged
folder). It is then left down, its reason is kept for those who ask, and the other children go on.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["EXIT_HOPELESS", "Child", "Supervisor"]

EXIT_HOPELESS = 78
"""Exit code (EX_CONFIG of sysexits.h) of a child that must not be started again."""
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
STEADY_S = 5.0
"""A child that lived this long starts again without a pause."""
TICK_S = 0.05
ARENAS = "2"
"""Heaps of glibc's allocator in a child: by default each of its threads may get one, and keeps what was ever in it."""


@dataclass
class Child:
    """One supervised process.

    Attributes:
        name: as shown to people.
        argv: command; `{life}` in a word becomes the number of the pipe that closes when the supervisor ends.
        sockets: file descriptors that it inherits.
        stop_timeout_s: how long it may take to end after SIGTERM before it is killed.
        reason_file: where it writes one sentence before it exits with EXIT_HOPELESS.
        environment: variables on top of the supervisor's own.
        pause_max_s: longest pause before it is started again.
    """

    name: str
    argv: Sequence[str]
    sockets: Sequence[int] = ()
    stop_timeout_s: float = 30.0
    reason_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    pause_max_s: float = BACKOFF_MAX_S
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_s: float = BACKOFF_FIRST_S
    start_after: float = 0.0
    restarts: int = 0
    hopeless: str | None = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Runs children until it is told to end.

    Args:
        children: in the order in which they are ended.
        say: prints one line for people.
        on_hopeless: called once with a child that gave up for good.
    """

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
        on_hopeless: Callable[[Child], None] = lambda _child: None,
    ) -> None:
        self.children = list(children)
        self._say = say
        self._on_hopeless = on_hopeless
        self._stopping = False
        self._life_read, self._life_write = os.pipe()

    def run(self, poll: Callable[[], None] = lambda: None) -> int:
        """Supervise until SIGTERM or SIGINT; returns the exit code, 0 after an orderly end.

        Args:
            poll: called at each turn of the loop, about 20 times a second.
        """
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._stopping:
                for child in self.children:
                    self._attend(child)
                poll()
                time.sleep(TICK_S)
            return self._end_all()
        finally:
            os.close(self._life_write)
            os.close(self._life_read)
            for number, action in previous.items():
                signal.signal(number, action)

    def stop(self) -> None:
        """Ask the loop to end its children and return."""
        self._stopping = True

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _attend(self, child: Child) -> None:
        if child.hopeless is not None or child.alive:
            return
        now = time.monotonic()
        if child.process is not None:
            self._note_end(child, child.process.returncode, now)
            child.process = None
        if child.hopeless is None and now >= child.start_after:
            self._start(child, now)

    def _note_end(self, child: Child, code: int, now: float) -> None:
        if code == EXIT_HOPELESS:
            child.hopeless = _reason(child)
            self._say(f"noclobber: the {child.name} can't run: {child.hopeless}")
            self._on_hopeless(child)
            return
        if now - child.started_at >= STEADY_S:
            child.pause_s = BACKOFF_FIRST_S
        child.restarts += 1
        child.start_after = now + child.pause_s
        self._say(f"noclobber: the {child.name} ended ({_ending(code)}); starting it again in {child.pause_s:.1f} s")
        child.pause_s = min(child.pause_s * 2, child.pause_max_s)

    def _start(self, child: Child, now: float) -> None:
        words = [word.replace("{life}", str(self._life_read)) for word in child.argv]
        child.process = subprocess.Popen(
            words,
            pass_fds=[*child.sockets, self._life_read],
            env={"MALLOC_ARENA_MAX": ARENAS, **os.environ, **child.environment},
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C reaches the supervisor alone, which ends the children in order
        )
        child.started_at = now

    def _end_all(self) -> int:
        failed = 0
        for child in self.children:
            if child.process is None or not child.alive:
                continue
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(child.stop_timeout_s)
            except subprocess.TimeoutExpired:
                self._say(f"noclobber: the {child.name} did not end within {child.stop_timeout_s:.0f} s; killing it")
                child.process.kill()
                child.process.wait()
                failed = 1
        return failed


def _reason(child: Child) -> str:
    try:
        text = child.reason_file.read_text().strip() if child.reason_file else ""
    except OSError:
        text = ""
    return text or "it gave no reason; its last lines above may tell"


def _ending(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
