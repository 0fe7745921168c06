"""JSON: one finding a line, the summary last."""

import json
from collections.abc import Iterator

from noclobber_analyzer.report.summary import Report

__all__ = ["json_lines"]


def json_lines(report: Report) -> Iterator[str]:
    """The lines of a report."""
    for finding in report.findings:
        yield finding.to_json()
    yield json.dumps({"summary": report.summary.to_json()}, ensure_ascii=False)
