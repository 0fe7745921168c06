"""One round on the stage: start the agents' programs, wait for them, and hear what they printed.

Programs run in processes of their own, through `noclobber run`, and begin at the same moment.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from noclobber.cli import CommandError

__all__ = ["Performance", "Program", "perform"]

AGENTS = Path(__file__).parent / "agents"
ROUND_TIMEOUT_S = 60.0
HEAD_START_S = 1.0
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
    """

    lines: tuple[str, ...]
    ended_ns: int


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
    running = []
    for program in programs:
        words = [sys.executable, str(AGENTS / program.script), *program.arguments]
        words += ["--begin-at", str(begin_at), "--longest-s", str(longest_s)]
        if instrumented:
            words = [sys.executable, "-m", "noclobber.cli", "run", *_options(program, exact), "--", *words]
        running.append(
            subprocess.Popen(
                words, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
            )
        )
    lines: list[str] = []
    failed: list[str] = []
    for program, process in zip(programs, running, strict=True):
        lines += _hear(program, process, failed)
    if failed:
        raise CommandError("; ".join(failed), exit_code=1)
    return Performance(tuple(lines), time.time_ns())


def _options(program: Program, exact: bool) -> list[str]:
    named = ["--agent", program.agent] if program.agent else []
    return [*named, *(["--exact"] if exact else [])]


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
