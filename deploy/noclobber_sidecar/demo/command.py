"""`noclobber demo`: from nothing to a caught race in one command.

It starts the sidecar on the embedded store and a real server, lets real agents race until one loses work, and
prints what an observer of the server saw beside what noclobber says. Then it plays the safe twin, in which nothing
may be found. Without `--once` the dashboard stays open on the finding until Ctrl-C.
"""

import argparse
import contextlib
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noclobber.cli import Command, CommandError
from noclobber.contract import Kind

__all__ = ["COMMAND"]

ROUNDS_MAX = 12
"""Agents are lucky now and then; so many rounds in a row are not luck any more (2^-12)."""
FINDING_TIMEOUT_S = 15.0
QUIET_S = 2.0
"""How long to wait for a finding that should not come."""
TITLES = {kind: kind.value.replace("_", " ") for kind in Kind}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the demo's options."""
    parser.add_argument(
        "--scenario",
        default="account",
        metavar="NAME",
        help="account (Redis), langgraph (store and thread), sql (PostgreSQL and SQLite), queue, or all",
    )
    parser.add_argument("--once", action="store_true", help="end after the findings are printed, with exit code 0 or 1")
    parser.add_argument(
        "--exact", action="store_true", help="let noclobber ask the store for what a write replaces: certain findings"
    )
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep data, logs and the agents' spans in this folder")
    parser.add_argument("--no-browser", action="store_true", help="print the dashboard's address, open no browser")


def run(words: argparse.Namespace) -> int:
    """Play the scenarios; 0 where every finding came that had to, and none else."""
    from noclobber_sidecar.demo.scenarios import SCENARIOS

    if words.scenario not in {*SCENARIOS, "all"}:
        raise CommandError(f"there is no scenario '{words.scenario}'. Known: {', '.join(SCENARIOS)}, all.")
    names = list(SCENARIOS) if words.scenario == "all" else [words.scenario]
    acts = [act for name in names for act in SCENARIOS[name].acts]
    with _folder(words.keep) as folder:
        return _play(folder, acts, words)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise CommandError(f"{keep} is not empty; name a new folder for --keep")
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="noclobber-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _play(folder: Path, acts: list[Any], words: argparse.Namespace) -> int:
    from noclobber_sidecar.demo.sidecar import Sidecar
    from noclobber_sidecar.demo.webhook import WebhookReceiver

    alerts = Alerts()
    with WebhookReceiver(alerts.received) as receiver:
        options = ("--webhook", receiver.url, "--webhook-secret", receiver.secret, "--webhook-allow", "127.0.0.1/32")
        _say("starting the sidecar (receiver, embedded ClickHouse, analyzer, dashboard) ...")
        with Sidecar(folder, options) as sidecar:
            _say(f"  OTLP {sidecar.otlp}   dashboard {sidecar.dashboard}")
            stage = Stage(folder, sidecar, alerts, exact=words.exact)
            right = [stage.play(act) for act in acts]
            if not words.once:
                _stay(sidecar.dashboard, stage.newest, open_browser=not words.no_browser)
    return 0 if all(right) else 1


def _stay(dashboard: str, finding: str | None, *, open_browser: bool) -> None:
    address = f"{dashboard}/finding?id={finding}" if finding else dashboard
    _say(f"\nThe dashboard is open on that finding: {address}\nCtrl-C ends the demo.")
    if open_browser:
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


