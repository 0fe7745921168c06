"""Findings as a table for people at a terminal.

Names come from outside: control characters are shown as escapes.
"""

from collections.abc import Iterator, Sequence

from noclobber_analyzer.commands.moments import moment_text
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.phrases import duration
from noclobber_analyzer.report.text import plain

__all__ = ["table_lines"]

ID_LETTERS = 12
AGENTS_WIDTH_MAX = 32
HEAD = ("ID", "LAST (UTC)", "CERTAINTY", "SEVERITY", "KIND", "AGENTS", "RESOURCE")


def table_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each finding under a head; nothing where there are none."""
    if not findings:
        return
    rows = [HEAD, *(_cells(finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join((*cells, row[-1])).rstrip()


def _cells(finding: Finding) -> tuple[str, ...]:
    kind = str(finding.kind) + ("" if finding.status == "open" else f" ({finding.status})")
    if not finding.manifest:
        kind += f", missed by {duration(finding.margin_ns or 0)}"
    return (
        finding.id[:ID_LETTERS],
        moment_text(finding.last_ns),
        str(finding.certainty),
        str(finding.severity),
        kind,
        _shortened(plain(", ".join(finding.agents))),
        plain(finding.resource),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= AGENTS_WIDTH_MAX else text[: AGENTS_WIDTH_MAX - 1] + "…"
