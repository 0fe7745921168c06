"""What one interleaving came to: its accesses in order, the races in it, and how both are told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from noclobber.contract import Attr, Op
from noclobber.otlp import Span
from noclobber_analyzer import phrases
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.spacetime import Event, spacetime
from noclobber_analyzer.report.summary import Thresholds
from noclobber_analyzer.report.text import finding_lines

__all__ = ["Outcome", "RaceFound"]

PASSED_OVER: Final = frozenset({Op.JOIN, Op.SPAWN, Op.MARK})

TOLD_MAX: Final = 3
"""Races that are told in full; the diagram marks all of them."""


class RaceFound(AssertionError):  # noqa: N818  what was found, as pytest names it
    """An interleaving in which agents race.

    Attributes:
        outcome: all of it.
    """

    def __init__(self, outcome: "Outcome") -> None:
        super().__init__(outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return self.outcome.told()  # only when somebody reads it: hypothesis raises hundreds on its way to the smallest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one interleaving.

    Attributes:
        order: agent, operation and resource of each access, in the order in which they happened.
        findings: what counts as a failure. defended: how often a guard, a lock or the like kept a race away, by reason.
        results: what the agents returned, in their order.
    """

    order: tuple[tuple[str, str, str], ...]
    findings: tuple[Finding, ...]
    defended: dict[str, int] = field(default_factory=dict)
    results: tuple[object, ...] = ()
    _events: tuple[Event, ...] = ()

    @property
    def diagram(self) -> str:
        """The interleaving, drawn."""
        return "\n".join(spacetime(self._events, self.findings))

    def told(self) -> str:
        """The diagram, and of each race its sentence, its witness and the way out."""
        count = len(self.findings)
        said = f"{count} race{'' if count == 1 else 's'} on shared state, in this interleaving:"
        lines = [line for finding in self.findings[:TOLD_MAX] for line in ("", *finding_lines(finding))]
        more = ["", f"and {count - TOLD_MAX} more"] if count > TOLD_MAX else []
        return "\n".join((said, "", self.diagram, *lines, *more))

    def check(self) -> None:
        """Fail if there is a race.

        Raises:
            RaceFound: there is; its message tells all.
        """
        if self.findings:
            raise RaceFound(self)


def outcome_of(
    spans: Sequence[Span],
    found: Sequence[Finding],
    limits: Thresholds,
    defended: dict[str, int] | None = None,
    results: Sequence[object] = (),
) -> Outcome:
    """The outcome, from what was recorded and what the evaluator says of it."""
    shown = sorted((span for span in spans if span.attributes[Attr.OP] not in PASSED_OVER), key=lambda s: s.end_ns)
    return Outcome(
        tuple((_text(span, Attr.AGENT), _text(span, Attr.OP), _text(span, Attr.RESOURCE)) for span in shown),
        tuple(finding for finding in found if limits.fails(finding)),
        defended or {},
        tuple(results),
        tuple(Event(f"{span.span_id:016x}", _text(span, Attr.AGENT), _words(span)) for span in shown),
    )


def _text(span: Span, name: str) -> str:
    return str(span.attributes.get(name, ""))


def _words(span: Span) -> str:
    outcome = _text(span, Attr.OUTCOME)
    said = "" if outcome == "ok" else f" ({outcome.replace('_', ' ')})"
    return f"{_text(span, Attr.OP)} {phrases.key(_text(span, Attr.RESOURCE))}{said}"
