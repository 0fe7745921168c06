"""Which bugs are there? Findings of one kind, resource pattern, roles and code sites are one issue."""

from typing import Final

import streamlit as st

from noclobber.contract import IssueState, Severity
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.records import IssueHead
from noclobber_dashboard.retelling import certainty_look, severity_look
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, kind_title, plural, short_name, shorten

__all__ = ["render"]

SHOWN_MAX: Final = 100
_QUIET: Final = frozenset({IssueState.ACCEPTED, IssueState.SILENCED, IssueState.RESOLVED, IssueState.RETRACTED})


def render() -> None:
    """Show the issues, those that ask for attention first."""
    prose([Node("h1", children=("Issues",))], key="issues-title")
    every = served().queries.issues()
    if not every:
        nothing_here("No issues", "An issue opens with its first finding. Agents are recorded when started like this:",
                     RUN_SNIPPET)  # fmt: skip
        return
    states = [str(item) for item in IssueState if any(head.state == item for head in every)]
    chosen = st.pills("State", states, selection_mode="multi", key="state", bind="query-params")
    shown = [head for head in every if (head.state in chosen if chosen else head.state not in _QUIET)]
    shown.sort(key=lambda head: (-_rank(head), -head.last_ns))
    quiet = len(every) - len(shown)
    note = plural(len(shown), "issue") + (f"; {quiet} more in other states" if quiet else "")
    with st.container(border=True):
        prose([Node("p", "quiet small", (note,)), *map(_row, shown[:SHOWN_MAX])], key="issues-list")


def _row(head: IssueHead) -> Node:
    resource = head.resources[0] if head.resources else ""
    more = f" and {len(head.resources) - 1} more" if len(head.resources) > 1 else ""
    newest = head.newest if head.newest.isalnum() else ""
    said = f"{head.actor}: {head.reason}" if head.reason and head.actor else head.reason
    return Node(
        "div",
        "row",
        (
            Node("span", f"pill {severity_look(head.severity)}", (head.severity,)),
            Node("span", "what", (
                Node("a", href=f"/finding?id={newest}",
                     children=(f"{kind_title(head.kind)} on {shorten(short_name(resource), 60)}{more}",)),
                Node("p", children=(shorten(", ".join(head.agents), 120),)),
                *([Node("p", children=(said,))] if said else []),
            )),
            Node("span", f"pill {certainty_look(head.certainty)}", (head.certainty,)),
            Node("span", "pill plain", (head.state,)),
            Node("span", "when", (f"{plural(head.count, 'finding')}, {age(head.last_ns)}",)),
        ),
    )  # fmt: skip


def _rank(head: IssueHead) -> int:
    return Severity(head.severity).rank if head.severity in set(Severity) else -1
