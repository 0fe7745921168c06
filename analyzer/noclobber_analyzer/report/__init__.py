"""What people and machines get to see of an evaluation: text, JSON lines, SARIF, JUnit, GitHub annotations.

A format is a function from a `Report` to lines. Thresholds are applied before (`Thresholds.fails`), so that every
format shows the same findings and the exit code follows from them.

Source: contract 4 (`noclobber check`).
"""

from collections.abc import Callable, Iterator
from typing import Final

from noclobber_analyzer.report.annotations import github
from noclobber_analyzer.report.json_lines import json_lines
from noclobber_analyzer.report.junit import junit
from noclobber_analyzer.report.sarif import sarif
from noclobber_analyzer.report.summary import Report, Summary, Thresholds
from noclobber_analyzer.report.text import text

__all__ = ["FORMATS", "Report", "Summary", "Thresholds"]

FORMATS: Final[dict[str, Callable[[Report], Iterator[str]]]] = {
    "text": text,
    "json": json_lines,
    "sarif": sarif,
    "junit": junit,
    "github": github,
}
"""Name of the format -> its lines."""
