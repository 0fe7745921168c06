"""Where alerts go: routes as the log of transitions tells them, with what became of their messages.

The sender writes its routes to the log (`noclobber_analyzer.alerts.route_log`), so that every dashboard over the store
knows them, in whatever process the sender runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from noclobber_analyzer.alerts.route_log import ADDED, CHANGED, ENABLED, REMOVED
from noclobber_analyzer.issues import Transition

__all__ = ["DeadLetter", "Endpoint", "endpoints"]

GONE = 410


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route in use.

    Attributes:
        facts: format, where, matchers; nothing secret.
        delivered, dead: messages that arrived, and that were given up.
        status, answer, last_ns: of the last attempt; 0 and empty where there was none.
        is_off: it answered 410 and nobody enabled it since.
    """

    name: str
    facts: Mapping[str, Any]
    delivered: int = 0
    dead: int = 0
    status: int = 0
    answer: str = ""
    last_ns: int = 0
    is_off: bool = False

    @property
    def format(self) -> str:
        """The shape of its messages."""
        return str(self.facts.get("format") or "")

    @property
    def where(self) -> str:
        """Scheme and host, or to whom."""
        to = self.facts.get("to")
        told = f" to {', '.join(map(str, to))}" if isinstance(to, list) and to else ""
        return f"{self.facts.get('where') or ''}{told}"

    @property
    def wants(self) -> str:
        """What it is told of, in words."""
        words = [
            f"{self.facts.get('min_severity', 'low')} and worse, {self.facts.get('min_certainty', 'likely')} and surer"
        ]
        words += [
            f"{name}: {', '.join(map(str, patterns))}"
            for name in ("kinds", "resources", "agents", "services")
            if isinstance(patterns := self.facts.get(name), list) and patterns
        ]
        return "; ".join([*words, *(["latent, too"] if self.facts.get("latent") is True else [])])


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: the message's. transition: the row that it tells of.
        was_asked: somebody asked to send it again, and that is still to be done.
    """

    id: str
    transition: str
    endpoint: str
    attempts: int
    at_ns: int
    status: int
    answer: str
    was_asked: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, Any], asked_ns: Mapping[str, int]) -> Self:
        """Decode a row; `asked_ns` says by message when somebody last asked for it again."""
        return cls(
            str(row["id"]), str(row["transition"]), str(row["endpoint"]), int(row["attempts"]), int(row["at"]),
            int(row["last_status"]), str(row["last_answer"]), asked_ns.get(str(row["id"]), 0) > int(row["at"]),
        )  # fmt: skip


def endpoints(log: Iterable[Transition], outcomes: Iterable[Mapping[str, Any]]) -> list[Endpoint]:
    """The routes in use, by name.

    Args:
        log: rows about routes, in any order.
        outcomes: by endpoint what became of its messages (`statements.OUTCOMES`).
    """
    facts: dict[str, Mapping[str, Any]] = {}
    enabled_ns: dict[str, int] = {}
    for row in sorted(log, key=lambda row: (row.at_ns, row.id)):
        if row.kind in (ADDED, CHANGED):
            facts[row.issue] = row.content
        elif row.kind == REMOVED:
            facts.pop(row.issue, None)
        if row.kind in (ADDED, ENABLED):
            enabled_ns[row.issue] = row.at_ns
    came = {str(row["endpoint"]): row for row in outcomes}
    return [_endpoint(name, facts[name], came.get(name), enabled_ns.get(name, 0)) for name in sorted(facts)]


def _endpoint(name: str, facts: Mapping[str, Any], came: Mapping[str, Any] | None, enabled_ns: int) -> Endpoint:
    if came is None:
        return Endpoint(name, facts)
    return Endpoint(
        name, facts, int(came["delivered"]), int(came["dead"]), int(came["last_status"]), str(came["last_answer"]),
        int(came["last"]), int(came["gone"]) > enabled_ns,
    )  # fmt: skip
