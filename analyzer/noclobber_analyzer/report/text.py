"""Text for people at a terminal: the sentence first, then how sure, where, and what to change.

Names come from outside: control characters are shown as escapes, so that no agent can paint on the reader's terminal.
"""

import textwrap
from collections.abc import Iterator
from typing import Final

from noclobber_analyzer.explain import title
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.summary import Report

__all__ = ["finding_lines", "plain", "text"]

WIDTH: Final = 110
CODE_LINES_MAX: Final = 14


def text(report: Report) -> Iterator[str]:
    """The lines of a report."""
    for finding in report.findings:
        yield from finding_lines(finding)
        yield ""
    yield from _summary(report)


def plain(words: str) -> str:
    """Text whose control characters can do nothing."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in words
    )


def finding_lines(finding: Finding) -> Iterator[str]:
    """One finding."""
    latent = "" if finding.manifest else ", latent: luck kept them apart"
    yield plain(f"{title(finding.kind).upper()}  {finding.certainty}, {finding.severity}{latent}  {finding.resource}")
    yield _folded(finding.explanation)
    for access in finding.accesses:
        versions = ", ".join(
            f"{word} {value[:12]}"
            for word, value in (
                ("read", access.version_read), ("base", access.version_base), ("wrote", access.version_written)
            )
            if value
        )  # fmt: skip
        place = f"  at {access.code}" if access.code else ""
        yield plain(f"    {access.role:<12} {access.agent:<18} {access.op:<7} {versions}{place}")
    for missing in finding.missing:
        yield _folded(f"to be surer: {missing}")
    if finding.affected.accesses:
        agents = ", ".join(finding.affected.agents)
        yield _folded(f"since then: {len(finding.affected.accesses)} accesses by {agents} came to know what came of it")
    yield _folded(f"fix: {finding.advice.text}")
    yield from (plain(f"      | {line}") for line in finding.advice.code.splitlines()[:CODE_LINES_MAX])
    yield f"    id {finding.id}"


def _folded(words: str) -> str:
    return textwrap.fill(plain(words), WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def _summary(report: Report) -> Iterator[str]:
    summary = report.summary
    seen = f"{summary.accesses} accesses to {summary.resources} resources by {summary.strands} strands"
    if report.findings:
        kinds = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in summary.findings.items())
        yield f"{seen}: {kinds}"
    else:
        yield f"{seen}: no anomaly was found"
    if summary.defended:
        yield "defended: " + ", ".join(f"{count} {reason}" for reason, count in summary.defended.items())
    if summary.lost_spans or summary.partial:
        yield f"coverage: {summary.lost_spans} lost spans, {summary.partial} recorded in part only"
    for sentence in summary.unknown:
        yield _folded(f"unknown: {sentence}").strip()
