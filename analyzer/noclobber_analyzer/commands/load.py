"""`noclobber load`: many agents do one task for a while, and what races came of it."""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import add_report_options, declared, report_of, thresholds
from noclobber_analyzer.load.drivers import DRIVERS, GRACE_S

__all__ = ["COMMAND"]

AGENTS_MAX: Final = 10_000
ACCESSES_MAX: Final = 1_000_000
SHOWN_EVERY_S: Final = 10.0
STDERR: Final = 2
"""Where what agents print goes: standard output is the verdict's."""
START_S: Final = 120.0
"""What a scenario has to import its libraries and start its servers, and its process to hand over its spans."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber load`."""
    parser.add_argument("scenario", help="file.py, file.py:function, module:function, or one of the demo's")
    parser.add_argument("--agents", type=int, default=10, metavar="N", help="how many work at once (default 10)")
    parser.add_argument("--for", dest="duration", default="30s", metavar="T", help="how long: 30s (default), 5m, 1h")
    parser.add_argument("--driver", choices=DRIVERS, help="threads, asyncio (default: as the function is)")
    parser.add_argument("--exact", nargs="?", const="*", metavar="PATTERNS", help="as `noclobber run --exact`")
    parser.add_argument("--endpoint", metavar="URL", help="send the spans to this collector, too")
    parser.add_argument("--spans", type=Path, metavar="PATH", help="keep the spans in this file, for `noclobber check`")
    parser.add_argument("--accesses-max", type=int, default=ACCESSES_MAX, metavar="N", help="end after so many")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_report_options(parser, formats=False)


def run(words: argparse.Namespace) -> int:
    """Load and judge; 0: nothing at or above the thresholds, 1: findings, 2: unusable arguments or scenario."""
    seconds = _seconds(words.duration)
    if not 0 < words.agents <= AGENTS_MAX:
        raise CommandError(f"--agents is a number from 1 to {AGENTS_MAX}")
    if words.accesses_max < 1:
        raise CommandError("--accesses-max is a number above 0")
    limits, declarations = thresholds(words), declared(words)
    with tempfile.TemporaryDirectory(prefix="noclobber-load-") as folder:
        spans = words.spans.absolute() if words.spans else Path(folder) / "spans.jsonl"
        if spans.exists():
            raise CommandError(f"{spans} is there already")
        work = _load(words, seconds, spans)
        from noclobber_analyzer.errors import InputError
        from noclobber_analyzer.evaluate import evaluate
        from noclobber_analyzer.load.outcome import Outcome, by_kind
        from noclobber_analyzer.otlp_files import read_otlp

        if not spans.exists():
            raise CommandError(_nothing(words.scenario, work))
        try:
            history = read_otlp([str(spans)], None, declarations)
        except InputError as error:
            raise CommandError(str(error)) from error
        judged = evaluate(history, latent=words.latent, declarations=declarations)
        report = report_of(words, history, judged, limits)
        outcome = Outcome(words.scenario, words.agents, work, report, by_kind(report))
    if not report.summary.accesses:
        raise CommandError(_nothing(words.scenario, work))
    for line in (json.dumps(outcome.to_json()),) if words.json else outcome.lines():
        print(line)
    return report.exit_code


def _nothing(scenario: str, work: dict[str, Any]) -> str:
    said = f"no access was captured: is the library that {scenario} uses instrumented? ({work['done']} tasks done"
    return f"{said}, {work['failed']} failed)" + (f"\n{work['first_error']}" if work["first_error"] else "")


