"""Text for people at a terminal: the sentence first, then how sure, where, and what to change.

Names come from outside: control characters are shown as escapes, so that no agent can paint on the reader's terminal.
"""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from noclobber_analyzer import phrases
from noclobber_analyzer.cascades import follows
from noclobber_analyzer.explain import title
from noclobber_analyzer.finding import Affected, AffectedAccess, Finding
from noclobber_analyzer.report.summary import Report

__all__ = ["finding_lines", "plain", "text"]

WIDTH: Final = 110
CODE_LINES_MAX: Final = 14
AGENTS_MAX: Final = 8
REACHED_MAX: Final = 5
"""Affected agents, and accesses of each, that are shown."""
ID_LETTERS: Final = 12


def text(report: Report) -> Iterator[str]:
    """The lines of a report."""
    causes = follows(report.findings)
    for finding in report.findings:
        yield from finding_lines(finding, causes.get(finding.id, ()))
        yield ""
    yield from _summary(report)


def plain(words: str) -> str:
    """Text whose control characters can do nothing."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in words
    )


def finding_lines(finding: Finding, causes: Sequence[Finding] = ()) -> Iterator[str]:
    """One finding; `causes` are those that it follows from, the nearest first."""
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
    yield from _affected(finding)
    if causes:
        nearest, more = causes[0], len(causes) - 1
        others = f", and from {more} more" if more else ""
        where = f"`{phrases.key(nearest.resource)}` (id {nearest.id[:ID_LETTERS]})"
        yield _folded(f"follows from: {title(nearest.kind)} on {where}{others}: mend that first")
    yield _folded(f"fix: {finding.advice.text}")
    yield from (plain(f"      | {line}") for line in finding.advice.code.splitlines()[:CODE_LINES_MAX])
    yield f"    id {finding.id}"


def _affected(finding: Finding) -> Iterator[str]:
    """The blast radius, by agent in the order in which it reached them."""
    reached = finding.affected
    if not reached.accesses:
        return
    count = len(reached.accesses)
    came = "access came" if count == 1 else "accesses came"
    yield _folded(f"since then: {count} {came} to know what came of it, by {', '.join(reached.agents)}")
    by_agent: dict[str, list[AffectedAccess]] = {}
    for access in reached.accesses:
        by_agent.setdefault(access.agent, []).append(access)
    for agent, own in list(by_agent.items())[:AGENTS_MAX]:
        told = ", ".join(_reached(access, reached) for access in own[:REACHED_MAX])
        more = f" and {len(own) - REACHED_MAX} more" if len(own) > REACHED_MAX else ""
        yield plain(f"    {agent:<18} {told}{more}")
    if len(by_agent) > AGENTS_MAX:
        yield f"    and {len(by_agent) - AGENTS_MAX} more agents"
    if reached.stopped:
        yield _folded(f"the search stopped: {reached.stopped}")


def _reached(access: AffectedAccess, reached: Affected) -> str:
    first = " (the first that left the system)" if access.span_id == reached.first_effect else ""
    perhaps = "" if access.strength == "strong" else "perhaps "
    return f"{perhaps}{access.op} `{phrases.key(access.resource)}`{first}"


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
    if report.known:
        yield f"known, by the baseline: {len(report.known)}"
    if summary.defended:
        yield "defended: " + ", ".join(f"{count} {reason}" for reason, count in summary.defended.items())
    if summary.lost_spans or summary.partial:
        yield f"coverage: {summary.lost_spans} lost spans, {summary.partial} recorded in part only"
    for sentence in summary.unseen:
        yield _folded(f"not seen: {sentence}").strip()
    for sentence in summary.unknown:
        yield _folded(f"unknown: {sentence}").strip()
