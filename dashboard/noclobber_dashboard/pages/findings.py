"""Which findings are there, which one do I open, and which are dealt with together?

Search and filters stand in the address. Up to `SNAPSHOT_MAX` findings are filtered as they are held for all visitors;
where there are more, the store is asked, so that an old one is found too, by its issue's state as well. A click on a
row opens its finding; ticked rows are acknowledged, accepted, silenced or resolved by their issues.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from noclobber.contract import Certainty, IssueState, Kind, Severity
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.pages.boundary import guarded
from noclobber_dashboard.pages.handling import change_buttons
from noclobber_dashboard.pages.tables import PILL_COLORS, ROW_HEIGHT, files_of, finding_link
from noclobber_dashboard.queries import SNAPSHOT_MAX, FindingFilter, Queries
from noclobber_dashboard.records import FindingHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, csv_cell, kind_title, plural, shorten, window

__all__ = ["Asked", "as_csv", "chosen", "matching", "render"]

TABLE_HEIGHT_MAX: Final = 640
RESOURCE_SHOWN: Final = 36
"""Characters of a resource: the end tells most, and a column would cut it off."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the filters say; an empty one asks for all. `state` is an issue's."""

    text: str = ""
    severities: tuple[str, ...] = ()
    certainties: tuple[str, ...] = ()
    kind: str | None = None
    state: str | None = None
    retracted: bool = False


def render() -> None:
    """Show the table of findings with its filters; their state stands in the address."""
    prose([Node("h1", children=("Findings",))], key="findings-title")
    every = served().queries.recent_findings()
    if not every:
        nothing_here("No findings", _so_far(), RUN_SNIPPET, until=lambda: bool(served().queries.recent_findings()))
        return
    asked, line = _filters(every)
    found, states, note = chosen(served().queries, every, asked)
    with line:
        prose([Node("p", "quiet small", (note,))], key="findings-count")
    ticked = _table(found, states)
    if found:
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            _together(ticked, states)
            st.download_button("Download as CSV", as_csv(found), "findings.csv", "text/csv", on_click="ignore")
        prose([files_of("findings")], key="findings-files")


def _so_far() -> str:
    count = served().queries.totals().get("accesses", 0)
    if not count:
        return "No access has arrived yet. Agents are recorded when they are started like this:"
    lately = window(served().queries.window_min())
    return f"{plural(count, 'access')} in the {lately}, and none of them raced. More agents are recorded like this:"


def _filters(every: Sequence[FindingHead]) -> tuple[Asked, Any]:
    """What is asked for, and the line in which the page says how many fit."""
    kinds = sorted({head.kind for head in every} & set(Kind))
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        text = st.text_input("Search", placeholder="resource, agent, id", key="q", bind="query-params", width=165)
        severities = st.pills("Severity", [str(item) for item in Severity], selection_mode="multi", key="severity",
                              bind="query-params")  # fmt: skip
        certainties = st.pills("Certainty", [str(item) for item in Certainty], selection_mode="multi",
                               key="certainty", bind="query-params")  # fmt: skip
        kind = st.selectbox("Kind", [str(item) for item in kinds], index=None, placeholder="all kinds",
                            format_func=kind_title, key="kind", bind="query-params", width=140)  # fmt: skip
        state = st.selectbox("State", [str(item) for item in IssueState], index=None, placeholder="any state",
                             key="state", bind="query-params", width=140)  # fmt: skip
    line = st.container(horizontal=True, vertical_alignment="center")
    retracted = line.toggle("show retracted", key="retracted", bind="query-params")
    return Asked(text or "", tuple(severities or ()), tuple(certainties or ()), kind, state, bool(retracted)), line


def chosen(
    queries: Queries, every: Sequence[FindingHead], asked: Asked
) -> tuple[list[FindingHead], Mapping[str, str], str]:
    """What fits, the states of its issues, and the line that says how many of how many.

    Args:
        queries: where the store is asked, if `every` does not hold all of it.
        every: the newest findings.
        asked: the filters.
    """
    full = len(every) >= SNAPSHOT_MAX
    retracted = asked.retracted or asked.state == IssueState.RETRACTED
    held = every
    if full:
        held = queries.searched(
            FindingFilter(
                kinds=(asked.kind,) if asked.kind else (), severities=asked.severities, certainties=asked.certainties,
                statuses=() if retracted else ("open",), states=(asked.state,) if asked.state else (),
                text=asked.text.strip(),
            )
        )  # fmt: skip
    states = queries.states_of(head.issue for head in held)
    found = [
        head
        for head in matching(held, asked.text, asked.severities, asked.certainties, asked.kind, retracted=retracted)
        if not asked.state or _state(head, states) == asked.state
    ]
    total = queries.counted()["findings"] if full else len(every)
    note = plural(len(found), "finding") + (f" of {total:,}" if len(found) != total else "")
    note += f"; only the newest {SNAPSHOT_MAX:,} that fit are shown" if len(found) >= SNAPSHOT_MAX else ""
    return found, states, note


