"""Which state is shared, by whom, how well is it guarded, and what became of it?"""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.pages.tables import ROW_HEIGHT, SEVERITY_COLORS, files_of, told
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.records import DefendedCount, ResourceHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, plural, shorten, window

__all__ = ["render"]

HISTORY_MAX: Final = 300
TABLE_HEIGHT_MAX: Final = 420
HOTTEST_SHOWN: Final = 8
RESOURCE_SHOWN: Final = 40
LABEL_PX: Final = 230
DEFENDED_COLOR: Final = "#12704a"


def render() -> None:
    """Show the resources, and the latest accesses of the one that is chosen."""
    prose([Node("h1", children=("Resources",))], key="resources-title")
    every, lately = served().queries.resources(), window(served().queries.window_min())
    if not every:
        nothing_here(
            f"No resource was touched in the {lately}",
            "Start an agent with its shared state recorded:",
            RUN_SNIPPET,
            until=lambda: bool(served().queries.resources()),
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        text = st.text_input("Search", placeholder="part of a name", key="resource_q", bind="query-params", width=260)
        shared = st.toggle("only shared by several strands", key="shared", bind="query-params")
    shown = [
        head for head in every
        if (not text or text.lower() in head.resource.lower()) and (not shared or head.strands > 1)
    ]  # fmt: skip
    note = f"{plural(len(shown), 'resource')}, counted over the {lately}; tick one for its latest accesses"
    note += f"; only {SNAPSHOT_MAX:,} are shown here" if len(every) >= SNAPSHOT_MAX else ""
    prose([*_warnings(every), Node("p", "quiet small", (note,))], key="resources-note")
    shown, caught, defended = _hottest_first(shown)
    _chart(shown, caught, defended)
    chosen = _table(shown, caught, defended)
    prose([files_of("resources", f"all of the {lately}")], key="resources-files")
    if chosen is not None:
        _history(chosen)


def _warnings(every: Sequence[ResourceHead]) -> list[Node]:
    return [
        Node("p", "warning", ("Written under two fingerprint keys, so its versions do not compare: ",
                              Node("code", children=(head.resource,)), ". Give all its agents one NOCLOBBER_KEY."))
        for head in every
        if len([key for key in head.keys if key]) > 1
    ][:5]  # fmt: skip


def _hottest_first(shown: Sequence[ResourceHead]) -> tuple[list[ResourceHead], Mapping[str, int], dict[str, int]]:
    """Where most was caught or held first, then where several strands write most; both counts by resource."""
    caught = {name: each.count for name, each in served().queries.findings_by_resource().items()}
    held = {resource: sum(row.count for row in rows) for resource, rows in _defended().items()}

    def heat(head: ResourceHead) -> tuple[int, int, str]:
        contended = head.writes if head.strands > 1 else 0
        return (-caught.get(head.resource, 0) - held.get(head.resource, 0), -contended, head.resource)

    return sorted(shown, key=heat), caught, held


def _chart(shown: Sequence[ResourceHead], caught: Mapping[str, int], held: Mapping[str, int]) -> None:
    """The hottest: how many contended accesses guards held, and how many ended as findings."""
    hottest = [head.resource for head in shown if caught.get(head.resource) or held.get(head.resource)][:HOTTEST_SHOWN]
    if not hottest:
        return
    import altair as alt
    import pandas as pd

    rows = pd.DataFrame(
        [
            (name, what, counts.get(name, 0), rank)
            for name in hottest
            for rank, (what, counts) in enumerate((("findings", caught), ("defended", held)))
        ],
        columns=["resource", "what", "count", "rank"],
    )
    kinds = alt.Scale(domain=["findings", "defended"], range=[SEVERITY_COLORS["critical"], DEFENDED_COLOR])
    label = alt.Axis(
        labelLimit=LABEL_PX,
        labelOverlap=False,
        labelFlush=False,
        title=None,
        labelExpr="length(datum.label) > 36 ? '…' + slice(datum.label, -35) : datum.label",
    )
    chart = (
        alt.Chart(rows)
        .mark_bar(cornerRadius=1.5, height=13)
        .encode(
            x=alt.X("count:Q", title=None, axis=alt.Axis(tickMinStep=1, format="d", tickCount=4)),
            y=alt.Y("resource:N", sort=hottest, axis=label),
            color=alt.Color("what:N", scale=kinds, legend=None),
            order=alt.Order("rank:Q"),
            tooltip=["resource", "what", "count"],
        )
        .properties(height=22 * len(hottest) + 24)
    )
    with st.container(border=True):
        marks = [Node("span", "pill critical", ("findings",)), Node("span", "pill sure", ("defended",))]
        title = Node("h2", children=("Hottest: what was caught, and what guards held",))
        prose([Node("div", "head", (title, *marks))], key="resources-hottest")
        st.altair_chart(chart, width="stretch")


def _table(shown: Sequence[ResourceHead], caught: Mapping[str, int], held: Mapping[str, int]) -> ResourceHead | None:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "resource": [shorten(head.resource, RESOURCE_SHOWN) for head in shown],
            "system": [head.system for head in shown],
            "findings": [caught.get(head.resource, 0) for head in shown],
            "accesses": [head.accesses for head in shown],
            "writes": [head.writes for head in shown],
            "agents": [list(head.agents) for head in shown],
            "guards": [", ".join(head.guards) or "none" for head in shown],
            "defended": [held.get(head.resource, 0) for head in shown],
            "last": [age(head.last_ns) for head in shown],
        }
    )
    picked = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="resources-table",
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(shown) + 1) + 3),
        column_config={
            "resource": st.column_config.TextColumn("Resource", width=235),
            "system": st.column_config.TextColumn("System", width=75),
            "findings": st.column_config.NumberColumn("Findings", width=65),
            "accesses": st.column_config.NumberColumn("Accesses", width=70),
            "writes": st.column_config.NumberColumn("Writes", width=60),
            "agents": st.column_config.ListColumn("Agents", width=215),
            "guards": st.column_config.TextColumn("Guards", width=75),
            "defended": st.column_config.NumberColumn(
                "Defended", width=70, help="accesses that a guard, lock or the store held"
            ),
            "last": st.column_config.TextColumn("Last used", width=80),
        },
        alt="resources",
    )["selection"]["rows"]
    return shown[picked[0]] if picked and picked[0] < len(shown) else None


