"""Locust itself: users are agents, races stand in its statistics, exit code and web page; safe users are left alone."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from noclobber_sidecar.demo.servers import redis_compatible
from noclobber_sidecar.sockets import free_port

LOCUSTFILE = Path(__file__).parent / "programs" / "locustfile.py"
TIMEOUT_S = 90
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed: `nox -s locust`"),
]


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server with one account; the environment in which users find it."""
    with redis_compatible(tmp_path) as url:
        import redis

        with redis.Redis.from_url(url) as client:
            client.set("acct:42", 10_000_100)
            yield {**os.environ, "REDIS_URL": url, "NOCLOBBER_RERAISE": "1"}


def locust(*words: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *words]


def run(environment: dict[str, str], *words: str) -> tuple[int, dict[tuple[str, str], tuple[int, int]], str]:
    """Without the web page: exit code, requests and failures by type and name, and what it printed."""
    headless = ("--headless", "-u", "6", "-r", "6", "-t", "3s")
    done = subprocess.run(
        locust(*headless, *words), env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    printed = done.stderr + done.stdout
    rows = {
        (kind, name): (int(count), int(failed))
        for kind, name, count, failed in re.findall(r"^(agent|race) +(\w+) +(\d+) +(\d+)\(", printed, re.MULTILINE)
    }
    return done.returncode, rows, printed


def test_races_are_failures(accounts: dict[str, str]) -> None:
    """Each lost update is a failed request, a bug is one sentence; exit code 1, whatever Locust's own would be."""
    code, rows, printed = run(accounts, "--exit-code-on-error", "0")
    assert code == 1
    (tasks, failed), (races, told) = rows["agent", "book"], rows["race", "lost_update"]
    assert (failed, told) == (0, races)
    assert 0 < races < tasks
    assert len(re.findall(r"race lost_update: RaceError\('`Booker-\d+` wrote `acct:42` from version", printed)) == 1
    assert "Traceback" not in printed


def test_safe_users(accounts: dict[str, str]) -> None:
    """Nothing found, exit code 0."""
    code, rows, printed = run({**accounts, "HOW": "safe"})
    assert (code, [kind for kind, _ in rows if kind == "race"]) == (0, []), printed
    assert rows["agent", "book"][0] > 0


def test_thresholds(accounts: dict[str, str]) -> None:
    """What is below them is no failure."""
    code, rows, _ = run(accounts, "--noclobber-min-certainty", "certain")
    assert (code, [kind for kind, _ in rows if kind == "race"]) == (0, [])
    assert rows["agent", "book"][0] > 0


@contextlib.contextmanager
def served(environment: dict[str, str], *words: str) -> Iterator[str]:
    """With the web page; its address."""
    port = str(free_port("127.0.0.1", 0))
    own = ("--web-host", "127.0.0.1", "--web-port", port, "--autostart", "-u", "6", "-r", "6", "-t", "2s")
    process = subprocess.Popen(
        locust(*own, *words), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def told(address: str) -> dict[str, object]:
    """What the page knows once it has found something."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            said: dict[str, object] = json.loads(urllib.request.urlopen(f"{address}/noclobber.json", timeout=5).read())
            if said["findings"]:
                return said
        time.sleep(0.1)
    raise AssertionError("nothing was found in time")


@pytest.mark.parametrize("words", [(), ("--processes", "2")], ids=["alone", "workers"])
def test_web_page(words: tuple[str, ...], accounts: dict[str, str]) -> None:
    """Findings stand on a page of their own and among the failures; what workers found is told by their master."""
    with served(accounts, *words) as address:
        said = told(address)
        kinds = {each["kind"] for each in said["findings"] if each["certainty"] != "possible"}  # type: ignore[attr-defined]
        assert kinds == {"lost_update"}
        shown = urllib.request.urlopen(f"{address}/noclobber", timeout=5).read().decode()
        assert "<td>lost_update</td>" in shown
        assert "INCRBY" in shown
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            requests = json.loads(urllib.request.urlopen(f"{address}/stats/requests", timeout=5).read())
            races = [each for each in requests["stats"] if each["method"] == "race"]
            if races or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert races[0]["num_failures"] > 0


def test_names_cannot_write_html() -> None:
    """An agent named like a script is shown, not run."""
    from noclobber_analyzer.load.race_page import page

    found = dict.fromkeys(("kind", "certainty", "severity", "resource", "explanation"), "<script>alert(1)</script>")
    shown = page([{**found, "agents": ["<b>"], "advice": {"text": "<i>"}}], 7, 3)
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<b>" not in shown
    assert "3 more" in shown
