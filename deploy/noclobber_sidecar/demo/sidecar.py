"""The demo's own sidecar: `noclobber up` as a process, and its API."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from noclobber.cli import CommandError
from noclobber_sidecar.sockets import free_port

__all__ = ["Sidecar"]

START_TIMEOUT_S = 45.0
STOP_TIMEOUT_S = 60.0


class Sidecar:
    """`noclobber up` in a folder of its own.

    Args:
        folder: where its data lies.
        options: further words for `noclobber up`.
        ports: preferred ports for OTLP/gRPC, OTLP/HTTP and the dashboard; the next free one where taken.

    Attributes:
        otlp: address for agents. dashboard: address for people.
    """

    def __init__(
        self, folder: Path, options: tuple[str, ...] = (), ports: tuple[int, int, int] = (4317, 4318, 8501)
    ) -> None:
        grpc, http, pages = (free_port("127.0.0.1", port) for port in ports)
        self.otlp = f"http://127.0.0.1:{http}"
        self.dashboard = f"http://127.0.0.1:{pages}"
        self.folder = folder
        self._log = folder / "sidecar.log"
        self._words = [
            sys.executable, "-m", "noclobber.cli", "up", "--data", str(folder / "data"),
            "--otlp-grpc-port", str(grpc), "--otlp-http-port", str(http), "--dashboard-port", str(pages), *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it takes spans and answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, process_group=0
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        for address in (f"{self.otlp}/ready", f"{self.dashboard}/api/v1/health"):
            while not self._answers(address):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise CommandError(f"the sidecar did not start: {self.last_words()}", exit_code=1)
                time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-4:])

    def environment(self, **more: str) -> dict[str, str]:
        """An environment in which agents find it."""
        return {**os.environ, "NOCLOBBER_ENDPOINT": self.otlp, **more}

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Ask the API (`/api/v1` + path) and decode its answer."""
        from urllib.parse import urlencode

        query = f"?{urlencode(parameters)}" if parameters else ""
        with urllib.request.urlopen(f"{self.dashboard}/api/v1{path}{query}", timeout=10) as answer:
            return json.load(answer)

    def _answers(self, address: str) -> bool:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False
