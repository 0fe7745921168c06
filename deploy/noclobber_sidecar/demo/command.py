"""`noclobber demo`: from nothing to a caught race in one command.

It starts the sidecar on the embedded store and a real server, lets real agents race until one loses work, and
prints what an observer of the server saw beside what noclobber says. Then it plays the safe twin, in which nothing
may be found. Without `--once` the dashboard stays open on the finding until Ctrl-C. Nothing is left behind but what
`--keep` names.
"""

import argparse
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError

if TYPE_CHECKING:
    from noclobber_sidecar.demo.scenarios import Act
    from noclobber_sidecar.demo.sidecar import Sidecar

__all__ = ["COMMAND"]

STOPPED = 130
"""Exit code after Ctrl-C before the play was over, as shells have it."""


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
    began_s = time.monotonic()
    from noclobber_sidecar.demo.scenarios import SCENARIOS

    if words.scenario not in {*SCENARIOS, "all"}:
        raise CommandError(f"there is no scenario '{words.scenario}'. Known: {', '.join(SCENARIOS)}, all.")
    names = list(SCENARIOS) if words.scenario == "all" else [words.scenario]
    acts = [act for name in names for act in SCENARIOS[name].acts]
    try:
        with _ending_on_sigterm(), _folder(words.keep) as folder:
            return _play(folder, acts, words, began_s)
    except KeyboardInterrupt:
        print("\nstopped; nothing runs any more")
        return STOPPED


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does, its servers included."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where everything lies: a folder of the person's own, else one that goes with the demo."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="noclobber-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise CommandError(f"{keep} is not empty; name a new folder for --keep")
    except OSError as error:
        raise CommandError(f"{keep} can't be used for --keep: {error.strerror or error}") from error
    yield keep.resolve()


def _play(folder: Path, acts: "Sequence[Act]", words: argparse.Namespace, began_s: float) -> int:
    from noclobber_sidecar.demo.play import Play, say
    from noclobber_sidecar.demo.sidecar import Sidecar
    from noclobber_sidecar.demo.webhook import Alerts, WebhookReceiver

    alerts = Alerts()
    with WebhookReceiver(alerts.received) as receiver:
        options = ("--webhook", receiver.url, "--webhook-secret", receiver.secret, "--webhook-allow", "127.0.0.1/32")
        say("The sidecar starts: receiver, embedded ClickHouse, analyzer, dashboard ...")
        with Sidecar(folder, options) as sidecar:
            say(f"   ready after {time.monotonic() - began_s:.1f} s; agents send to {sidecar.otlp}")
            say(f"   dashboard: {sidecar.dashboard}")
            say("The agents are ordinary programs, started with `noclobber run`; not a line in them knows noclobber.")
            spans = _spans(folder) if words.keep is not None else None
            environment = _environment(folder, sidecar)
            play = Play(sidecar, alerts, environment, exact=words.exact, spans=spans, began_s=began_s)
            right = [play.act(act, folder / act.name.replace(" ", "-")) for act in acts]
            say("\nAll as it should be." if all(right) else "\nNot all was as it should be.")
            if spans is not None:
                say(f"The agents' spans lie in {spans}; `noclobber check {spans}` finds the same in them.")
            if not words.once:
                _stay(sidecar.dashboard, play.newest, open_browser=not words.no_browser)
    return 0 if all(right) else 1


def _spans(folder: Path) -> Path:
    spans = folder / "spans"
    spans.mkdir()
    return spans


def _environment(folder: Path, sidecar: "Sidecar") -> dict[str, str]:
    """What agents get: the sidecar's address, and a key and a spool that go with the demo, whatever HOME is."""
    return {
        **os.environ,
        "NOCLOBBER_ENDPOINT": sidecar.otlp,
        "NOCLOBBER_KEY": secrets.token_hex(16),
        "NOCLOBBER_SPOOL": str(folder / "unsent"),
    }


def _stay(dashboard: str, finding: str | None, *, open_browser: bool) -> None:
    address = f"{dashboard}/finding?id={finding}" if finding else dashboard
    print(f"\nThe dashboard is open on that finding: {address}\nCtrl-C ends the demo.", flush=True)
    if open_browser and _has_screen():
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _has_screen() -> bool:
    """Whether a browser would open a window; without one it would take over the terminal."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


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
