"""Which bugs are there, who looks after them, and what was done? Findings of one bug are one issue.

The table lists issues that ask for attention, worst first; rows that are chosen can be acknowledged, accepted,
silenced, resolved. Below stands the log of all that was done, to issues and to alert routes, which is also the audit
trail.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from noclobber.contract import IssueState, Severity
from noclobber_analyzer.issues import Transition
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.issue_queries import IssueFilter
from noclobber_dashboard.pages.handling import change_buttons
from noclobber_dashboard.pages.tables import PILL_COLORS, ROW_HEIGHT, files_of, finding_link
from noclobber_dashboard.pages.who import may_operate
from noclobber_dashboard.reading import SNAPSHOT_MAX
from noclobber_dashboard.records import IssueHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, clock_time, kind_title, plural, short_name

__all__ = ["render"]

TABLE_HEIGHT_MAX: Final = 460
LOG_SHOWN: Final = 50
_QUIET: Final = frozenset({IssueState.ACCEPTED, IssueState.SILENCED, IssueState.RESOLVED, IssueState.RETRACTED})
_DONE: Final = {
    "issue.opened": "opened",
    "issue.updated": "told again",
    "issue.resolved": "resolved",
    "issue.regressed": "regressed",
    "issue.retracted": "retracted",
    "state.acknowledged": "acknowledged",
    "state.accepted": "accepted as intended",
    "state.silenced": "silenced",
    "state.reopened": "reopened",
    "route.added": "alert route added",
    "route.changed": "alert route changed",
    "route.removed": "alert route removed",
    "route.enabled": "alert route enabled again",
    "route.resend": "message sent again",
    "route.test": "sample sent",
    "silence.added": "silence added",
    "silence.ended": "silence ended",
    "token.made": "API token made",
    "token.revoked": "API token revoked",
    "access.signed_in": "came in",
    "access.refused": "was refused",
}


def render() -> None:
    """Show the issues, those that ask for attention first, and the log."""
    prose([Node("h1", children=("Issues",))], key="issues-title")
    counted = served().queries.issues_by_state()
    if not counted:
        nothing_here("No issues", "An issue opens with its first finding. Agents are recorded when started like this:",
                     RUN_SNIPPET, until=lambda: bool(served().queries.issues_by_state()))  # fmt: skip
        return
    states = [str(item) for item in IssueState if item in counted]
    chosen = st.pills("State", states, selection_mode="multi", key="state", bind="query-params")
    wanted = tuple(chosen or (str(item) for item in IssueState if item not in _QUIET))
    shown = sorted(served().queries.issues(IssueFilter(states=wanted)), key=lambda head: (-_rank(head), -head.last_ns))
    prose([Node("p", "quiet small", (_note(counted, wanted),))], key="issues-count")
    if shown:
        picked = _table(shown)
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            change_buttons({head.issue: head.state for head in picked}, key="issues")
            ticked = f"{plural(len(picked), 'issue')} ticked"
            hint = ticked if picked else "Tick issues to acknowledge, accept, silence or resolve them."
            hint = hint if may_operate() else "You may read; an operator acknowledges, silences and resolves."
            prose([Node("p", "quiet small", (hint,))], key="issues-hint")
    prose([files_of("issues")], key="issues-files")
    _log()


def _note(counted: Mapping[str, int], wanted: Sequence[str]) -> str:
    count = sum(counted.get(state, 0) for state in wanted)
    rest = sum(counted.values()) - count
    note = plural(count, "issue") + (f"; {rest:,} more in other states" if rest else "")
    return note + (f"; only the newest {SNAPSHOT_MAX:,} are shown" if count > SNAPSHOT_MAX else "")


def _table(shown: Sequence[IssueHead]) -> list[IssueHead]:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "open": [finding_link(head.newest) for head in shown],
            "severity": [[head.severity] for head in shown],
            "issue": [_title(head) for head in shown],
            "state": [_state(head) for head in shown],
            "agents": [list(head.agents) for head in shown],
            "certainty": [head.certainty for head in shown],
            "count": [head.count for head in shown],
            "last": [age(head.last_ns) for head in shown],
        }
    )
    picked = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        # another choice of rows is another table: a tick never moves to a different issue
        key=f"issues-table-{hash(tuple(head.issue for head in shown))}",
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(shown) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="open", width=55),
            "severity": st.column_config.MultiselectColumn(
                "Severity", options=list(PILL_COLORS), color=list(PILL_COLORS.values()), width=85
            ),
            "issue": st.column_config.TextColumn("Issue", width=265),
            "state": st.column_config.TextColumn("State", width=90),
            "agents": st.column_config.ListColumn("Agents", width=225),
            "certainty": st.column_config.TextColumn("Certainty", width=75),
            "count": st.column_config.NumberColumn("Findings", width=65),
            "last": st.column_config.TextColumn("Last seen", width=90),
        },
        alt="issues",
    )["selection"]["rows"]
    return [shown[row] for row in picked if row < len(shown)]


def _title(head: IssueHead) -> str:
    more = f" and {len(head.resources) - 1} more" if len(head.resources) > 1 else ""
    return f"{kind_title(head.kind)} on {short_name(head.resources[0]) if head.resources else 'several'}{more}"


def _state(head: IssueHead) -> str:
    """The state, with who gave it, why, and until when."""
    if head.state in (IssueState.NEW, IssueState.ONGOING, IssueState.REGRESSED, IssueState.RETRACTED):
        return head.state
    until = f" until {clock_time(head.until_ns)[:16]}" if head.until_ns else ""
    who = f" by {head.actor}" if head.actor else ""
    return f"{head.state}{until}{who}" + (f": {head.reason}" if head.reason else "")


def _log() -> None:
    rows = served().queries.transitions(LOG_SHOWN)
    if not rows:
        return
    named = IssueFilter(issues=tuple(sorted({row.issue for row in rows})))
    titles = {head.issue: _title(head) for head in served().queries.issues(named)}
    prose([Node("h2", children=("What was done",))], key="issues-log-title")
    st.dataframe(
        [
            {
                "when (UTC)": clock_time(row.at_ns)[:19],
                "who": row.actor,
                "what": _DONE.get(row.kind, row.kind),
                "to what": titles.get(row.issue, row.issue[:24]),
                "from": str(row.content.get("from") or ""),
                "why": _why(row),
            }
            for row in rows
        ],
        hide_index=True,
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(rows) + 1) + 3),
        column_config={"why": st.column_config.TextColumn(width="large")},
        alt="what was done to issues and routes, newest first",
    )


def _why(row: Transition) -> str:
    until = row.content.get("until_ns")
    return f"until {clock_time(until)[:16]} UTC. {row.reason}".strip() if isinstance(until, int) else row.reason


def _rank(head: IssueHead) -> int:
    return Severity(head.severity).rank if head.severity in set(Severity) else -1