def _defended() -> dict[str, list[DefendedCount]]:
    """What was defended, by resource."""
    found: dict[str, list[DefendedCount]] = {}
    for row in served().queries.defended_by_resource() or ():
        found.setdefault(row.resource, []).append(row)
    return found


def _history(head: ResourceHead) -> None:
    accesses = served().queries.accesses(HISTORY_MAX, resource=head.resource)
    title = Node("h2", children=("Latest accesses of ", Node("code", children=(head.resource,))))
    held = _defended().get(head.resource, [])
    prose([title, *([Node("p", "quiet", (f"Defended: {told(held)}.",))] if held else [])], key="resources-history")
    import pandas as pd

    st.dataframe(
        pd.DataFrame(
            {
                "time": pd.to_datetime([access.start_ns // 1_000 for access in accesses], unit="us", utc=True),
                "agent": [access.agent for access in accesses],
                "op": [access.op for access in accesses],
                "outcome": [access.outcome for access in accesses],
                "read": [access.version_read for access in accesses],
                "base": [access.version_base for access in accesses],
                "overwritten": [access.version_overwritten for access in accesses],
                "written": [access.version_written for access in accesses],
                "guard": [access.guard for access in accesses],
                "strand": [access.strand for access in accesses],
            }
        ),
        hide_index=True,
        column_config={"time": st.column_config.DatetimeColumn("Time (UTC)", format="HH:mm:ss.SSS")},
        alt="latest accesses",
    )
