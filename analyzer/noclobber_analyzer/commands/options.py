"""Options and output that `check` and `analyze` share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.cli import CommandError
from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.report import FORMATS, Report, Thresholds

if TYPE_CHECKING:
    from noclobber.declarations import Declarations
    from noclobber_analyzer.evaluate import Evaluation
    from noclobber_analyzer.history import History

__all__ = ["add_report_options", "declared", "print_report", "progress", "report_of", "thresholds"]

PROGRESS_EVERY = 20_000


def add_report_options(parser: argparse.ArgumentParser, *, formats: bool = True) -> None:
    """Add what decides how findings are shown (in one of the `formats`) and when a run fails."""
    if formats:
        parser.add_argument(
            "--format", choices=sorted(FORMATS), default="text", help="text (default), one for machines"
        )
    parser.add_argument(
        "--fail-on",
        choices=[str(severity) for severity in Severity],
        default=str(Severity.LOW),
        metavar="SEVERITY",
        help="least severity that makes the exit code 1: critical, high, medium, low (default)",
    )
    parser.add_argument(
        "--min-certainty",
        choices=[str(certainty) for certainty in Certainty],
        default=str(Certainty.LIKELY),
        metavar="C",
        help="least certainty that makes the exit code 1: certain, likely (default), possible",
    )
    parser.add_argument("--kinds", metavar="KIND,KIND", help="only these kinds, such as lost_update,fork")
    parser.add_argument("--config", metavar="TOML", help="what owners know of their resources: [[resource]] tables")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="known findings, which do not fail the run")
    parser.add_argument("--update-baseline", action="store_true", help="write what would fail the run into that file")
    parser.add_argument("--latent", action="store_true", help="also conflicts that luck alone kept apart")


def thresholds(words: argparse.Namespace) -> Thresholds:
    """The thresholds that were typed.

    Raises:
        CommandError: a kind that does not exist.
    """
    names = [name.strip() for name in (words.kinds or "").split(",") if name.strip()]
    known = {str(kind) for kind in Kind}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise CommandError(f"there is no kind '{wrong[0]}'. Known: {', '.join(sorted(known))}")
    kinds = frozenset(Kind(name) for name in names)
    return Thresholds(Severity(words.fail_on), Certainty(words.min_certainty), kinds, latent=words.latent)


def declared(words: argparse.Namespace) -> "Declarations":
    """The declarations of the file that was named, by flag or by `NOCLOBBER_CONFIG`.

    Raises:
        CommandError: it can't be read or understood.
    """
    from noclobber.declarations import DeclarationError, Declarations, load
    from noclobber_analyzer.invariants import InvariantError, check_invariants

    path = words.config or os.environ.get("NOCLOBBER_CONFIG")
    if not path:
        return Declarations()
    try:
        declarations = load(path)
        check_invariants(declarations)
    except (DeclarationError, InvariantError) as error:
        raise CommandError(str(error)) from error
    return declarations


def print_report(words: argparse.Namespace, history: "History", judged: "Evaluation", limits: Thresholds) -> int:
    """Print what was judged, as the options say; returns the exit code."""
    report = report_of(words, history, judged, limits)
    for line in FORMATS[words.format](report):
        print(line)
    return report.exit_code


def report_of(words: argparse.Namespace, history: "History", judged: "Evaluation", limits: Thresholds) -> Report:
    """What was judged, held against the baseline that was named, which is written anew where that was asked for.

    Raises:
        CommandError: the baseline can't be read, or not be written.
    """
    from noclobber_analyzer.baseline import BaselineError, baseline_text, entries_of, read_baseline

    if words.update_baseline and not words.baseline:
        raise CommandError("--update-baseline needs --baseline FILE")
    try:
        known = None if words.baseline is None else read_baseline(words.baseline, may_be_missing=words.update_baseline)
        if words.update_baseline:
            known = entries_of(finding for finding in judged.findings if limits.fails(finding))
            words.baseline.write_text(baseline_text(known))
    except BaselineError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"can't write the baseline {words.baseline}: {error.strerror}") from error
    return Report.of(history, judged, limits, known)


def progress(what: str) -> Callable[[int], None] | None:
    """Tells a person at a terminal how far it is; None where nobody watches."""
    if not sys.stderr.isatty():
        return None
    last = 0

    def tell(count: int) -> None:
        nonlocal last
        if count - last >= PROGRESS_EVERY:
            last = count
            print(f"\r{what} {count:,}", end="", file=sys.stderr, flush=True)

    return tell
