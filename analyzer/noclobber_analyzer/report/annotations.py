"""GitHub workflow commands: each finding stands beside the line of code that made the write.

Source: GitHub Actions, "Workflow commands" (`::error file=..,line=..::message`; `%`, CR and LF are escaped).
"""

from collections.abc import Iterator

from noclobber_analyzer.explain import title
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.places import place_of
from noclobber_analyzer.report.summary import Report

__all__ = ["github"]


def github(report: Report) -> Iterator[str]:
    """The lines of a report."""
    for finding in report.findings:
        level = "error" if finding.id in report.failing else "notice"
        yield f"::{level} {_properties(finding)}::{_data(finding.explanation)}"
    summary = report.summary
    yield f"{summary.accesses} accesses, {len(report.findings)} findings, {len(report.failing)} at the thresholds"


def _properties(finding: Finding) -> str:
    words = {"title": f"{title(finding.kind)} ({finding.certainty})"}
    place = place_of(finding)
    if place is not None:
        words |= {"file": place.file, "line": str(place.line)}
    return ",".join(f"{name}={_property(value)}" for name, value in words.items())


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")
