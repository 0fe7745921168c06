"""`noclobber analyze`: find races in what is stored, and bring the stored findings up to date."""

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from noclobber.cli import Command, CommandError
from noclobber_analyzer.commands.moments import moment_ns
from noclobber_analyzer.commands.options import add_report_options, declared, print_report, progress, thresholds
from noclobber_analyzer.commands.stores import add_store_options, elsewhere, opened
from noclobber_analyzer.garbage import uncollected

if TYPE_CHECKING:
    from noclobber_analyzer.replay import Stretch

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `noclobber analyze`."""
    parser.add_argument("--since", metavar="T", help="only findings from then on: 2h, 7d, 2026-05-01, 2026-05-01T09:30")
    parser.add_argument("--until", metavar="T", help="only what was done before then")
    add_store_options(parser)
    parser.add_argument(
        "--from-otel-traces",
        metavar="URL",
        help="judge what an OpenTelemetry Collector's ClickHouse exporter has stored: http(s)://user@host:8123/database",
    )
    parser.add_argument(
        "--otel-table", metavar="NAME", default="otel_traces", help="its table there (default otel_traces)"
    )
    add_report_options(parser)


def run(words: argparse.Namespace) -> int:
    """Judge what is stored; 0: nothing at the thresholds, 1: findings, 2: unusable arguments or store."""
    limits, declarations = thresholds(words), declared(words)
    from noclobber_analyzer.clock import SYSTEM
    from noclobber_analyzer.errors import AnalyzerError
    from noclobber_analyzer.evaluate import evaluate
    from noclobber_analyzer.replay import stored_history, write_judgement

    stretch = _stretch(words, SYSTEM.now_ns())
    if words.from_otel_traces:
        return _of_otel_traces(words, stretch)
    with opened(words) as store, uncollected():
        try:
            history = stored_history(store, stretch, progress("read"), declarations)
        except AnalyzerError as error:
            raise CommandError(str(error)) from error
        if sys.stderr.isatty():
            print(f"\r{len(history.accesses):,} accesses read; judging", file=sys.stderr)
        judged = evaluate(history, latent=words.latent, declarations=declarations)
        judged = write_judgement(store, history, judged, stretch, SYSTEM.now_ns(), latent=words.latent)
    return print_report(words, history, judged, limits)


def _of_otel_traces(words: argparse.Namespace, stretch: "Stretch") -> int:
    """Judge another collector's spans as `check` judges files: nothing is written, there or here."""
    limits, declarations = thresholds(words), declared(words)
    from noclobber_analyzer.errors import AnalyzerError
    from noclobber_analyzer.evaluate import evaluate
    from noclobber_analyzer.otel_traces import history_in_otel_traces

    with elsewhere(words.from_otel_traces) as source:
        try:
            history = history_in_otel_traces(source, words.otel_table, stretch, progress("read"), declarations)
        except AnalyzerError as error:
            raise CommandError(str(error)) from error
    judged = evaluate(history, latent=words.latent, declarations=declarations)
    within = [finding for finding in judged.findings if stretch.has(finding)]
    return print_report(words, history, replace(judged, findings=within), limits)


def _stretch(words: argparse.Namespace, now_ns: int) -> "Stretch":
    from noclobber_analyzer.replay import Stretch

    stretch = Stretch(moment_ns(words.since, "--since", now_ns), moment_ns(words.until, "--until", now_ns))
    if stretch.since_ns is not None and stretch.until_ns is not None and stretch.since_ns >= stretch.until_ns:
        raise CommandError(f"--since {words.since} is not before --until {words.until}")
    return stretch


COMMAND = Command(
    name="analyze",
    summary="find races in what is stored, and bring the stored findings up to date",
    configure=configure,
    run=run,
    epilog=(
        "Works beside a running `noclobber up`: then it reaches the store through it. Findings that no longer hold\n"
        "are marked as retracted, with the reason. With --latent what luck kept apart\n"
        "is stored, too; no issue comes of it.\n\n"
        "With --from-otel-traces it reads the table of another OpenTelemetry Collector's ClickHouse exporter instead,\n"
        "and writes nothing: what it prints is what noclobber's own receiver would have led to.\n\n"
        "examples:\n"
        "  noclobber analyze\n"
        "  noclobber analyze --since 2h --min-certainty certain\n"
        "  noclobber analyze --since 2026-05-01 --until 2026-05-02 --format json\n"
        "  noclobber analyze --store http://default:secret@clickhouse:8123\n"
        "  noclobber analyze --from-otel-traces http://reader:secret@clickhouse:8123/otel --since 1d\n\n"
        "exit code: 0 nothing at the thresholds, 1 findings, 2 unusable arguments or store"
    ),
)
