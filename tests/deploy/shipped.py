"""What the folder `deploy` ships, taken apart: which of noclobber's commands a manifest starts, and with what.

A manifest can name an option, a variable or a port that the program never had, or has no longer. So each start that is
found in one is handed to the program's own parser, in the manifest's own environment, and its ports and probes are held
against what the program would then listen on.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final
from unittest import mock

import yaml

from noclobber_collector.commands import check_bind

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
GUIDE: Final = ROOT / "docs" / "guide"
SECRET: Final = "a-secret"
STORE: Final = "http://user:secret@clickhouse:8123/noclobber"
PROBES: Final = {"/live", "/ready"}
ORDINARY: Final = frozenset({"HOME", "PATH", "OWN_NAME", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})
IMAGE: Final = re.compile(r"(\S*/)?noclobber(:\S+)?")
SET: Final = re.compile(r"(?:^ENV |^ +)(\w+)=(\S+?)(?: \\)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of `noclobber` in a manifest.

    Attributes:
        where: for messages. words: after `noclobber`. environment: secrets with a stand-in.
        ports: that the manifest names. probes: port and path that it asks.
    """

    where: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    ports: frozenset[int] = field(default=frozenset())
    probes: frozenset[tuple[int, str]] = field(default=frozenset())

    def parsed(self) -> argparse.Namespace:
        """What the program makes of it.

        Raises:
            AssertionError: it makes nothing of it.
        """
        (command,) = (each.load() for each in entry_points(group="noclobber.commands") if each.name == self.words[0])
        parser = argparse.ArgumentParser(prog=f"noclobber {command.name}")
        told = io.StringIO()
        with mock.patch.dict(os.environ, self.environment, clear=True), contextlib.redirect_stderr(told):
            command.configure(parser)
            try:
                return parser.parse_args(list(self.words[1:]))
            except SystemExit:
                raise AssertionError(f"{self.where}: {told.getvalue()}") from None

    def listens(self) -> set[int]:
        """The ports on which it would listen."""
        words = self.parsed()
        names = ("otlp_grpc_port", "otlp_http_port", "dashboard_port", "metrics_port")
        return {int(port) for port in (getattr(words, name, None) for name in names) if port is not None}


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    last = (DEPLOY / "image" / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    block = last[last.index("\nENV ") : last.index("\nWORKDIR")]
    return dict(SET.findall(block))


def settings_of(section: str) -> set[str]:
    """The variables of one table of the guide, which a test of its own holds to what the code reads."""
    page = (GUIDE / "settings.md").read_text()
    part = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return {name for row in part.splitlines() if row.startswith("| `") for name in re.findall(r"`(NOCLOBBER_\w+)`",
            row.split("|")[1])}  # fmt: skip


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML stream."""
    return [each for each in yaml.safe_load_all(text) if each]


def pod_of(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod template's specification, where a document has one."""
    found: dict[str, Any] | None = document.get("spec", {}).get("template", {}).get("spec")
    return found


def containers(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All containers of a workload, those that start first included."""
    pod = pod_of(document) or {}
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def starts_in_pods(found: list[dict[str, Any]]) -> Iterator[Start]:
    """Starts of our image in workloads of Kubernetes, and of `noclobber run` in agents'."""
    for document in found:
        for container in containers(document):
            where = f"{document['kind']} {document['metadata']['name']}, {container['name']}"
            environment = _environment(container)
            if IMAGE.fullmatch(container.get("image", "")):
                probes = frozenset(
                    (probe["httpGet"]["port"], probe["httpGet"]["path"])
                    for name in ("startupProbe", "readinessProbe", "livenessProbe")
                    if (probe := container.get(name))
                )
                ports = frozenset(port["containerPort"] for port in container.get("ports", ()))
                yield Start(where, tuple(container["args"]), {**image_environment(), **environment}, ports, probes)
            elif container.get("command", [""])[0] == "noclobber":
                yield Start(where, tuple(container["command"][1:]), environment)


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {
        each["name"]: each.get("value") or (STORE if each["name"] == "NOCLOBBER_STORE" else SECRET)
        for each in container.get("env", ())
    }


def starts_in_compose(path: Path) -> Iterator[tuple[str, Start]]:
    """Name of the service, and its start; of the services that run our image."""
    for name, service in services(path).items():
        if not IMAGE.fullmatch(service["image"]):
            continue
        environment = {**image_environment(), **service.get("environment", {})}
        asked = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", " ".join(service["healthcheck"]["test"]))
        ports = {int(each.rpartition(":")[2]) for each in service.get("ports", ())}
        probes = frozenset((int(port), page) for port, page in asked)
        yield name, Start(f"{path.name}, {name}", tuple(service["command"]), environment, frozenset(ports), probes)


def services(path: Path) -> dict[str, dict[str, Any]]:
    """The services of a compose file, variables replaced by what `.env.example` or a default says."""
    told = dict(line.split("=", 1) for line in (path.parent / ".env.example").read_text().splitlines() if "=" in line)
    text = re.sub(
        r"\$\{(\w+)(:?[-?][^}]*)?\}", lambda match: told.get(match[1]) or _default(match[2]), path.read_text()
    )
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def _default(text: str | None) -> str:
    """What stands behind `:-`."""
    return (text or "").partition("-")[2] if (text or "").startswith((":-", "-")) else ""


def starts_in_units() -> Iterator[Start]:
    """Starts in systemd's units."""
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        text = path.read_text()
        (line,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
        program, *words = shlex.split(line)
        assert program == "/opt/noclobber/bin/noclobber"
        environment = dict(pair.split("=", 1) for pair in re.findall(r"^Environment=(.+)$", text, re.MULTILINE))
        yield Start(path.name, tuple(words), {"NOCLOBBER_STORE": STORE, "NOCLOBBER_TOKEN": SECRET, **environment})


def check(start: Start) -> None:
    """Hold one start against the program.

    Raises:
        AssertionError: says what the program would not do.
    """
    words = start.parsed()
    agent = start.words[0] == "run"
    known = settings_of("In an agent" if agent else "In the sidecar") | ORDINARY
    named = {name for name in start.environment if agent is False or name.startswith("NOCLOBBER_")}
    assert named <= known, f"{start.where}: {named - known} is no setting"
    if agent:
        assert words.command, start.where
        return
    listens = start.listens()
    assert start.ports <= listens, f"{start.where}: {start.ports - listens} is no port of it"
    assert {port for port, _ in start.probes} <= listens, f"{start.where}: it is asked where it does not listen"
    assert {page for _, page in start.probes} <= PROBES, start.where
    if start.words[0] != "up":
        assert words.store, f"{start.where}: it has no store"
    if hasattr(words, "insecure_bind"):
        check_bind(words.host, words.token, forced=words.insecure_bind)