def _seconds(said: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", said)
    if found is None or not float(found[1]):
        raise CommandError(f"--for is a time such as 30s, 5m or 1h, not '{said}'")
    return float(found[1]) * {"h": 3600, "m": 60}.get(found[2], 1)


# -- the process -----------------------------------------------------------------------------------------------------


def _load(words: argparse.Namespace, seconds: float, spans: Path) -> dict[str, Any]:
    """Let the agents work; what their process told last.

    Raises:
        CommandError: the scenario can't be used, or the process died.
    """
    reading, writing = os.pipe()
    program = [sys.executable, "-m", "noclobber_analyzer.load.program", words.scenario, "--agents", str(words.agents)]
    program += ["--seconds", str(seconds), "--accesses-max", str(words.accesses_max), "--tell", str(writing)]
    if words.driver:
        program += ["--driver", words.driver]
    # Its own group: Ctrl-C comes to us alone, and we say when it ends.
    process = subprocess.Popen(
        program, env=_environment(words, spans), pass_fds=(writing,), stdout=STDERR, start_new_session=True
    )
    os.close(writing)
    with open(reading) as pipe, _ended(process, seconds + GRACE_S + START_S):  # noqa: PTH123  a descriptor
        last = _listen(pipe, process)
    if "unusable" in last:
        raise CommandError(last["unusable"])
    if not last.get("last"):
        raise CommandError(f"the agents' process ended before its time (exit {process.returncode})", exit_code=1)
    return last


def _environment(words: argparse.Namespace, spans: Path) -> dict[str, str]:
    from noclobber.bootstrap.run import BOOT

    path = os.environ.get("PYTHONPATH")
    chosen = {
        "NOCLOBBER_FILE": str(spans),
        "NOCLOBBER_FILE_ONLY": None if words.endpoint else "1",
        "NOCLOBBER_ENDPOINT": words.endpoint,
        "NOCLOBBER_EXACT": words.exact,
        "NOCLOBBER_CONFIG": words.config and str(Path(words.config).absolute()),
        "PYTHONPATH": os.pathsep.join(filter(None, (BOOT, path, str(Path.cwd())))),
    }
    return {**os.environ, **{name: value for name, value in chosen.items() if value}}


@contextlib.contextmanager
def _ended(process: "subprocess.Popen[bytes]", longest_s: float) -> Iterator[None]:
    """The process has ended afterwards, whatever happens; it is not heard for ever."""
    overdue = threading.Timer(longest_s, process.kill)
    overdue.daemon = True
    overdue.start()
    try:
        yield
        process.wait(START_S)
    finally:
        overdue.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def _listen(pipe: Iterable[str], process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """Show how it goes; Ctrl-C ends the load, and what was done until then is judged."""
    last: dict[str, Any] = {}
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: process.terminate())
    try:
        for line in pipe:
            earlier, last = last, json.loads(line)
            if "unusable" not in last and not last.get("last"):
                _show(last, earlier)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return last


def _show(now: dict[str, Any], earlier: dict[str, Any]) -> None:
    """One line for a moment: each second at a terminal, where it replaces the one before, else every ten seconds."""
    shown = f"{now['seconds']:.0f} s: {now['done']:,} tasks, {now['failed']:,} failed, {now['accesses']:,} accesses"
    rate = (now["accesses"] - earlier.get("accesses", 0)) / max(now["seconds"] - earlier.get("seconds", 0.0), 1e-9)
    if sys.stderr.isatty():
        print(f"\r{shown} ({rate:,.0f}/s)   ", end="", file=sys.stderr, flush=True)
    elif int(now["seconds"] / SHOWN_EVERY_S) > int(earlier.get("seconds", 0.0) / SHOWN_EVERY_S):
        print(f"{shown} ({rate:,.0f}/s)", file=sys.stderr, flush=True)


COMMAND = Command(
    name="load",
    summary="let many agents do one task at once for a while, and find the races between them",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber load account --agents 20 --for 60s      # of the demo: most of their updates are lost\n"
        "  noclobber load agents.py --agents 50 --for 5m     # its function `agent`, plain or async\n"
        "  noclobber load shop.tasks:order --driver threads --fail-on high --json > load.json\n\n"
        "exit code: 0 nothing at or above the thresholds, 1 findings, 2 unusable arguments or scenario"
    ),
)
