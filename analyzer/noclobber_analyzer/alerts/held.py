"""What is held back at a time: by a silence, by an issue that inhibits it, or since somebody dealt with the issue.

All of it is read off the log of transitions, so it is the same for every reader and after every restart. What is older
than the sender's horizon counts as well: silences may be long, and an old issue may still be open.
"""

from collections.abc import Mapping, Sequence

from noclobber_analyzer.alerts.grouping import Untold
from noclobber_analyzer.alerts.inhibition import Inhibition, Sources
from noclobber_analyzer.alerts.silences import SILENCE_ADDED, SILENCE_ENDED, Silence, silences_from, silencing
from noclobber_analyzer.issues import NOTIFYING, Event, Transition
from noclobber_analyzer.tables import Store, read_standings_before, read_transitions_of

__all__ = ["HeldBack"]

FOR_EVER_NS = 2**63 - 1
_CLEARS = frozenset({Event.REOPENED, Event.RESOLVED, Event.REGRESSED, Event.RETRACTED, Event.ACKNOWLEDGED})


class HeldBack:
    """Silences, open issues that inhibit, and what people did to issues.

    Args:
        inhibitions: rules in force.
    """

    def __init__(self, inhibitions: Sequence[Inhibition]) -> None:
        self._sources = Sources(inhibitions)
        self._inhibits = bool(inhibitions)
        self._rows: dict[str, Transition] = {}
        self._silences: list[Silence] = []
        self._boundaries_ns: list[int] = []
        self._muted: dict[str, tuple[int, int]] = {}
        self._looked_after: set[str] = set()
        self._changes = 0

    def read(self, store: Store, horizon_ns: int) -> None:
        """Read what lies before the sender's horizon: all silences, and the last word on each issue where it counts."""
        for row in read_transitions_of(store, [SILENCE_ADDED, SILENCE_ENDED]):
            self.take(row, {})
        for row in read_standings_before(store, horizon_ns) if self._inhibits else ():
            data = row.content.get("data")
            self.take(row, data if isinstance(data, dict) else {})

    def take(self, row: Transition, data: Mapping[str, object]) -> None:
        """Account for one row of the log, in any order; rows may come again."""
        if row.kind in (SILENCE_ADDED, SILENCE_ENDED):
            self._rows[row.id] = row
            self._silences = silences_from(self._rows.values())
            self._boundaries_ns = [ns for each in self._silences for ns in (each.start_ns, each.end_ns)]
            self._changes += 1
            return
        if self._inhibits and self._sources.take(row, data):
            self._changes += 1
        if row.kind in NOTIFYING or row.kind.startswith("state."):
            self._note(row)

    def _note(self, row: Transition) -> None:
        """Somebody's deed, or the end of the issue: the latest counts."""
        if row.kind == Event.ACCEPTED:
            self._mute(row, FOR_EVER_NS)
        elif row.kind == Event.SILENCED:
            until = row.content.get("until_ns")
            self._mute(row, until if isinstance(until, int) else 0)
        elif row.kind in _CLEARS:
            self._mute(row, 0)

    def _mute(self, row: Transition, until_ns: int) -> None:
        if self._muted.get(row.issue, (0, 0))[0] <= row.at_ns:
            self._muted[row.issue] = (row.at_ns, until_ns)
            (self._looked_after.add if row.kind == Event.ACKNOWLEDGED else self._looked_after.discard)(row.issue)
            self._changes += 1

    def state_at(self, now_ns: int) -> int:
        """A number that differs whenever something else may be held back."""
        passed = sum(ns <= now_ns for ns in self._boundaries_ns)
        ended = sum(0 < until_ns <= now_ns for _, until_ns in self._muted.values())
        return (self._changes << 32) + (passed << 16) + ended

    def holds(self, untold: Untold, at_ns: int) -> bool:
        """Whether a row is held back at a time."""
        from_ns, until_ns = self._muted.get(untold.row.issue, (0, 0))
        if from_ns <= at_ns < until_ns or silencing(self._silences, untold.data, at_ns) is not None:
            return True
        return self._inhibits and bool(self._sources.inhibiting(untold.data, at_ns))

    def is_reminded(self, issue: str) -> bool:
        """Whether reminders of an issue make sense: nobody looks after it."""
        return issue not in self._looked_after
