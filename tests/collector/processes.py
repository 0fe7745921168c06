"""Real processes of the collector for tests: started on free ports, ended by their own number."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from noclobber_collector.store import ENGINE_PATH, open_store

START_TIMEOUT_S = 60.0


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens now; all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def ask(url: str, data: bytes | None = None, timeout_s: float = 30.0, **headers: str) -> Answer:
    """One request; header names with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, named), timeout=timeout_s) as answer:
            return Answer(answer.status, dict(answer.headers.items()), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers.items()), error.read())


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0, what: str = "the condition") -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s} s"
        time.sleep(0.01)


def metrics_of(http: str) -> dict[str, float]:
    """What a receiver tells, without the common prefix."""
    return counted(ask(f"{http}/metrics").body.decode())


def counted(text: str) -> dict[str, float]:
    """What `/metrics` tells, without the common prefix."""
    pairs = (line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.removeprefix("noclobber_").removeprefix("receiver_"): float(value) for name, value in pairs}


class Process:
    """A process with its output in a file, in a group of its own; `first` runs in it before its program."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                argv,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                process_group=0,
                preexec_fn=first,  # noqa: PLW1509  one write to a file
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, url: str, timeout_s: float = START_TIMEOUT_S) -> float:
        """Wait until `url` answers 200; returns the seconds that it took."""
        begun = time.monotonic()
        while True:
            try:
                if ask(url, timeout_s=2).status == 200:
                    return time.monotonic() - begun
            except (OSError, http.client.HTTPException):  # nobody is there, or was killed in the middle of an answer
                pass
            assert self.popen.poll() is None, f"it ended: {self.output}"
            assert time.monotonic() - begun < timeout_s, f"{url} did not answer: {self.output}"
            time.sleep(0.02)

    def stop(self, timeout_s: float = 40.0) -> int:
        """End it in order; returns its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)
                self.popen.wait()
                raise
        return self.popen.returncode

    def kill(self) -> None:
        """End it at once."""
        self.popen.kill()
        self.popen.wait()


class Receiver(Process):
    """`python -m noclobber_collector.receiver`."""

    def __init__(self, folder: Path, *options: str, token: str = "", ports: Sequence[int] | None = None) -> None:
        self.spool = folder / "spool"
        self.grpc_port, self.http_port = ports or free_ports(2)
        self.http = f"http://127.0.0.1:{self.http_port}"
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            [sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(self.spool),
             "--otlp-grpc-port", str(self.grpc_port), "--otlp-http-port", str(self.http_port), *options],
            folder / "receiver.log",
            {"NOCLOBBER_TOKEN": token},
        )  # fmt: skip
        self.ready_s = self.wait_for(f"{self.http}/ready")

    def send(self, data: bytes, path: str = "/v1/traces", **headers: str) -> Answer:
        """Post to it, as protobuf unless told otherwise."""
        return ask(self.http + path, data, **{"content_type": "application/x-protobuf", **headers})

    def metrics(self) -> dict[str, float]:
        """Its counters, without the common prefix."""
        return metrics_of(self.http)


class Up(Process):
    """`noclobber up` on a folder."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        token: str = "",
        ports: Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        self.data = folder / "data"
        self.ports = list(ports or free_ports(3))
        self.http, self.pages = (f"http://127.0.0.1:{port}" for port in self.ports[1:])
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__([*self.words(self.data, self.ports), *options], folder / "up.log",
                         {"NOCLOBBER_TOKEN": token, **(environment or {})}, first)  # fmt: skip

    @staticmethod
    def words(data: Path, ports: Sequence[int]) -> list[str]:
        """What a person types."""
        options = ("--otlp-grpc-port", "--otlp-http-port", "--dashboard-port")
        chosen = [word for option, port in zip(options, ports, strict=True) for word in (option, str(port))]
        return [sys.executable, "-m", "noclobber.cli", "up", "--data", str(data), *chosen]

    def wait_until_ready(self) -> None:
        """Wait for receiver and engine."""
        self.wait_for(f"{self.http}/ready")
        self.wait_for(f"{self.pages}/api/v1/health")

    def child(self, module: str, timeout_s: float = 40.0) -> int:
        """The number of the child, or of a child's child, that runs a module, as soon as it runs."""
        found: list[int] = []

        def runs() -> bool:
            children = psutil.Process(self.popen.pid).children(recursive=True)
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                found.extend(each.pid for each in children if module in each.cmdline())
            return bool(found)

        wait_until(runs, timeout_s, f"the child {module}")
        return found[0]

    def send(self, data: bytes) -> Answer:
        """Post protobuf to it."""
        return ask(f"{self.http}/v1/traces", data, content_type="application/x-protobuf")

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Ask its store, through the engine; the API's own answers may be some seconds old."""
        store = open_store(f"{self.pages}/{ENGINE_PATH}", prepare=False)
        try:
            return store.rows(sql, parameters or {})
        finally:
            store.close()

    def get(self, path: str) -> Any:
        """Ask its API."""
        return json.loads(ask(f"{self.pages}/api/v1{path}").body)
