"""JSON: one finding a line, the summary last; and back."""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.summary import Report

__all__ = ["json_lines", "read_json_lines"]


def json_lines(report: Report) -> Iterator[str]:
    """The lines of a report."""
    for finding in report.findings:
        yield finding.to_json()
    yield json.dumps({"summary": report.summary.to_json()}, ensure_ascii=False)


def read_json_lines(path: Path) -> list[Finding]:
    """The findings in a file that `--format json` or `findings export` made.

    Raises:
        ValueError: a line is no finding, and not the summary. OSError: it can't be read.
    """
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip() or line.startswith(b'{"summary"'):
            continue
        try:
            found.append(Finding.from_json(line))
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number}: {error}") from error
    return found
