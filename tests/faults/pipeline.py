"""The whole pipeline as real processes, killed where a test wants: `noclobber up`, each worker's phase told by a byte.

A worker's byte (`noclobber_collector.phases`) lies in a mapped file, so that it still tells after kill -9 what was
under way. The processes carry an ambush (`ambush/sitecustomize.py`): told of a phase, the kernel kills them in the
middle of its next coming. What a shot hit is read afterwards, not assumed.
"""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
from processes import Up, ask, wait_until

from noclobber_collector.phases import FOLDER, Phase
from noclobber_collector.segments import closed_segments, sound_requests

MODULES = {"receiver": "noclobber_collector.receiver", "engine": "noclobber_sidecar.engine"}
ANALYZER = "noclobber_analyzer.live_process"
WORKERS = {"receiver": "spool", "engine": "loader"}
AMBUSH = Path(__file__).parent / "ambush"
AIMED = {
    "receiver": (Phase.APPEND, Phase.FSYNC, Phase.IDLE),
    "engine": (Phase.INSERT, Phase.VERIFY, Phase.UNLINK, Phase.NOTE, Phase.MARK, Phase.IDLE),
}
BESIDES = {"engine": {Phase.NOTE: 4, Phase.MARK: 4, Phase.IDLE: 4}}
"""Phases that are aimed at so many times less often: nothing is asked of them alone."""
STEADY_S = 5.5
"""A child that was killed earlier is started again later each time."""
PHASE_S = 60.0
ENGINE_READY_MAX_S = 120.0
TAKES = "noclobber takes spans on"


Aim = tuple[str, Phase | None]
"""What to kill, and at which phase (None: whatever it is at)."""


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
        path = os.pathsep.join(filter(None, (str(AMBUSH), os.environ.get("PYTHONPATH", ""))))
        self._environment = {
            FOLDER: str(self.phases), "NOCLOBBER_KEEP_LOADED_S": str(keep_loaded_s), "PYTHONPATH": path,
        }  # fmt: skip
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

    def kill(self, part: str, aim: Phase | None = None) -> Shot | None:
        """Kill -9 a process in a phase and wait until OTLP is taken; None where the phase did not come.

        Two processes may be killed by two threads; the supervisor only while nobody kills another.

        Args:
            part: receiver, engine, analyzer or supervisor.
            aim: the phase to wait for; None: whatever it is at.
        """
        if part == "supervisor":
            return self._kill_supervisor()
        if part == "analyzer":
            return self._kill_analyzer()
        pid, worker = self.up.child(MODULES[part]), WORKERS[part]
        if part == "engine":
            wait_until(lambda: self._phase(worker) != Phase.STARTING, ENGINE_READY_MAX_S, "an engine that loads")
            wait_until(lambda: time.time() - psutil.Process(pid).create_time() > STEADY_S, 10)
        if aim is None:
            os.kill(pid, signal.SIGKILL)
        else:
            self._order(worker, aim)
        died = _dies_within(pid, PHASE_S)
        begun = time.monotonic()
        if not died:
            self._order(worker, Phase.STARTING)
            return None
        hit = self._phase(worker)
        self._forget(worker)
        self.up.wait_for(f"{self.up.http}/ready")
        ready_s = time.monotonic() - begun
        if part == "engine":
            self._watch_engine()
        return Shot(part, aim.name if aim is not None else "", hit.name, ready_s)

    def _kill_analyzer(self) -> Shot | None:
        """The process that judges, a child of the engine; None where it ended with its engine meanwhile."""
        pid = self.up.child(ANALYZER, ENGINE_READY_MAX_S)
        begun = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            assert _dies_within(pid, PHASE_S)
            wait_until(lambda: self.up.child(ANALYZER, ENGINE_READY_MAX_S) != pid, ENGINE_READY_MAX_S, "the next one")
            return Shot("analyzer", "", "ANY", time.monotonic() - begun)
        return None

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
        return Shot("supervisor", "", f"{spool.name} and {loader.name}", ready_s)

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

    def _phase(self, worker: str) -> Phase:
        return Phase((self.phases / f"{worker}.phase").read_bytes()[0])

    def _order(self, worker: str, phase: Phase) -> None:
        """Have a worker's process die in this phase; STARTING: in none, that phase does not come again."""
        with (self.phases / f"{worker}.order").open("r+b") as file:
            file.write(bytes([phase]))

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
            sound = sound_requests(data, segment.number)
            damaged += len(data) - sum(end - begin for begin, end in sound)
        return damaged


def _answers(url: str) -> bool:
    try:
        return ask(url, timeout_s=2).status == 200
    except (OSError, http.client.HTTPException):  # killed in the middle of an answer
        return False


def _dies_within(pid: int, seconds: float) -> bool:
    """Whether a process ends; what its parent has not yet reaped does not run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.002)
    return False


def next_aim(part: str, hits: Mapping[str, int]) -> Aim:
    """The phase of a process that was hit least."""
    besides = BESIDES.get(part, {})
    return part, min(AIMED[part], key=lambda phase: hits.get(f"{part} {phase.name}", 0) * besides.get(phase, 1))
