"""`noclobber chaos`: run a program again and again, hold its strands at their accesses, and judge what comes out."""

import argparse
import json
import os
import random
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import declared, thresholds
from noclobber_analyzer.commands.programs import add_program_options, command_of, environment_of

if TYPE_CHECKING:
    from noclobber_analyzer.finding import Finding
    from noclobber_analyzer.rerun.program import Run

__all__ = ["COMMAND"]

RUNS: Final = 20
RUNS_MAX: Final = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber chaos`."""
    parser.usage = "noclobber chaos [OPTIONS] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("--plan", metavar="TOML", help="what to hold, how likely, how long (default: after reads)")
    parser.add_argument("--seed", type=int, help="of the first run; each further one has the next (default: any)")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs at most (default {RUNS})")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first finding")
    parser.add_argument("--report", metavar="PATH", help="write what was held and found to this file, as JSON")
    parser.add_argument("--findings", metavar="PATH", help="write the findings to this file, one a line")
    add_program_options(parser)


@dataclass(frozen=True, slots=True)
class _Told:
    """One run: its seed, how it ended, what was held in it, and what was found at the thresholds."""

    seed: int
    ran: "Run"
    injected: list[dict[str, Any]]
    failing: "list[Finding]"

    def line(self) -> str:
        """For people."""
        ended = "ran out of time" if self.ran.exit_code is None else f"exit {self.ran.exit_code}"
        held_s = sum(each["seconds"] for each in self.injected)
        kinds = Counter(str(each.kind) for each in self.failing)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing"
        said = f"seed {self.seed}: {ended} after {self.ran.seconds:.2f} s, {self.ran.accesses} accesses"
        what = Counter(each.get("what", "hold") for each in self.injected)
        spoilt = "".join(
            f", {what[name]} {words}"
            for name, words in (("lose", "acks lost"), ("again", "messages again"))
            if what[name]
        )
        return f"{said}, held {what['hold']} times ({held_s:.2f} s){spoilt}: {found}"

    def json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "seed": self.seed,
            "exit_code": self.ran.exit_code,
            "seconds": round(self.ran.seconds, 3),
            "accesses": self.ran.accesses,
            "injected": self.injected,
            "findings": [json.loads(finding.to_json()) for finding in self.failing],
        }


def run(words: argparse.Namespace) -> int:
    """Run and judge; 0: nothing came out, 1: findings, 2: unusable arguments, plan or program."""
    from noclobber_analyzer.likeness import likeness
    from noclobber_analyzer.report.text import finding_lines

    command = command_of(words)
    told: list[_Told] = []
    found: dict[str, tuple[int, Finding]] = {}
    for each in _runs(words, command):
        told.append(each)
        print(each.line(), flush=True)
        for finding in each.failing:
            found.setdefault(likeness(finding), (each.seed, finding))
        if found and not words.keep_going:
            break
    if not any(each.ran.accesses for each in told):
        raise CommandError(f"no access was captured in any run: is the library instrumented?\n{told[-1].ran.printed}")
    for seed, finding in found.values():
        print(f"\nseed {seed}:", *finding_lines(finding), sep="\n")
        print(f"again: noclobber chaos --seed {seed} --runs 1 -- {shlex.join(command)}")
    _write(words, told, [finding for _, finding in found.values()])
    return 1 if found else 0


def _runs(words: argparse.Namespace, command: list[str]) -> Iterator[_Told]:
    limits, declarations, plan = thresholds(words), declared(words), _plan(words.plan)
    from noclobber_analyzer.rerun.program import Unrunnable, run_once

    if not 0 < words.runs <= RUNS_MAX:
        raise CommandError(f"--runs is a number from 1 to {RUNS_MAX}")
    first = random.randrange(1_000_000) if words.seed is None else words.seed  # noqa: S311  of holds
    for seed in range(first, first + words.runs):
        with tempfile.TemporaryDirectory(prefix="noclobber-chaos-") as folder:
            held = Path(folder) / "held.jsonl"
            more = {"NOCLOBBER_CHAOS": plan, "NOCLOBBER_CHAOS_SEED": str(seed), "NOCLOBBER_CHAOS_FILE": str(held)}
            environment = {**environment_of(words), **more}
            try:
                ran = run_once(
                    command, environment, timeout_s=words.timeout, latent=words.latent, declarations=declarations
                )
            except Unrunnable as error:
                raise CommandError(str(error)) from error
            injected = [json.loads(line) for line in held.read_text().splitlines()] if held.exists() else []
        yield _Told(seed, ran, injected, [finding for finding in ran.findings if limits.fails(finding)])


def _plan(path: str | None) -> str:
    from noclobber.pacing.plan import PlanError, load

    if path is None:
        return "default"
    try:
        load(Path(path))
    except PlanError as error:
        raise CommandError(str(error)) from error
    return str(Path(path).absolute())


def _write(words: argparse.Namespace, told: list[_Told], findings: "list[Finding]") -> None:
    try:
        if words.report:
            Path(words.report).write_text(
                json.dumps({"plan": words.plan or "default", "runs": [each.json() for each in told]}, indent=1) + "\n"
            )
        if words.findings:
            Path(words.findings).write_text("".join(finding.to_json() + os.linesep for finding in findings))
    except OSError as error:
        print(f"noclobber: can't write {error.filename}: {error.strerror}", file=sys.stderr)


COMMAND = Command(
    name="chaos",
    summary="run a program again and again, hold its strands at their accesses, and find what luck hides",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber chaos -- python agents.py\n"
        "  noclobber chaos --plan chaos.toml --runs 50 --keep-going --report chaos.json -- python agents.py\n"
        "  noclobber chaos --seed 41 --runs 1 -- python agents.py      # the same holds again\n\n"
        "exit code: 0 nothing came out, 1 findings, 2 unusable arguments, plan or program"
    ),
)
