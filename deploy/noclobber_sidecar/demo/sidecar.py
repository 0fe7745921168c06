"""The demo's own sidecar: `noclobber up` as a process, and what its API says, decoded."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import msgspec

from noclobber.cli import CommandError
from noclobber_analyzer.finding import Finding
from noclobber_collector.lock import holder
from noclobber_sidecar.sockets import free_port

__all__ = ["Sidecar"]

START_TIMEOUT_S: Final = 45.0
STOP_TIMEOUT_S: Final = 60.0
ASK_TIMEOUT_S: Final = 10.0
PORTS: Final = (4317, 4318, 8501)
STARTS_MAX: Final = 3
ELSEWHERE: Final = frozenset({"NOCLOBBER_STORE", "NOCLOBBER_HOST", "NOCLOBBER_DASHBOARD_URL"})
"""Variables by which a person's own sidecar is placed; the demo has a store and an address of its own."""
"""Starts on ever other ports, where somebody else takes them in between."""


class Sidecar:
    """`noclobber up` in a folder of its own.

    Args:
        folder: where its data lies.
        options: further words for `noclobber up`.
        ports: preferred ports for OTLP/gRPC, OTLP/HTTP and the dashboard; the next free one where taken.

    Attributes:
        otlp: address for agents. dashboard: address for people.
    """

    def __init__(self, folder: Path, options: tuple[str, ...] = (), ports: tuple[int, int, int] = PORTS) -> None:
        self.folder = folder
        self._log = folder / "sidecar.log"
        self._options = options
        self._words: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._choose(ports)

    def _choose(self, preferred: tuple[int, int, int]) -> None:
        grpc, http, pages = (free_port("127.0.0.1", port) for port in preferred)
        self.otlp = f"http://127.0.0.1:{http}"
        self.dashboard = f"http://127.0.0.1:{pages}"
        self._words = [
            sys.executable, "-m", "noclobber.cli", "up", "--data", str(self.folder / "data"),
            "--otlp-grpc-port", str(grpc), "--otlp-http-port", str(http), "--dashboard-port", str(pages),
            *self._options,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it takes spans and answers.

        Raises:
            CommandError: it ended, or does not answer in time; its last words are in the message.
        """
        for attempt in range(STARTS_MAX):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    self._words,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                    env={name: value for name, value in os.environ.items() if name not in ELSEWHERE},
                )
            try:
                self._await(self.process)
            except BaseException:
                taken = self.process.poll() is not None and "can't listen" in self.last_words()
                self.stop()
                if not taken or attempt == STARTS_MAX - 1:
                    raise
                self._choose((0, 0, 0))  # somebody took a free port before the sidecar did
            else:
                return

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for address in (f"{self.otlp}/ready", f"{self.dashboard}/api/v1/health"):
            while not (self._is_ours() and self._answers(address)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise CommandError(f"the sidecar did not start: {self.last_words()}", exit_code=1)
                time.sleep(0.05)

    def _is_ours(self) -> bool:
        """Whether the engine of this folder runs, and not another one at the same address."""
        who = holder(self.folder / "data")
        return who is not None and who.address == self.dashboard

    def stop(self) -> None:
        """End it in order."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        finally:  # it hangs, or the person who waits is out of patience
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-4:])

    def findings(self, since_ns: int = 0) -> list[Finding]:
        """What was found since a time, newest first; the last 100 of them."""
        return msgspec.convert(self._get("/findings", {"since_ns": str(since_ns)})["findings"], list[Finding])

    def defended(self) -> dict[str, int]:
        """How many accesses were defended so far, by reason."""
        return msgspec.convert(self._get("/defended")["reasons"], dict[str, int])

    def has_heard_out(self, pids: Collection[int]) -> bool:
        """Whether these processes have said that they are done, and all that they said is in the store."""
        return set(pids) <= {each["pid"] for each in self._get("/health")["processes"] if each["ended"]}

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        query = f"?{urlencode(parameters)}" if parameters else ""
        with self._open(f"{self.dashboard}/api/v1{path}{query}", ASK_TIMEOUT_S) as answer:
            return json.load(answer)

    def _answers(self, address: str) -> bool:
        try:
            with self._open(address, 2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def _open(self, address: str, timeout_s: float) -> Any:
        return urllib.request.urlopen(address, timeout=timeout_s)  # noqa: S310  our own http://127.0.0.1
