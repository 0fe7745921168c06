"""`noclobber confirm`: bring a finding about (again), and write the test that holds it down."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import declared
from noclobber_analyzer.commands.programs import add_program_options, command_of, environment_of
from noclobber_analyzer.commands.stores import add_store_options, opened

if TYPE_CHECKING:
    from noclobber_analyzer.finding import Finding
    from noclobber_analyzer.rerun.program import Run

__all__ = ["COMMAND"]

TRIES_MAX = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber confirm`."""
    parser.usage = "noclobber confirm FINDING [OPTIONS] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("finding", metavar="FINDING", help="id of a finding, latent or not, or the beginning of it")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        help="output of `check --latent --format json`, or of `chaos --findings`",
    )
    parser.add_argument("--tries", type=int, default=5, help="runs at most (default 5)")
    parser.add_argument("--wait", type=float, default=3.0, metavar="S", help="longest hold of a strand (default 3)")
    parser.add_argument("--write-test", metavar="PATH", help="write a regression test for pytest, if it is confirmed")
    add_store_options(parser)
    add_program_options(parser)


def run(words: argparse.Namespace) -> int:
    """Steer; 0: not reproduced, 1: confirmed, 2: unusable arguments, finding or program."""
    declarations, command = declared(words), command_of(words)
    from noclobber_analyzer.report.text import finding_lines
    from noclobber_analyzer.rerun.program import Unrunnable
    from noclobber_analyzer.rerun.regression import regression_test
    from noclobber_analyzer.rerun.steered import Unsteerable, confirm

    if not 0 < words.tries <= TRIES_MAX or words.wait <= 0:
        raise CommandError(f"--tries is a number from 1 to {TRIES_MAX}, --wait one of seconds above 0")
    finding = _finding(words)
    try:
        outcome = confirm(
            command,
            finding,
            tries=words.tries,
            wait_s=words.wait,
            timeout_s=words.timeout,
            environment=environment_of(words),
            declarations=declarations,
            told=_tell,
        )
    except (Unrunnable, Unsteerable) as error:
        raise CommandError(str(error)) from error
    if outcome.finding is None:
        print(f"not reproduced in {outcome.tries} tries")
        if outcome.last.exit_code != 0:
            print(f"the program's last words:\n{outcome.last.printed}")
        return 0
    print(f"confirmed in try {outcome.tries}:", *finding_lines(outcome.finding), sep="\n")
    if words.write_test:
        try:
            Path(words.write_test).write_text(regression_test(command, finding, wait_s=min(words.wait, 1.0)))
        except OSError as error:
            raise CommandError(f"can't write {words.write_test}: {error.strerror}") from error
        print(f"regression test: pytest {words.write_test}")
    return 1


def _tell(number: int, ran: "Run") -> None:
    ended = "ran out of time" if ran.exit_code is None else f"exit {ran.exit_code}"
    print(f"try {number}: {ended} after {ran.seconds:.2f} s, {ran.accesses} accesses", flush=True)


def _finding(words: argparse.Namespace) -> "Finding":
    found = [each for each in _known(words) if each.id.startswith(words.finding)]
    if len(found) != 1:
        raise CommandError(f"{len(found) or 'no'} findings begin with {words.finding}")
    return found[0]


def _known(words: argparse.Namespace) -> "list[Finding]":
    if words.source is None:
        from noclobber_analyzer.archive import by_prefix

        with opened(words) as store:
            return by_prefix(store, words.finding.strip().lower())
    from noclobber_analyzer.report.json_lines import read_json_lines

    try:
        return read_json_lines(Path(words.source))
    except (OSError, ValueError) as error:
        raise CommandError(f"{words.source} is no output of `check --format json`: {error}") from error


COMMAND = Command(
    name="confirm",
    summary="bring a finding about by steering its program, and write the test that holds it down",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber run --file run.jsonl --file-only -- python agents.py\n"
        "  noclobber check --latent --format json run.jsonl > latent.json\n"
        "  noclobber confirm 3f9a0c --from latent.json --write-test test_race.py -- python agents.py\n"
        "  noclobber chaos --findings found.jsonl -- python agents.py\n"
        "  noclobber confirm 82c1 --from found.jsonl --write-test test_race.py -- python agents.py\n\n"
        "exit code: 0 not reproduced, 1 confirmed, 2 unusable arguments, finding or program"
    ),
)
