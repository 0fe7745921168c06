"""Which agents meet on the same state, and how badly: findings counted by pair of agents.

A finding names every agent of its witness. Two that are named together have met; an agent that is named alone met
itself, as two of its strands. What was retracted counts no more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from noclobber.contract import Severity
from noclobber_dashboard.records import FindingHead

__all__ = ["Encounter", "encounters", "most_involved"]


@dataclass(frozen=True, slots=True)
class Encounter:
    """Two agents and their findings; `one` and `other` are the same where an agent raced with itself.

    Attributes:
        findings: those that name both, newest first.
    """

    one: str
    other: str
    findings: tuple[FindingHead, ...]

    @property
    def worst(self) -> str:
        """The gravest severity among the findings; one of another version's is the least grave."""
        return max((head.severity for head in self.findings), key=_gravity)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What happened between them, the most frequent first."""
        seen = [head.kind for head in self.findings]
        return tuple(sorted(dict.fromkeys(seen), key=lambda kind: (-seen.count(kind), kind)))


def encounters(found: Iterable[FindingHead]) -> list[Encounter]:
    """All pairs that met, those with most findings first."""
    met: dict[tuple[str, str], list[FindingHead]] = {}
    for head in found:
        if head.status == "retracted":
            continue
        agents = sorted({agent for agent in head.agents if agent})
        for pair in combinations(agents, 2) if len(agents) > 1 else [(agent, agent) for agent in agents]:
            met.setdefault(pair, []).append(head)
    made = [
        Encounter(one, other, tuple(sorted(heads, key=lambda head: (-head.last_ns, head.id))))
        for (one, other), heads in met.items()
    ]
    return sorted(made, key=lambda each: (-len(each.findings), each.one, each.other))


def most_involved(every: Sequence[Encounter], limit: int) -> list[str]:
    """The agents with most findings, at most so many."""
    ids: dict[str, set[str]] = {}
    for each in every:
        for agent in (each.one, each.other):
            ids.setdefault(agent, set()).update(head.id for head in each.findings)
    return sorted(ids, key=lambda agent: (-len(ids[agent]), agent))[:limit]


def _gravity(severity: str) -> int:
    return Severity(severity).rank if severity in set(Severity) else -1
