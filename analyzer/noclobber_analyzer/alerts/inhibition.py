"""Inhibition: while one issue is open, others are not told, since they follow from it.

A rule says in matchers which issues hold back (`source`) which others (`target`), and in which fields both have to
share a name (`equal`), such as the same resource. Which issues were open when is read off the log, so for every moment
every reader gets the same answer. A silenced source holds back as well; one that was accepted as intended does not.
What is held back is told once the source has ended, if it is still open then.

Source: Alertmanager's inhibit rules.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noclobber_analyzer.alerts.matchers import FIELDS, Matcher, labels, matchers_from, matches, names_of
from noclobber_analyzer.issues import Event, Transition

__all__ = ["Inhibition", "Sources", "inhibitions_from"]

RULES_MAX = 64
_BEGINS = frozenset({Event.OPENED, Event.UPDATED, Event.REGRESSED, Event.REOPENED})
_ENDS = frozenset({Event.RESOLVED, Event.RETRACTED, Event.ACCEPTED})
_KNOWN = frozenset({"source", "target", "equal"})


@dataclass(frozen=True, slots=True)
class Inhibition:
    """One rule; `equal` holds names of fields."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


def inhibitions_from(tables: Sequence[Mapping[str, object]]) -> tuple[Inhibition, ...]:
    """The rules of a TOML file's `[[inhibit]]` tables.

    Raises:
        ValueError: one of them cannot be used; the message says why.
    """
    if len(tables) > RULES_MAX:
        raise ValueError(f"{len(tables)} [[inhibit]] tables; at most {RULES_MAX} are possible")
    return tuple(map(_rule, tables))


def _rule(table: Mapping[str, object]) -> Inhibition:
    unknown = sorted(set(table) - _KNOWN)
    if unknown:
        raise ValueError(f"[[inhibit]]: unknown setting '{unknown[0]}'. Known: {', '.join(sorted(_KNOWN))}")
    equal = _texts(table.get("equal", []))
    wrong = [name for name in equal if name not in FIELDS]
    if wrong:
        raise ValueError(f"[[inhibit]]: `equal` names fields ({', '.join(FIELDS)}), not '{wrong[0][:40]}'")
    return Inhibition(matchers_from(_texts(table.get("source"))), matchers_from(_texts(table.get("target"))), equal)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


@dataclass(frozen=True, slots=True, order=True)
class _Step:
    at_ns: int
    id: str
    is_open: bool


class Sources:
    """When which issue was open, as far as some rule has it for a source.

    Args:
        rules: those in force.
    """

    def __init__(self, rules: Sequence[Inhibition]) -> None:
        self._rules = rules
        self._steps: dict[str, list[_Step]] = defaultdict(list)
        self._labels: dict[str, dict[str, object]] = {}

    def take(self, row: Transition, data: Mapping[str, object]) -> bool:
        """Account for one row of the log; returns whether it changes what is held back.

        Args:
            row: of an issue.
            data: the issue as the row has it; empty where it has none.
        """
        begins = row.kind in _BEGINS
        if not begins and row.kind not in _ENDS:
            return False
        if data and any(matches(rule.source, data) for rule in self._rules):
            self._labels[row.issue] = labels(data)
        if row.issue not in self._labels:
            return False
        insort(self._steps[row.issue], _Step(row.at_ns, row.id, begins))
        return True

    def inhibiting(self, data: Mapping[str, object], at_ns: int) -> str:
        """The issue that holds another one back at a time; empty: none does."""
        for rule in self._rules:
            if not matches(rule.target, data):
                continue
            for issue, source in self._labels.items():
                if (
                    issue != data.get("issue")
                    and self._is_open(issue, at_ns)
                    and matches(rule.source, source)
                    and all(_share(source, data, name) for name in rule.equal)
                ):
                    return issue
        return ""

    def _is_open(self, issue: str, at_ns: int) -> bool:
        before = [step.is_open for step in self._steps[issue] if step.at_ns <= at_ns]
        return bool(before) and before[-1]


def _share(one: Mapping[str, object], other: Mapping[str, object], field: str) -> bool:
    return not set(names_of(one, field)).isdisjoint(names_of(other, field))
