"""Two services and their client, each a process under `noclobber run`: order is known over HTTP where it is allowed."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from rounds import problems
from spans_in_file import spans_of

from noclobber_sidecar.demo.servers import redis_compatible

pytest.importorskip("aiohttp", reason="aiohttp is not installed")
AGENT = Path(__file__).parent / "agents" / "services.py"
TIMEOUT_S = 60
GOOD = "noclobber.strand=0123456789abcdef-12:7"
STRAND = re.compile(r"noclobber\.strand=[0-9a-f]{16}-\d+:\d+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    Attributes:
        findings, latent: as `noclobber check` gives them, without and with what nearly happened.
        headers: what the services received.
    """

    findings: list[dict[str, Any]]
    latent: list[dict[str, Any]]
    headers: list[dict[str, str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server of its own."""
    with redis_compatible(tmp_path_factory.mktemp("valkey")) as found:
        yield found


def command(file: Path, *words: str) -> list[str]:
    run = [sys.executable, "-m", "noclobber.cli", "run", "--file", str(file), "--file-only", "--", sys.executable]
    return [*run, str(AGENT), *words]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def service(kind: str, store: str, folder: Path, meeting: Path) -> Iterator[int]:
    """One service while it runs; it writes its spans and what it prints into `folder`."""
    port = free_port()
    with (folder / f"{port}.out").open("w") as out:
        process = subprocess.Popen(
            command(folder / f"{port}.jsonl", kind, str(port), store, str(meeting)), stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT_S)


def outcome(library: str, kind: str, how: str, store: str, folder: Path, *, allowed: str = "127.0.0.1") -> Outcome:
    """Run two services and a client of them, and judge what they wrote."""
    meeting = folder / "meeting"
    meeting.mkdir()
    env = {**os.environ, "NOCLOBBER_HTTP_HOSTS": allowed}
    with service(kind, store, folder, meeting) as one, service(kind, store, folder, meeting) as two:
        words = ["client", library, how, f"http://127.0.0.1:{one}", f"http://127.0.0.1:{two}"]
        client = subprocess.run(
            command(folder / "client.jsonl", *words),
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=env,
        )  # fmt: skip
    assert (client.returncode, client.stderr) == (0, "")
    files = sorted(folder.glob("*.jsonl"))
    together = folder / "all.spans"
    together.write_text("".join(file.read_text() for file in files))
    assert problems(together) == []
    lines = [line for each in folder.glob("*.out") for line in each.read_text().splitlines()]
    return Outcome(found(files), found(files, "--latent"), [json.loads(line) for line in lines])


def found(files: list[Path], *flags: str) -> list[dict[str, Any]]:
    check = subprocess.run(
        [sys.executable, "-m", "noclobber.cli", "check", "--format", "json", *flags, *map(str, files)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert check.stderr == ""
    return [json.loads(line) for line in check.stdout.splitlines()][:-1]


@pytest.mark.parametrize(
    ("library", "kind"),
    [("httpx", "starlette"), ("httpx-sync", "aiohttp"), ("requests", "starlette"), ("aiohttp", "aiohttp")],
)
def test_calls_one_after_the_other(library: str, kind: str, store: str, tmp_path: Path) -> None:
    """They are accused of nothing, not even of a near miss, and carry the strand and nothing else."""
    ordered = outcome(library, kind, "ordered", store, tmp_path)
    assert (ordered.findings, ordered.latent) == ([], [])
    assert len(ordered.headers) == 2
    assert all(STRAND.fullmatch(each["baggage"]) for each in ordered.headers)


def test_calls_that_timing_alone_parts(store: str, tmp_path: Path) -> None:
    """The same calls from two tasks are a near miss."""
    lucky = outcome("aiohttp", "starlette", "lucky", store, tmp_path)
    assert lucky.findings == []
    assert "lost_update" in [each["kind"] for each in lucky.latent]


def test_race_over_two_services(store: str, tmp_path: Path) -> None:
    """Two calls at once, to two services that read before either writes."""
    race = outcome("httpx", "starlette", "race", store, tmp_path)
    assert [(each["kind"], each["certainty"]) for each in race.findings] == [("lost_update", "likely")]


def test_a_host_that_is_not_listed_is_told_nothing(store: str, tmp_path: Path) -> None:
    """No header goes there, and so nothing is known of the order."""
    unlisted = outcome("httpx", "starlette", "ordered", store, tmp_path, allowed="localhost,127.0.0.2")
    assert [each for each in unlisted.headers if "baggage" in each] == []
    assert unlisted.findings == []
    assert "lost_update" in [each["kind"] for each in unlisted.latent]


@pytest.mark.parametrize("kind", ["starlette", "aiohttp"])
def test_hostile_baggage(kind: str, store: str, tmp_path: Path) -> None:
    """A service gets such headers as they were sent, answers as ever, and no span has anything of them."""
    hostile = [
        "noclobber.strand=../x:1",
        "a=1," * 70 + GOOD,
        f"{GOOD},{GOOD}",
        "a" * 8000,
        "noclobber.strand=" + "9" * 4000,
    ]
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    with service(kind, store, tmp_path, meeting) as port:
        url = f"http://127.0.0.1:{port}/add?amount=1"
        answers = [httpx.post(url, headers={"baggage": each}) for each in hostile]
        believed = httpx.post(url, headers={"baggage": f"user=a%20b;p, {GOOD}"})
    assert {(each.status_code, each.text) for each in (*answers, believed)} == {(200, '"ok"')}
    assert [each.headers.get("noclobber-strand") for each in answers] == [None] * len(hostile)
    assert "noclobber-strand" in believed.headers
    received = [json.loads(line)["baggage"] for line in (tmp_path / f"{port}.out").read_text().splitlines()]
    assert received == [*hostile, f"user=a%20b;p, {GOOD}"]
    parents = {span.get("noclobber.strand.parent") for span in spans_of(tmp_path / f"{port}.jsonl")}
    assert parents == {None, "0123456789abcdef-12"}
