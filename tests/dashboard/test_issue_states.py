"""States of issues in SQL: the same as the log replayed, whatever happened in whatever order."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import IssueState
from noclobber_analyzer.issues import ANALYZER, NOTIFYING, Event, Transition, replay
from noclobber_analyzer.tables import append_transitions
from noclobber_dashboard.issue_queries import LOG_MAX
from noclobber_dashboard.queries import Queries

NOW_NS = 12
_NUMBERS = itertools.count(1)
_EVENTS = st.lists(
    st.tuples(st.sampled_from([*Event, Event.SILENCED, Event.UPDATED]), st.integers(1, 10), st.integers(0, 15)),
    max_size=7,
)


def log(issue: str, events: list[tuple[Event, int, int]]) -> list[Transition]:
    """Rows at small times, so that many fall together; a silence ends before, at or after them."""
    return [
        Transition(
            f"{issue}-{(number * 7) % 10}", issue, at_ns, kind, "", "", ANALYZER if kind in NOTIFYING else "ana", "",
            f'{{"until_ns": {until_ns}}}' if kind is Event.SILENCED else "",
        )
        for number, (kind, at_ns, until_ns) in enumerate(events)
    ]  # fmt: skip


@given(st.lists(_EVENTS, min_size=1, max_size=40))
@settings(deadline=None, max_examples=40)
def test_the_states_are_the_logs_replayed(real_store: Any, logs: list[list[tuple[Event, int, int]]]) -> None:
    """Each issue's state in SQL is what replay says of its rows, at the same time."""
    rows = {issue: log(issue, events) for events in logs for issue in [f"{next(_NUMBERS):032x}"]}
    append_transitions(real_store, [row for each in rows.values() for row in each])
    expected = {issue: str(replay(each).state_at(NOW_NS) or IssueState.NEW) for issue, each in rows.items()}
    assert Queries(real_store, now_ns=lambda: NOW_NS).states_of(rows) == expected


def test_many_updates_hide_nothing_that_a_person_said(real_store: Any) -> None:
    """An acknowledgement holds, and is shown with its author, however often the issue was told again since."""
    issue = f"{next(_NUMBERS):032x}"
    rows = log(issue, [(Event.OPENED, 1, 0), (Event.ACKNOWLEDGED, 2, 0)])
    told = [
        Transition(f"{issue}+{n}", issue, 3 + n, Event.UPDATED, "", "", ANALYZER, "", "") for n in range(LOG_MAX + 1)
    ]
    append_transitions(real_store, [*rows, *told])
    asked = Queries(real_store)
    standing = asked.standings([issue])[issue]
    assert (standing.state, standing.actor) == (IssueState.ACKNOWLEDGED, "ana")
    assert asked.states_of([issue]) == {issue: "acknowledged"}
