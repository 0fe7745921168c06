"""`noclobber report`: findings of OTLP files as one page, pictures included."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.options import add_report_options, declared, progress, thresholds

if TYPE_CHECKING:
    from noclobber_analyzer.report import Report

__all__ = ["REPORT"]

SHOWN_MAX = 200


def _configure(parser: argparse.ArgumentParser) -> None:
    add_report_options(parser, formats=False)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where the page goes, such as races.html")
    parser.add_argument("--title", default="", help="of the page; else the first path's name")
    parser.add_argument("--most", type=int, default=SHOWN_MAX, metavar="N",
                        help=f"findings that are drawn, the worst first (default {SHOWN_MAX})")  # fmt: skip
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="OTLP files (JSON lines or protobuf, .gz too), folders, -"
    )


def _run(words: argparse.Namespace) -> int:
    limits, declarations = thresholds(words), declared(words)
    from noclobber_analyzer.errors import InputError
    from noclobber_analyzer.evaluate import evaluate
    from noclobber_analyzer.garbage import uncollected
    from noclobber_analyzer.otlp_files import read_otlp
    from noclobber_analyzer.report import Report
    from noclobber_dashboard.recorded import Recorded
    from noclobber_dashboard.report_page import drawn, report_page

    try:
        with uncollected():
            history = read_otlp(words.paths, progress("read"), declarations)
            evaluation = evaluate(history, latent=words.latent, declarations=declarations)
    except InputError as error:
        raise CommandError(str(error)) from error
    report = Report.of(history, evaluation, limits)
    worst = sorted(
        report.findings, key=lambda each: (each.id not in report.failing, -each.severity.rank, each.first_ns)
    )
    shown = [each for each in worst if each.certainty.rank >= limits.certainty.rank][: max(0, words.most)]
    recorded = Recorded(history.accesses)
    title = words.title or f"noclobber: {Path(words.paths[0]).name}"
    page = report_page([drawn(each, recorded) for each in shown], title, _said(report, len(shown)))
    try:
        Path(words.output).write_text(page, "utf-8")
    except OSError as error:
        raise CommandError(f"{words.output} cannot be written: {error.strerror}") from error
    sys.stderr.write(f"{len(shown)} of {len(report.findings)} findings in {words.output}\n")
    return report.exit_code


def _said(report: "Report", shown: int) -> list[str]:
    summary = report.summary
    defended = ", ".join(f"{count:,} {reason}" for reason, count in summary.defended.items())
    lines = [
        f"{summary.accesses:,} accesses to {summary.resources:,} resources by {summary.strands:,} strands; "
        f"{len(report.findings)} findings, {shown} of them below.",
        *([f"Held off without harm: {defended}."] if defended else []),
    ]
    return [*lines, *summary.unknown, *summary.unseen]


REPORT = Command(
    name="report",
    summary="findings of OTLP files as one page with pictures, to be attached to a build",
    configure=_configure,
    run=_run,
    epilog=(
        "examples:\n"
        "  noclobber run --file run.jsonl --file-only -- python -m pytest tests/agents\n"
        "  noclobber report -o races.html run.jsonl\n\n"
        "The page is one file, fetches nothing, and opens without a sidecar.\n"
        "exit code: as of `noclobber check`"
    ),
)