class Alerts:
    """Webhooks as they came in, verified."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def received(self, kind: str, data: dict[str, Any]) -> None:
        """Keep one message."""
        with self._changed:
            self._seen.append((kind, data))
            self._changed.notify_all()

    def wait_for(self, issue: str, timeout_s: float) -> str | None:
        """The type of the newest message about `issue`, None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for kind, data in reversed(self._seen):
                    if data.get("issue") == issue:
                        return kind
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class Stage:
    """Plays acts on one sidecar.

    Attributes:
        newest: id of the last finding shown.
    """

    def __init__(self, folder: Path, sidecar: Any, alerts: Alerts, *, exact: bool) -> None:
        self._folder, self._sidecar, self._alerts, self._exact = folder, sidecar, alerts, exact
        self._round = 0
        self.newest: str | None = None

    def play(self, act: Any) -> bool:
        """Play `act` until work is lost, then its safe twin; whether noclobber was right about both."""
        _say(f"\n== {act.name}: {act.story}")
        place = self._folder / act.name.replace(" ", "-")
        place.mkdir()
        with act.open(place) as opened:
            caught = self._race(act, opened)
            safe = self._twin(act, opened)
        return caught and safe

    def _race(self, act: Any, opened: Any) -> bool:
        for _ in range(ROUNDS_MAX):
            verdict, since_ns, lines, ended_ns = self._perform(opened, safely=False)
            for line in lines:
                _say(f"   {line}")
            _say(
                f"   the server says: {verdict.end}"
                + ("   <- work was lost, and no error was seen" if verdict.lost else "")
            )
            if not verdict.lost:
                if self._findings(since_ns, ended_ns):
                    _say("   noclobber reports something, although nothing was lost: that is a bug in noclobber")
                    return False
                _say("   luck: they did not meet. Once more.")
                continue
            return self._show(act, since_ns, ended_ns)
        _say(f"   the agents were lucky {ROUNDS_MAX} times in a row")
        return False

    def _show(self, act: Any, since_ns: int, ended_ns: int) -> bool:
        deadline = time.monotonic() + FINDING_TIMEOUT_S
        while time.monotonic() < deadline:
            found = [each for each in self._findings(since_ns, ended_ns) if each["kind"] == act.kind]
            if found:
                self._print(found[0], time.time_ns())
                return True
            time.sleep(0.05)
        _say(f"   noclobber did not find the {TITLES[act.kind]} within {FINDING_TIMEOUT_S:.0f} s")
        return False

    def _print(self, finding: dict[str, Any], now_ns: int) -> None:
        self.newest = finding["id"]
        _say(f"\n   noclobber, {(now_ns - finding['last_ns']) / 1e9:.1f} s after the last access involved:")
        _say(
            f"   {TITLES[Kind(finding['kind'])].upper()} ({finding['certainty']}, {finding['severity']}) on {finding['resource']}"
        )
        _say(_folded(finding["explanation"]))
        for text in finding.get("missing", []):
            _say(_folded(f"to be certain: {text}"))
        advice = finding.get("advice") or {}
        if advice.get("text"):
            _say(_folded(f"fix: {advice['text']}"))
        alert = self._alerts.wait_for(finding["issue"], 5.0)
        _say(f"   webhook: {alert}, signature verified" if alert else "   webhook: none came")
        _say(f"   {self._sidecar.dashboard}/finding?id={finding['id']}\n")

    def _twin(self, act: Any, opened: Any) -> bool:
        verdict, since_ns, _, ended_ns = self._perform(opened, safely=True)
        time.sleep(QUIET_S)
        found = self._findings(since_ns, ended_ns)
        if found or verdict.lost:
            _say(f"   the safe twin ({act.cure}) was reported, or lost something: {verdict.end}")
            return False
        _say(f"   the safe twin ({act.cure}): {verdict.end}, no finding")
        return True

    def _perform(self, opened: Any, *, safely: bool) -> tuple[Any, int, tuple[str, ...], int]:
        from noclobber_sidecar.demo.stage import perform

        self._round += 1
        opened.observer.prepare(self._round)
        since_ns = time.time_ns()
        performance = perform(
            opened.programs(self._round, safely), environment=self._sidecar.environment(), exact=self._exact
        )
        verdict = opened.observer.judge(self._round, performance.lines)
        return verdict, since_ns, performance.lines, performance.ended_ns

    def _findings(self, since_ns: int, until_ns: int) -> list[dict[str, Any]]:
        answer = self._sidecar.get("/findings", {"since_ns": str(since_ns)})
        return [
            each
            for each in answer["findings"]
            if each["status"] == "open"
            and each["manifest"]
            and each["certainty"] != "possible"
            and since_ns <= each["first_ns"] <= until_ns
        ]


def _folded(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 112, initial_indent="     ", subsequent_indent="     ")


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)


COMMAND = Command(
    name="demo",
    summary="see a real race between real agents caught, in one command",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber demo                        two agents on one Redis key; leaves the dashboard open\n"
        "  noclobber demo --exact                the same, certain instead of likely\n"
        "  noclobber demo --scenario all --once  every scenario, for scripts"
    ),
)
