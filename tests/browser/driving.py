"""How the tests drive a browser and a dashboard: a running command, a tab that remembers what went wrong in it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["PAGES", "Dashboard", "Visit", "fill", "serve"]

PAGES = {
    "/": "Overview",
    "/findings": "Findings",
    "/issues": "Issues",
    "/latent": "Latent races",
    "/resources": "Resources",
    "/agents": "Agents",
    "/stream": "Live",
    "/health": "Health",
    "/settings": "Settings",
}
READY = '[data-testid="stApp"][data-test-script-state="notRunning"]'
WAIT_MS = 15_000
START_S = 30
COMMAND = [sys.executable, "-c", "import sys; from noclobber.cli import main; sys.exit(main())", "dashboard"]


@dataclass
class Dashboard:
    """A running `noclobber dashboard`."""

    url: str
    process: subprocess.Popen[bytes]
    ids: dict[str, Any] = field(default_factory=dict)
    is_shared: bool = False
    """Tabs on it may share a browser's cache and cookies: nobody signs in there."""

    def stop(self) -> None:
        """End it as a person would."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        self.process.kill()
        self.process.wait(5)


@dataclass
class Visit:
    """One tab, and all that went wrong in it."""

    page: Any
    base: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str, *, diagram: bool = False) -> None:
        """Go to a page and wait until it stands."""
        self.page.goto(self.base + path)
        self.ready(diagram=diagram)

    def switch(self, path: str) -> None:
        """Go to a page of the menu as a person does, by a click: nothing is loaded anew. Wide windows only."""
        title = PAGES[path]
        self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True).click()
        self.page.locator(".stElementContainer .prose h1", has_text=title).first.wait_for(timeout=WAIT_MS)
        self.ready()

    def ready(self, *, diagram: bool = False) -> None:
        """Wait until the page stands still."""
        self.page.wait_for_selector(READY, timeout=WAIT_MS)
        self.page.wait_for_selector(".stElementContainer .prose h1 >> nth=0", timeout=WAIT_MS)
        if diagram:
            self.page.wait_for_selector(".spacetime[data-drawn]", timeout=WAIT_MS)

    def watch(self) -> None:
        """Collect what no page may do."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: self._outside(socket.url))

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text} {(message.location or {}).get('url', '')}")

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        self._outside(request.url)

    def _outside(self, url: str) -> None:
        own = self.base.removeprefix("http")
        if not url.startswith((f"http{own}", f"ws{own}", "data:", f"blob:http{own}")):
            self.complaints.append(f"outside: {url}")


def fill(folder: Path, *words: str) -> dict[str, Any]:
    """Fill a new embedded store; returns the ids of what is in it."""
    script = Path(__file__).parent / "fill.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    ids: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return ids


def serve(store: str, port: int, environ: dict[str, str], log: Path) -> Dashboard:
    """Start `noclobber dashboard` over a store and wait until it answers; what it says goes to a file."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [*COMMAND, "--store", store, "--dashboard-port", str(port)], stderr=out, env={**os.environ, **environ}
        )
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"http://[\d.]+:\d+", log.read_text()):
            _await(found[0])
            return Dashboard(found[0], process)
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the dashboard did not start: {log.read_text()}")


def _await(url: str) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url + "/api/v1/health", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 503):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")
