"""One round on the stage: start the agents' programs, wait for them, and hear what they printed.

Programs run in processes of their own, through `noclobber run`, and begin at the same moment.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from noclobber.cli import CommandError

__all__ = ["AGENTS", "Performance", "Program", "perform"]

AGENTS: Final = Path(__file__).parent / "agents"
ROUND_TIMEOUT_S: Final = 60.0
HEAD_START_S: Final = 1.0
"""How long a program may take to be ready before all begin."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the demo.

    Attributes:
        agent: the agent's name; None where the program's threads or nodes are the agents.
        script: file in the folder `agents`.
        arguments: its command line.
    """

    agent: str | None
    script: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Performance:
    """What one round left behind.

    Attributes:
        lines: what each program printed, in the order of the programs, each line after the agent's name.
        ended_ns: unix time at which the last program had ended.
        pids: the programs' processes.
    """

    lines: tuple[str, ...]
    ended_ns: int
    pids: tuple[int, ...]


def perform(
    programs: Sequence[Program],
    *,
    environment: Mapping[str, str],
    exact: bool = False,
    instrumented: bool = True,
    longest_s: float = 0.5,
) -> Performance:
    """Run `programs` at once and wait until all have ended.

    Args:
        programs: what to run.
        environment: the whole environment, the collector's address in it.
        exact: let noclobber ask the store for what a write replaces.
        instrumented: through `noclobber run`; else as they are.
        longest_s: longest pause of an agent, in seconds.

    Raises:
        CommandError: a program failed or did not end; says which, with its last words.
    """
    begin_at = time.time() + HEAD_START_S
    running: list[subprocess.Popen[bytes]] = []
    lines: list[str] = []
    failed: list[str] = []
    try:
        for program in programs:
            words = _words(program, begin_at, longest_s, exact=exact, instrumented=instrumented)
            running.append(_start(words, environment))
        for program, process in zip(programs, running, strict=True):
            lines += _hear(program, process, failed)
    finally:
        for process in running:
            _end(process)
    if failed:
        raise CommandError("; ".join(failed), exit_code=1)
    return Performance(tuple(lines), time.time_ns(), tuple(process.pid for process in running))


def _words(program: Program, begin_at: float, longest_s: float, *, exact: bool, instrumented: bool) -> list[str]:
    """What to type for a program."""
    words = [sys.executable, str(AGENTS / program.script), *program.arguments]
    words += ["--begin-at", str(begin_at), "--longest-s", str(longest_s)]
    if not instrumented:
        return words
    named = ["--agent", program.agent] if program.agent else []
    return [sys.executable, "-m", "noclobber.cli", "run", *named, *(["--exact"] if exact else []), "--", *words]


def _start(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind, whatever ended the round."""
    if process.poll() is None:
        process.kill()
        process.communicate()


def _hear(program: Program, process: subprocess.Popen[bytes], failed: list[str]) -> list[str]:
    name = program.agent or Path(program.script).stem
    try:
        out, errors = process.communicate(timeout=ROUND_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        failed.append(f"{name} did not end within {ROUND_TIMEOUT_S:.0f} s")
        return []
    if process.returncode != 0:
        failed.append(f"{name} failed: {errors.decode(errors='replace').strip()[-500:]}")
    return [f"{name}: {line}" for line in out.decode(errors="replace").splitlines()]
