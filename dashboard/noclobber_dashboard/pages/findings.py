"""Which findings are there, and which one do I open?"""

import csv
import io
from collections.abc import Sequence
from typing import Final

import streamlit as st

from noclobber.contract import Certainty, Kind, Severity
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.pages.boundary import guarded
from noclobber_dashboard.pages.tables import PILL_COLORS, ROW_HEIGHT, finding_link
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.records import FindingHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, csv_cell, kind_title, plural

__all__ = ["as_csv", "matching", "render"]

TABLE_HEIGHT_MAX: Final = 640


def render() -> None:
    """Show the table of findings with its filters; their state stands in the address."""
    prose([Node("h1", children=("Findings",))], key="findings-title")
    every = served().queries.recent_findings()
    if not every:
        nothing_here(
            "No findings",
            "Nothing recorded so far was lost or raced. Agents are recorded when they are started like this:",
            RUN_SNIPPET,
        )
        return
    found = _filtered(every)
    note = f"{plural(len(found), 'finding')}" + (f" of {len(every):,}" if len(found) != len(every) else "")
    if len(every) >= SNAPSHOT_MAX:
        note += f"; only the newest {SNAPSHOT_MAX:,} are shown here, the API pages through all"
    prose([Node("p", "quiet small", (note,))], key="findings-count")
    _table(found)
    if found:
        st.download_button("Download as CSV", as_csv(found), "findings.csv", "text/csv", on_click="ignore")


def _filtered(every: Sequence[FindingHead]) -> list[FindingHead]:
    kinds = sorted({head.kind for head in every} & set(Kind))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        text = st.text_input("Search", placeholder="resource, agent or id", key="q", bind="query-params", width=200)
        severities = st.pills("Severity", [str(item) for item in Severity], selection_mode="multi", key="severity",
                              bind="query-params")  # fmt: skip
        certainties = st.pills("Certainty", [str(item) for item in Certainty], selection_mode="multi",
                               key="certainty", bind="query-params")  # fmt: skip
        kind = st.selectbox("Kind", [str(item) for item in kinds], index=None, placeholder="all kinds",
                            format_func=kind_title, key="kind", bind="query-params", width=150)  # fmt: skip
        retracted = st.toggle("retracted", key="retracted", bind="query-params")
    return matching(every, text or "", severities or (), certainties or (), kind, retracted=bool(retracted))


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


def _table(found: Sequence[FindingHead]) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "open": [finding_link(head.id) for head in found],
            "severity": [[head.severity] for head in found],
            "kind": [kind_title(head.kind) for head in found],
            "resource": [head.resource for head in found],
            "agents": [list(head.agents) for head in found],
            "certainty": [head.certainty for head in found],
            "state": [head.status for head in found],
            "last": [age(head.last_ns) for head in found],
        }
    )
    chosen = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="findings-table",
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(found) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="open", width=55),
            "severity": st.column_config.MultiselectColumn(
                "Severity", options=list(PILL_COLORS), color=list(PILL_COLORS.values()), width=90
            ),
            "kind": st.column_config.TextColumn("Kind", width=120),
            "resource": st.column_config.TextColumn("Resource", width=250),
            "agents": st.column_config.ListColumn("Agents", width=200),
            "certainty": st.column_config.TextColumn("Certainty", width=75),
            "state": st.column_config.TextColumn("State", width=70),
            "last": st.column_config.TextColumn("Last seen", width=90),
        },
        alt="findings",
    )
    picked = chosen["selection"]["rows"]
    if picked and picked[0] < len(found):
        _open(found[picked[0]].id)


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