def _state(head: FindingHead, states: Mapping[str, str]) -> str:
    """What became of it: taken back, or the state of its issue."""
    if head.status == IssueState.RETRACTED:
        return str(IssueState.RETRACTED)
    return states.get(head.issue, str(IssueState.NEW))


def _together(ticked: Sequence[FindingHead], states: Mapping[str, str]) -> None:
    """What can be done to the issues of the ticked findings."""
    change_buttons({head.issue: _state(head, states) for head in ticked}, key="findings")
    count = len({head.issue for head in ticked})
    words = f"{plural(len(ticked), 'finding')} of {plural(count, 'issue')} ticked"
    hint = words if ticked else "Click a row to open it; tick rows to acknowledge, accept, silence or resolve them."
    prose([Node("p", "quiet small", (hint,))], key="findings-hint")


def matching(
    every: Sequence[FindingHead],
    text: str,
    severities: Sequence[str],
    certainties: Sequence[str],
    kind: str | None,
    *,
    retracted: bool,
) -> list[FindingHead]:
    """The findings that fit all filters; an empty filter asks for all."""
    wanted = text.strip().lower()
    return [
        head
        for head in every
        if (not wanted or wanted in " ".join((head.id, head.kind, head.resource, *head.agents)).lower())
        and (not severities or head.severity in severities)
        and (not certainties or head.certainty in certainties)
        and (not kind or head.kind == kind)
        and (retracted or head.status != "retracted")
    ]


def _table(found: Sequence[FindingHead], states: Mapping[str, str]) -> list[FindingHead]:
    """The table; what is ticked."""
    import pandas as pd

    rows = pd.DataFrame(
        {
            "open": [finding_link(head.id) for head in found],
            "severity": [[head.severity] for head in found],
            "kind": [kind_title(head.kind) for head in found],
            "resource": [shorten(head.resource, RESOURCE_SHOWN) for head in found],
            "agents": [list(head.agents) for head in found],
            "certainty": [head.certainty for head in found],
            "state": [_state(head, states) for head in found],
            "last": [age(head.last_ns) for head in found],
        }
    )
    picked = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode=["multi-row", "single-cell"],
        # another choice of rows is another table: a tick never moves to a different finding
        key=f"findings-table-{hash(tuple(head.id for head in found))}",
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(found) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="open", width=55),
            "severity": st.column_config.MultiselectColumn(
                "Severity", options=list(PILL_COLORS), color=list(PILL_COLORS.values()), width=80
            ),
            "kind": st.column_config.TextColumn("Kind", width=115),
            "resource": st.column_config.TextColumn("Resource", width=240),
            "agents": st.column_config.ListColumn("Agents", width=225),
            "certainty": st.column_config.TextColumn("Certainty", width=75),
            "state": st.column_config.TextColumn("State", width=80),
            "last": st.column_config.TextColumn("Last seen", width=85),
        },
        alt="findings",
    )
    cells = [(row, column) for row, column in picked["selection"]["cells"] if row < len(found)]
    if cells and cells[0][1] != "open":  # that one is a link, which the browser follows by itself
        _open(found[cells[0][0]].id)
    return [found[row] for row in picked["selection"]["rows"] if row < len(found)]


def _open(finding_id: str) -> None:
    from noclobber_dashboard.pages import finding

    page = st.Page(guarded(finding.render), title="Finding", url_path="finding", visibility="hidden")
    st.switch_page(page, query_params={"id": finding_id})


def as_csv(found: Sequence[FindingHead]) -> str:
    """The findings as CSV; no cell is read as a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["id", "kind", "severity", "certainty", "status", "resource", "agents", "first_ns", "last_ns"])
    for head in found:
        cells = (head.id, head.kind, head.severity, head.certainty, head.status, head.resource, "; ".join(head.agents))
        writer.writerow([*map(csv_cell, cells), head.first_ns, head.last_ns])
    return out.getvalue()
