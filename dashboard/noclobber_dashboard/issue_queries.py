"""What pages and API ask of issues: lists of any length, one of them, their states, their logs.

Lists are filtered, ordered and paged by the store, so that an old issue is found as a new one is. The state that is
shown is the log replayed (`noclobber_analyzer.issues`); the one that is filtered by is the same in SQL
(`issue_states`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from noclobber.contract import IssueState
from noclobber_analyzer.issues import Standing, Transition, replay
from noclobber_dashboard.cached import Cached
from noclobber_dashboard.reading import SNAPSHOT_MAX, Reader
from noclobber_dashboard.records import IssueHead, Occurrences
from noclobber_dashboard.statements import ISSUE_LOGS, ISSUE_STATES, ISSUES, ISSUES_BY_STATE, OCCURRENCES, TRANSITIONS

__all__ = ["LOG_MAX", "IssueFilter", "IssueQueries", "transition_of"]

LOG_MAX: Final = 200
"""Most transitions of one kind read of one issue, the newest ones: its state does not depend on older ones."""
SLOTS: Final = 24
"""Bars in which an issue's findings are counted."""


@dataclass(frozen=True, slots=True)
class IssueFilter:
    """Which issues to list; an empty field asks for all.

    Attributes:
        resource, agent: one that any of its findings names, whole.
        issues: fingerprints.
        after: `(last_ns, issue)` of the last row of the page before; None: the first page.
    """

    kinds: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    certainties: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    resource: str = ""
    agent: str = ""
    issues: tuple[str, ...] = ()
    after: tuple[int, str] | None = None


class IssueQueries:
    """The questions about issues; those of pages are shared between visitors.

    Args:
        store: where to ask.
        now_ns: wall time; silences end by it.
        cached: holds what pages show.
    """

    def __init__(self, store: Reader, now_ns: Callable[[], int], cached: Cached) -> None:
        self._store = store
        self._now_ns = now_ns
        self._cached = cached

    def issues(self, wanted: IssueFilter | None = None) -> Sequence[IssueHead]:
        """The newest issues that fit, with their states, newest first; `SNAPSHOT_MAX` at most."""
        asked = wanted or IssueFilter()
        return self._cached.get(("issues", asked), lambda: self.found_issues(asked, SNAPSHOT_MAX))

    def issues_by_state(self) -> Mapping[str, int]:
        """How many issues are in each state, of all that are stored; states that none is in are left out."""
        return self._cached.get(
            ("issues", "by state"),
            lambda: {str(row["standing"]): int(row["count"]) for row in self._ask(ISSUES_BY_STATE, now=self._now_ns())},
        )

    def states_of(self, issues: Iterable[str]) -> Mapping[str, str]:
        """The states of some issues by fingerprint, however old they are; `SNAPSHOT_MAX` issues at most."""
        asked = tuple(sorted(set(issues)))[:SNAPSHOT_MAX]

        def compute() -> dict[str, str]:
            now_ns = self._now_ns()
            rows = self._ask(ISSUE_STATES, issues=list(asked), now=now_ns, limit=SNAPSHOT_MAX) if asked else []
            return dict.fromkeys(asked, str(IssueState.NEW)) | {str(row["issue"]): str(row["state"]) for row in rows}

        return self._cached.get(("issues", "states", asked), compute)

    def forget_issues(self) -> None:
        """Read the issues anew, and what was chosen by their states: somebody changed one."""
        self._cached.forget(("issues",))
        self._cached.forget(("searched",))

    def issue(self, fingerprint: str) -> IssueHead | None:
        """One issue as it is now, None where there is none."""
        return next(iter(self.found_issues(IssueFilter(issues=(fingerprint,)), 1)), None)

    def found_issues(self, wanted: IssueFilter, limit: int) -> list[IssueHead]:
        """Issues that fit, by `last_ns` descending, then fingerprint."""
        after_ns, after_id = wanted.after or (0, "")
        now_ns, heads = self._now_ns(), []
        rows = self._ask(
            ISSUES,
            kinds=list(wanted.kinds), severities=list(wanted.severities), certainties=list(wanted.certainties),
            states=list(wanted.states), resource=wanted.resource, agent=wanted.agent, issues=list(wanted.issues),
            after_ns=after_ns, after_id=after_id, limit=limit, now=now_ns,
        )  # fmt: skip
        standings = self.standings([str(row["issue"]) for row in rows])
        for row in rows:
            standing = standings.get(str(row["issue"]), Standing())
            state = standing.state_at(now_ns) or IssueState.NEW
            until_ns = standing.until_ns if state is IssueState.SILENCED else 0
            heads.append(IssueHead.from_row(row, str(state), standing.actor, standing.reason, until_ns))
        return heads

    def standings(self, issues: Sequence[str]) -> dict[str, Standing]:
        """What the log says of some issues: their state, and who gave it."""
        logs: dict[str, list[Transition]] = {}
        for row in self._ask(ISSUE_LOGS, issues=list(issues), each=LOG_MAX) if issues else ():
            logs.setdefault(str(row["issue"]), []).append(transition_of(row))
        return {issue: replay(log) for issue, log in logs.items()}

    def transitions(self, limit: int, issue: str = "", after: tuple[int, str] | None = None) -> list[Transition]:
        """What happened to issues, newest first; of one issue where it is named."""
        after_ns, after_id = after or (0, "")
        rows = self._ask(TRANSITIONS, limit=limit, issue=issue, after_ns=after_ns, after_id=after_id)
        return [transition_of(row) for row in rows]

    def occurrences(self, issue: str, slots: int = SLOTS) -> Occurrences:
        """How often an issue came, in even spans of time from its first finding that holds to its last."""
        rows = self._ask(OCCURRENCES, issue=issue, slots=slots)
        counts = {int(row["slot"]): int(row["count"]) for row in rows}
        return Occurrences(
            count=sum(counts.values()),
            first_ns=min((int(row["begun_ns"]) for row in rows), default=0),
            last_ns=max((int(row["ended_ns"]) for row in rows), default=0),
            slots=tuple(counts.get(slot, 0) for slot in range(slots)),
        )

    def _ask(self, sql: str, **parameters: object) -> list[dict[str, Any]]:
        return self._store.dicts(sql, parameters)


def transition_of(row: Mapping[str, Any]) -> Transition:
    """Decode a row of the log."""
    return Transition(**{item.name: row[item.name] for item in fields(Transition)})
