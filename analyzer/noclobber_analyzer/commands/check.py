"""`noclobber check`: find races in OTLP files.

Reads the files, judges them, prints the findings; the exit code tells a build what it needs to know.
"""

import argparse
import sys

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import add_report_options, declared, print_report, progress, thresholds
from noclobber_analyzer.garbage import uncollected

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber check`."""
    add_report_options(parser)
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="OTLP files (JSON lines or protobuf, .gz too), folders, -"
    )


def run(words: argparse.Namespace) -> int:
    """Judge files; 0: nothing at the thresholds, 1: findings, 2: unusable input."""
    limits, declarations = thresholds(words), declared(words)
    from noclobber_analyzer.errors import InputError
    from noclobber_analyzer.evaluate import evaluate
    from noclobber_analyzer.otlp_files import read_otlp

    try:
        with uncollected():
            history = read_otlp(words.paths, progress("read"), declarations)
            if sys.stderr.isatty():
                print(f"\r{len(history.accesses):,} accesses read; judging", file=sys.stderr)
            evaluation = evaluate(history, latent=words.latent, declarations=declarations)
    except InputError as error:
        raise CommandError(str(error)) from error
    return print_report(words, history, evaluation, limits)


COMMAND = Command(
    name="check",
    summary="find races in OTLP files; exit code 1 where there are any",
    configure=configure,
    run=run,
    epilog=(
        "examples:\n"
        "  noclobber check run.jsonl\n"
        "  noclobber check --format github --fail-on high traces/\n"
        "  noclobber check --kinds lost_update,fork --min-certainty certain run.jsonl\n"
        "  cat run.jsonl | noclobber check -\n\n"
        "exit code: 0 nothing at the thresholds, 1 findings, 2 unusable input or arguments"
    ),
)
