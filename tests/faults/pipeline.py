"""The whole pipeline as real processes, killed where a test wants: `noclobber up`, each worker's phase told by a byte.

A worker's byte (`noclobber_collector.phases`) lies in a mapped file, so that it still tells after kill -9 what was
under way. `sniper.py` waits for a phase and kills; what a shot hit is read afterwards, not assumed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from processes import Up, ask, wait_until

from noclobber_collector.phases import FOLDER, Phase
from noclobber_collector.segments import closed_segments, sound_requests

MODULES = {"receiver": "noclobber_collector.receiver", "engine": "noclobber_sidecar.engine"}
WORKERS = {"receiver": "spool", "engine": "loader"}
SNIPER = Path(__file__).parent / "sniper.py"
STEADY_S = 5.5
"""A child that was killed earlier is started again later each time."""
PHASE_S = 60.0
ENGINE_READY_MAX_S = 120.0
TAKES = "noclobber takes spans on"


Aim = tuple[str, Phase | None, float]
"""What to kill, at which phase (None: whatever it is at), and how long after its begin at most, in microseconds."""


class Shot(NamedTuple):
    """One kill -9.

    Attributes:
        part: the process that was killed. aimed: at which phase. hit: phase in which it died.
        ready_s: until OTLP was taken again.
    """

    part: str
    aimed: str
    hit: str
    ready_s: float


class Pipeline:
    """`noclobber up` on a folder, with whatever replaces it after its supervisor was killed.

    Args:
        folder: for its data and its phases.
        keep_loaded_s: how long the files of loaded segments stay.

    Attributes:
        started_s: until OTLP was taken at the first start, which tells how busy the machine is.
        engine_ready_s: until the engine answered again after each shot at it.
    """

    def __init__(self, folder: Path, keep_loaded_s: float = 2.0) -> None:
        self.folder, self.phases = folder, folder / "phases"
        self.phases.mkdir(parents=True)
        self._environment = {FOLDER: str(self.phases), "NOCLOBBER_KEEP_LOADED_S": str(keep_loaded_s)}
        self.up = Up(folder, environment=self._environment)
        self.started_s = self.up.wait_for(f"{self.up.http}/ready")
        self.up.wait_until_ready()
        self.engine_ready_s: list[float] = []
        self._watchers: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """Of OTLP over HTTP."""
        return self.up.ports[1]

    def close(self) -> int:
        """End it in order; returns its exit code."""
        for watcher in self._watchers:
            watcher.join(ENGINE_READY_MAX_S)
        return self.up.stop()

    def kill(self, part: str, aim: Phase | None = None, later_us: float = 0.0) -> Shot | None:
        """Kill -9 a process in a phase and wait until OTLP is taken; None where the phase did not come.

        Args:
            part: receiver, engine or supervisor.
            aim: the phase to wait for; None: whatever it is at.
            later_us: kill up to so long after the phase began.
        """
        if part == "supervisor":
            return self._kill_supervisor()
        pid = self.up.child(MODULES[part])
        wait_until(lambda: time.time() - psutil.Process(pid).create_time() > STEADY_S or part == "receiver", 10)
        byte = self.phases / f"{WORKERS[part]}.phase"
        wanted = [aim] if aim is not None else list(Phase)
        words = [sys.executable, str(SNIPER), str(byte), str(pid), ",".join(str(int(each)) for each in wanted),
                 str(PHASE_S), str(later_us)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        begun = time.monotonic()
        if done.returncode:
            assert not done.stderr, done.stderr
            return None
        hit = Phase(int(done.stdout))
        self._forget(WORKERS[part])
        self.up.wait_for(f"{self.up.http}/ready")
        ready_s = time.monotonic() - begun
        if part == "engine":
            self._watch_engine()
        return Shot(part, aim.name if aim is not None else "", hit.name, ready_s)

    def _kill_supervisor(self) -> Shot:
        spool, loader = (self._phase(worker) for worker in WORKERS.values())
        os.kill(self.up.popen.pid, signal.SIGKILL)
        begun, said = time.monotonic(), self.up.output.count(TAKES)
        self.up.popen.wait()
        self.up = Up(self.folder, ports=self.up.ports, environment=self._environment)
        wait_until(lambda: self.up.output.count(TAKES) > said, what="the new receiver")  # the old one may answer yet
        ready_s = time.monotonic() - begun
        for worker in WORKERS.values():
            self._forget(worker)
        self._watch_engine()
        return Shot("supervisor", "", f"{spool} and {loader}", ready_s)

    def _watch_engine(self) -> None:
        """Note in a thread how long the engine takes to answer again: meanwhile other processes are shot at."""
        begun, pages = time.monotonic(), self.up.pages

        def watch() -> None:
            while time.monotonic() - begun < ENGINE_READY_MAX_S:
                time.sleep(0.05)
                if _answers(f"{pages}/api/v1/health"):
                    break
            self.engine_ready_s.append(time.monotonic() - begun)

        self._watchers.append(threading.Thread(target=watch, daemon=True))
        self._watchers[-1].start()

    def _phase(self, worker: str) -> str:
        return Phase((self.phases / f"{worker}.phase").read_bytes()[0]).name

    def _forget(self, worker: str) -> None:
        """The next shot must not take the byte of the dead for that of who comes."""
        with (self.phases / f"{worker}.phase").open("r+b") as byte:
            byte.write(b"\0")

    def wait_until_loaded(self, timeout_s: float = 60.0) -> None:
        """Wait until the spool is empty and the engine answers."""
        spool = self.up.data / "spool"
        wait_until(
            lambda: not closed_segments(spool) and not list(spool.glob("*.open")), timeout_s, what="an empty spool"
        )
        self.up.wait_until_ready()

    def damaged_bytes(self) -> int:
        """Bytes of closed segments, loaded ones too, that do not fit their checksums: torn tails left as they were."""
        damaged = 0
        for segment in closed_segments(self.up.data / "spool", loaded=True):
            try:
                data = segment.path.read_bytes()
            except FileNotFoundError:  # loaded long enough ago
                continue
            damaged += len(data) - sum(end - begin for begin, end in sound_requests(data))
        return damaged


def _answers(url: str) -> bool:
    try:
        return ask(url, timeout_s=2).status == 200
    except OSError:
        return False


def aims_of(times: int, seed: int) -> Sequence[Aim]:
    """So many aims at all processes and phases; while an engine starts the receiver is shot at."""
    rest: Sequence[Aim] = (("supervisor", None, 0), ("engine", Phase.NOTE, 2_000), ("engine", Phase.MARK, 0))
    cycle: Sequence[Aim] = (
        ("engine", Phase.INSERT, 60_000),
        ("receiver", Phase.APPEND, 0),
        ("receiver", Phase.FSYNC, 300),
        ("engine", Phase.VERIFY, 3_000),
        ("receiver", Phase.IDLE, 5_000),
        ("receiver", Phase.APPEND, 0),
        ("engine", Phase.UNLINK, 0),
        ("receiver", Phase.FSYNC, 300),
        ("receiver", Phase.IDLE, 5_000),
    )
    found = [aim for number in range(times // 10 + 1) for aim in (*cycle, rest[(number + seed) % len(rest)])]
    return found[:times]
