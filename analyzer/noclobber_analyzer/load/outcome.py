"""What became of a load: how much was done, how fast, and what was found, for people and for machines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.summary import Report

__all__ = ["Kinds", "Outcome", "by_kind"]

SENTENCE_MAX = 200


@dataclass(frozen=True, slots=True)
class Kinds:
    """All findings of one kind and certainty.

    Attributes:
        count: how many. fails: how many of them are at or above the thresholds. first: the gravest, of those the first.
    """

    kind: str
    certainty: str
    count: int
    fails: int
    first: Finding

    def line(self) -> str:
        """Count, kind, certainty, and what the first one is, in its first sentence."""
        mark = "" if self.fails else " (below the thresholds)"
        return f"{self.count} {self.kind}  {self.certainty}, {self.first.severity}{mark}: {_sentence(self.first)}"


def _sentence(finding: Finding) -> str:
    said = finding.explanation.partition(". ")[0].rstrip(".") + "."
    return said if len(said) <= SENTENCE_MAX else f"{said[:SENTENCE_MAX]} ..."


def by_kind(report: Report) -> list[Kinds]:
    """Findings by kind and certainty, those that fail first, then the surest and the most frequent."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in report.findings:
        groups.setdefault((str(each.kind), str(each.certainty)), []).append(each)
    found = []
    for (kind, certainty), members in groups.items():
        fails = sum(each.id in report.failing for each in members)
        grave = [each for each in members if each.id in report.failing] or members
        first = min(grave, key=lambda each: (-each.severity.rank, each.first_ns, each.id))
        found.append(Kinds(kind, certainty, len(members), fails, first))
    return sorted(found, key=lambda each: (-each.fails, -each.first.certainty.rank, -each.count, each.kind))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A load and its verdict.

    Attributes:
        work: what the process told last (`noclobber_analyzer.load.program`). report: as `noclobber check` has it.
    """

    scenario: str
    agents: int
    work: dict[str, Any]
    report: Report
    kinds: list[Kinds]

    @property
    def failing(self) -> int:
        """Findings at or above the thresholds."""
        return sum(each.fails for each in self.kinds)

    @property
    def accesses_per_s(self) -> float:
        """Accesses captured in a second."""
        return self.report.summary.accesses / max(float(self.work["seconds"]), 1e-9)

    def lines(self) -> Iterator[str]:
        """For people."""
        summary, work = self.report.summary, self.work
        said = f"{self.agents} agents ({work['driver']}), {work['seconds']:.1f} s: {work['done']:,} tasks"
        if work["failed"]:
            said += f", {work['failed']:,} failed ({_counted(work['errors'])})"
        yield f"{said}, {summary.accesses:,} accesses ({self.accesses_per_s:,.0f}/s) on {summary.resources:,} resources"
        if work["unfinished"]:
            yield f"{work['unfinished']} agents did not end their last task in time"
        if work["first_error"]:
            yield f"the first task that failed: {work['first_error'].splitlines()[-1]}"
        yield from (each.line() for each in self.kinds)
        if not self.kinds:
            yield "nothing found"
        if summary.defended:
            yield f"defended: {_counted(summary.defended)}"
        yield from (f"unknown: {each}" for each in (*summary.unknown, *summary.unseen))

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "scenario": self.scenario, "agents": self.agents, "driver": self.work["driver"],
            "seconds": self.work["seconds"], "tasks": self.work["done"], "failed": self.work["failed"],
            "unfinished": self.work["unfinished"], "errors": self.work["errors"],
            "first_error": self.work["first_error"], "accesses_per_s": round(self.accesses_per_s, 1),
            "failing": self.failing,
            "kinds": [
                {"kind": each.kind, "certainty": each.certainty, "count": each.count, "failing": each.fails,
                 "first": {"id": each.first.id, "resource": each.first.resource, "severity": str(each.first.severity),
                           "explanation": each.first.explanation}}
                for each in self.kinds
            ],
            "summary": self.report.summary.to_json(),
        }  # fmt: skip


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
