"""A program, run once with its shared state instrumented, and what the evaluator says of it.

It runs in a process group of its own and for a bounded time; what it prints is kept, and shown where it fails. Spans
go to a file beside, so nothing is sent anywhere.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from noclobber.bootstrap.run import BOOT
from noclobber.declarations import Declarations
from noclobber_analyzer.declared import NOTHING_DECLARED
from noclobber_analyzer.errors import InputError
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.otlp_files import read_otlp

__all__ = ["Run", "Unrunnable", "run_once"]

SHOWN_MAX: Final = 4000
"""Last bytes of what a program printed that are shown where it fails."""
GRACE_S: Final = 3.0
"""What a program that ran out of time has to hand over its spans."""


class Unrunnable(Exception):  # noqa: N818  what a person mends
    """The command can't be started."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one run.

    Attributes:
        exit_code: None where it ran out of time. printed: the end of both its streams. seconds: how long it took.
        accesses: how many were captured. findings: all that the evaluator has, latent ones where asked for.
    """

    exit_code: int | None
    printed: str
    seconds: float
    accesses: int
    findings: tuple[Finding, ...] = field(default=())


def run_once(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 60.0,
    latent: bool = False,
    declarations: Declarations = NOTHING_DECLARED,
) -> Run:
    """Run `command`, with `environment` over the present one, and judge what it did.

    Raises:
        Unrunnable: there is no such program.
    """
    with tempfile.TemporaryDirectory(prefix="noclobber-", ignore_cleanup_errors=True) as folder:
        spans = Path(folder) / "spans.jsonl"
        start = time.monotonic()
        with (Path(folder) / "printed").open("w+b") as printed:
            code = _run(_words(command), _environment(spans, environment or {}), printed, timeout_s)
            seconds = time.monotonic() - start
            size = printed.seek(0, os.SEEK_END)
            printed.seek(max(0, size - SHOWN_MAX))
            shown = printed.read().decode(errors="replace")
        if not spans.exists():
            return Run(code, shown, seconds, 0)
        try:
            history = read_otlp([str(spans)], None, declarations)
        except InputError:  # a process that was killed in the middle of a line
            return Run(code, shown, seconds, 0)
        judged = evaluate(history, latent=latent, declarations=declarations)
        return Run(code, shown, seconds, len(history.accesses), tuple(judged.findings))


def _words(command: Sequence[str]) -> list[str]:
    words = list(command)
    if words[0].endswith(".py") and not os.access(words[0], os.X_OK):
        words = [sys.executable, *words]
    elif words[0] in ("python", "python3"):
        words[0] = sys.executable
    program = shutil.which(words[0])
    if program is None:
        raise Unrunnable(f"there is no program '{words[0]}'")
    return [program, *words[1:]]


def _environment(spans: Path, more: Mapping[str, str]) -> dict[str, str]:
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "NOCLOBBER_FILE": str(spans),
        "NOCLOBBER_FILE_ONLY": "1",
        "PYTHONPATH": os.pathsep.join((BOOT, path)) if path else BOOT,
        **more,
    }


def _run(words: list[str], environment: dict[str, str], printed: IO[bytes], timeout_s: float) -> int | None:
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, start_new_session=True
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            _signal(process.pid, kind)
            try:
                process.wait(GRACE_S)
                break
            except subprocess.TimeoutExpired:
                continue
        return None
    finally:
        _signal(process.pid, signal.SIGKILL)  # whatever it started and left
        process.wait()


def _signal(group: int, kind: signal.Signals) -> None:
    try:
        os.killpg(group, kind)
    except (ProcessLookupError, PermissionError):
        return
