"""What a run of the analyzer amounts to: findings, what was defended, how complete the record was, what it means.

Source: contract 4 (summary line, thresholds).
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.evaluate import Evaluation
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History
from noclobber_analyzer.likeness import likeness
from noclobber_analyzer.unseen import unseen

__all__ = ["NAMED_ONLY", "Report", "Summary", "Thresholds"]

NAMED_ONLY = frozenset({Kind.UNKNOWN_WRITER, Kind.BLIND_OVERWRITE})
"""Kinds that fail a run only where the user names them."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What makes a run fail.

    Attributes:
        severity, certainty: at or above both.
        kinds: only these; empty: all but those that must be named.
        latent: whether conflicts that luck kept apart count, too.
    """

    severity: Severity = Severity.LOW
    certainty: Certainty = Certainty.LIKELY
    kinds: frozenset[Kind] = frozenset()
    latent: bool = False

    def fails(self, finding: Finding) -> bool:
        """Whether this finding makes the run fail."""
        if finding.severity.rank < self.severity.rank or finding.certainty.rank < self.certainty.rank:
            return False
        if not finding.manifest and not self.latent:
            return False
        return finding.kind in self.kinds if self.kinds else finding.kind not in NAMED_ONLY

    def shows(self, finding: Finding) -> bool:
        """Whether it is reported at all: kinds that were not asked for are not."""
        return not self.kinds or finding.kind in self.kinds or bool(self.kinds & set(finding.also))


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of one run; the fields are the contract's. What was not seen (`unseen`) stands in its `unknown`, too."""

    accesses: int = 0
    resources: int = 0
    strands: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    defended: dict[str, int] = field(default_factory=dict)
    lost_spans: int = 0
    partial: int = 0
    mixed_versions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """As the last line of `--format json` has it."""
        return {
            "accesses": self.accesses,
            "resources": self.resources,
            "strands": self.strands,
            "findings": self.findings,
            "defended": self.defended,
            "coverage": {"lost_spans": self.lost_spans, "partial": self.partial},
            "mixed_versions": list(self.mixed_versions),
            "unknown": [*self.unknown, *self.unseen],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """Findings in order, those that fail the run, the summary, and those that a baseline knows."""

    findings: tuple[Finding, ...]
    failing: frozenset[str]
    summary: Summary
    known: frozenset[str] | None = None

    @property
    def exit_code(self) -> int:
        """1 where something is at or above the thresholds, else 0."""
        return 1 if self.failing else 0

    @classmethod
    def of(
        cls, history: History, evaluation: Evaluation, thresholds: Thresholds, baseline: Container[str] | None = None
    ) -> "Report":
        """What an evaluation of a history amounts to; what a `baseline` has the likeness of fails nothing."""
        findings = tuple(finding for finding in evaluation.findings if thresholds.shows(finding))
        coverage = history.coverage
        summary = Summary(
            accesses=len(history.accesses),
            resources=len(history.resources),
            strands=len(history.strands),
            findings=dict(sorted(Counter(str(f.kind) for f in findings).items())),
            defended=dict(sorted(Counter(str(d.reason) for d in evaluation.defended).items())),
            lost_spans=coverage.lost_spans,
            partial=coverage.partial,
            mixed_versions=coverage.mixed_versions,
            unknown=tuple(evaluation.unknown),
            unseen=tuple(unseen(history)),
        )
        known = None if baseline is None else frozenset(f.id for f in findings if likeness(f) in baseline)
        failing = frozenset(f.id for f in findings if thresholds.fails(f) and f.id not in (known or ()))
        return cls(findings, failing, summary, known)
