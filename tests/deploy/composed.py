"""The services of a compose file as plain processes: the same commands and environment, started in the same order.

What a container would do for them is done here, and nothing else: names of services become 127.0.0.1, each port that a
service listens on is a free one of this machine (in containers they can't clash), the folder for data is a temporary
one, and the environment holds what the file and the image say. The service `clickhouse` is stood in for by the tests'
server over chdb, since no ClickHouse server is to be had as a package.
"""

import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final, Self

import psutil
from processes import Process, ask, free_ports, wait_until
from shipped import image_environment, services

COLLECTOR: Final = Path(__file__).parents[1] / "collector"
OPTIONS: Final = {4317: "--otlp-grpc-port", 4318: "--otlp-http-port", 8501: "--dashboard-port", 9464: "--metrics-port"}
UNITS: Final = {"m": 1 << 20, "g": 1 << 30, "s": 1}


class Composed:
    """The services of one compose file.

    Args:
        path: the file.
        folder: where volumes, temporary files and logs lie.

    Attributes:
        services: as they stand in the file. ports: those of this machine, by those in the file.
        started: names, in the order in which they were healthy.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.services = services(path)
        self.folder = folder
        self.ports = dict(zip((4317, 4318, 8501, 9464, 8123), free_ports(5), strict=True))
        self.started: list[str] = []
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self.started):
            self._processes[name].kill() if name == "clickhouse" else self._processes[name].stop()

    def up(self) -> None:
        """Start each service once all that it depends on are healthy, and wait until it is."""
        for name, service in self.services.items():
            assert {each["condition"] for each in service.get("depends_on", {}).values()} <= {"service_healthy"}, name
        needs = {name: set(service.get("depends_on", ())) for name, service in self.services.items()}
        for name in TopologicalSorter(needs).static_order():
            self.start(name)

    def start(self, name: str) -> None:
        """Start one service and wait until it is healthy."""
        assert not self.is_healthy(name), f"{name} is healthy before it was started"
        self.folder.mkdir(parents=True, exist_ok=True)
        process = self._processes[name] = Process(self._argv(name), self.folder / f"{name}.log")
        self.started.append(name)
        test = self.services[name]["healthcheck"]
        limit_s = _number(test.get("start_period", "0s")) + _number(test["interval"]) * test["retries"]
        wait_until(lambda: self.is_healthy(name) or process.popen.poll() is not None, limit_s, f"a healthy {name}")
        assert process.popen.poll() is None, process.output

    def is_healthy(self, name: str) -> bool:
        """What the service's own check says."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        words = [self._here(word) for word in words]
        if words[0] == "wget":  # which this machine need not have
            try:
                return ask(words[-1], timeout_s=5).status == 200
            except OSError:
                return False
        return subprocess.run(
            [sys.executable, *words[1:]], env=self._environment(name), capture_output=True, timeout=60, check=False
        ).returncode == 0  # fmt: skip

    def stop(self, name: str) -> int:
        """End one service as compose does, within its own time; returns its exit code."""
        self.started.remove(name)
        return self._processes[name].stop(_number(self.services[name]["stop_grace_period"]))

    def kill(self, name: str) -> None:
        """End what stands in for a service of others."""
        self._processes[name].kill()

    def output(self, name: str) -> str:
        """What it has printed."""
        return self._processes[name].output

    def rss(self, name: str) -> float:
        """Memory of its processes, as a share of what the file allows it."""
        process = psutil.Process(self._processes[name].popen.pid)
        held = sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
        return held / _number(self.services[name]["mem_limit"])

    def _words(self, name: str) -> list[str]:
        if name == "clickhouse":
            password = self.services[name]["environment"]["CLICKHOUSE_PASSWORD"]
            program = COLLECTOR / "clickhouse_over_http.py"
            return [sys.executable, str(program), str(self.folder / "store"), str(self.ports[8123]), password]
        command = [self._here(word) for word in self.services[name]["command"]]
        wanted = {"collector": (4317, 4318), "dashboard": (8501,), "analyzer": ()}[name]
        more = [word for port in wanted for word in (OPTIONS[port], str(self.ports[port]))]
        return [sys.executable, "-m", "noclobber.cli", *command, *more]

    def _environment(self, name: str) -> dict[str, str]:
        """What a container would have; this machine's own only as far as Python needs it to find the code."""
        found = {word: os.environ[word] for word in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if word in os.environ}
        if name == "clickhouse":
            return found
        image = {word: text for word, text in image_environment().items() if word != "PATH"}
        wanted = {**image, **self.services[name].get("environment", {})}
        here = {"HOME": str(self.folder), "NOCLOBBER_DATA": str(self.folder / "spool-volume"),
                "NOCLOBBER_HOST": "127.0.0.1"}  # fmt: skip
        return {**found, **{word: self._here(text) for word, text in wanted.items()}, **here}

    def _argv(self, name: str) -> list[str]:
        """With nothing in its environment but what is named."""
        return ["env", "-i", *(f"{word}={text}" for word, text in self._environment(name).items()), *self._words(name)]

    def _here(self, text: str) -> str:
        """Addresses of containers as those of this machine."""
        text = text.replace("clickhouse:8123", f"127.0.0.1:{self.ports[8123]}")
        return re.sub(r"\b(4317|4318|8501|9464|8123)\b", lambda match: str(self.ports[int(match[1])]), text)


def _number(text: Any) -> float:
    """`30s`, `384m`, `1g`."""
    return float(text[:-1]) * UNITS[text[-1]]
