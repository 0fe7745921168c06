"""How long does somebody take who has just heard of it, from a clone to an own agent's race on the screen?

Types what the quick start says, block by block, in a clone, an environment and a home that hold nothing else, and looks
at the dashboard in a real browser. Only the thinking is left out. The clock is read at each step. Needs the ordinary
package index, as the newcomer does. Where somebody already listens on the sidecar's ports, others are named, as the
refusal tells a person to do.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from driving import READY
from guide_blocks import GUIDE, ROOT, blocks

from noclobber_sidecar.sockets import free_port

WHOLE_S = 600
STEP_S = 60
DEMO_OPEN = re.compile(r"The dashboard is open on that finding: (\S+)")
SHOWN = re.compile(r"dashboard\s.*?(http://[\w.:]+)")

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(WHOLE_S + 120)]


class Newcomer:
    """A shell, a browser's tab and a watch."""

    def __init__(self, home: Path, page: Any) -> None:
        self.home, self.page = home, page
        self.folder = home
        self.began_s = time.monotonic()
        strange = {"PYTHONPATH", "VIRTUAL_ENV", "NOCLOBBER_HISTORIES"}
        kept = {name: value for name, value in os.environ.items() if name not in strange}
        self.environ = {**kept, "HOME": str(home), "BROWSER": "true"}
        self.environ["PATH"] = f"{home}/noclobber/.venv/bin:{os.environ['PATH']}"
        self.environ |= {"XDG_DATA_HOME": f"{home}/data", "XDG_STATE_HOME": f"{home}/state"}

    def passed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began_s

    def note(self, what: str) -> None:
        """Say what is done by now."""
        print(f"{self.passed_s():6.1f} s  {what}")

    def types(self, line: str) -> str:
        """Run it to its end; returns what it said."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=self.folder, env=self.environ, text=True, check=False,
            capture_output=True, timeout=WHOLE_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        self.note(line.strip())
        return done.stdout

    @contextmanager
    def keeps_running(self, line: str, until: re.Pattern[str]) -> Iterator[str]:
        """Run it in a terminal of its own until what it waits for is printed; Ctrl-C at the end, and it ends well."""
        said = self.home / "said"
        with said.open("w") as out:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", line], cwd=self.folder, env=self.environ, stdout=out,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
        try:
            yield self._awaited(process, said, until)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(STEP_S)
        assert process.returncode in (0, -signal.SIGINT, 128 + signal.SIGINT), said.read_text()

    def _awaited(self, process: subprocess.Popen[bytes], said: Path, until: re.Pattern[str]) -> str:
        while process.poll() is None and self.passed_s() < WHOLE_S:
            if found := until.search(said.read_text()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(said.read_text())

    def sees_the_race(self, address: str, words: str) -> None:
        """The finding's page stands, its headline names the race, and two accesses of it are drawn."""
        if address:
            self.page.goto(address)
        self.page.locator(".spacetime[data-drawn]").first.wait_for(timeout=STEP_S * 1e3)
        assert words in self.page.locator("h1, h2").filter(has_text="Lost update").first.inner_text()
        assert self.page.locator(".spacetime").first.locator(".box.race").count() == 2


@pytest.fixture
def newcomer(tmp_path: Path, chromium: Any) -> Iterator[Newcomer]:
    """One with nothing but git, Python and a browser."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout that could be cloned")
    (tmp_path / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")  # whoever the checkout belongs to
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    yield Newcomer(tmp_path, context.new_page())
    context.close()


def test_ten_minutes_from_clone_to_the_first_own_race_on_screen(newcomer: Newcomer) -> None:
    """Installs included, by the words of the quick start alone."""
    first, program, record, check, report, *live = blocks(GUIDE / "quickstart.md")
    newcomer.types(f"git clone --quiet --no-hardlinks {ROOT} noclobber")
    newcomer.folder = newcomer.home / "noclobber"
    environment, both = first.text.strip().splitlines()
    install, _, demo = both.partition(" && ")
    newcomer.types(environment)
    newcomer.types(install)
    with newcomer.keeps_running(demo, DEMO_OPEN) as address:
        newcomer.note(f"{demo}: the race is found")
        newcomer.sees_the_race(address, "Lost update on")
        newcomer.note("and on screen")
    assert program.file is not None
    (newcomer.folder / program.file).write_text(program.text)
    newcomer.types(record.text)
    assert "lost update" in newcomer.types(check.text).lower()
    newcomer.types(report.text)
    newcomer.sees_the_race((newcomer.folder / "races.html").as_uri(), "accounts")
    newcomer.note("the own agent's race on screen, from a file")
    live_race(newcomer, *(block.text.strip() for block in live))
    assert newcomer.passed_s() <= WHOLE_S


def live_race(newcomer: Newcomer, up: str, agents: str) -> None:
    """The sidecar in one terminal, the agents in another; the overview is open, and the finding is clicked there."""
    grpc, http, pages = (free_port("127.0.0.1", port) for port in (4317, 4318, 8501))
    if (grpc, http, pages) != (4317, 4318, 8501):
        up += f" --otlp-grpc-port {grpc} --otlp-http-port {http} --dashboard-port {pages}"
        newcomer.environ["NOCLOBBER_ENDPOINT"] = f"http://127.0.0.1:{http}"
    with newcomer.keeps_running(up, SHOWN) as address:
        newcomer.note(f"{up}: ready")
        newcomer.page.goto(address)
        newcomer.page.wait_for_selector(READY, timeout=STEP_S * 1e3)
        newcomer.types(agents)
        newcomer.page.get_by_role("link", name="Lost update on").first.click(timeout=STEP_S * 1e3)
        newcomer.sees_the_race("", "accounts")
        newcomer.note("the own agent's race on screen, live")
