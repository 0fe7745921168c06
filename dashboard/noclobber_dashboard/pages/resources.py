"""Which state is shared, by whom, how well is it guarded, and what became of it?"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import streamlit as st

from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.records import ResourceHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import plural

__all__ = ["render"]

HISTORY_MAX: Final = 300
TABLE_HEIGHT_MAX: Final = 420
ROW_HEIGHT: Final = 35


def render() -> None:
    """Show the resources, and the latest accesses of the one that is chosen."""
    prose([Node("h1", children=("Resources",))], key="resources-title")
    every = served().queries.resources()
    if not every:
        nothing_here("No resource was touched yet", "Start an agent with its shared state recorded:", RUN_SNIPPET)
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        text = st.text_input("Search", placeholder="part of a name", key="resource_q", bind="query-params", width=260)
        shared = st.toggle("only shared by several strands", key="shared", bind="query-params")
    shown = [
        head for head in every
        if (not text or text.lower() in head.resource.lower()) and (not shared or head.strands > 1)
    ]  # fmt: skip
    note = plural(len(shown), "resource")
    note += f"; only {SNAPSHOT_MAX:,} are shown here" if len(every) >= SNAPSHOT_MAX else ""
    prose([*_warnings(every), Node("p", "quiet small", (note,))], key="resources-note")
    chosen = _table(shown)
    if chosen is not None:
        _history(chosen)


def _warnings(every: Sequence[ResourceHead]) -> list[Node]:
    return [
        Node("p", "warning", ("Written under two fingerprint keys, so its versions do not compare: ",
                              Node("code", children=(head.resource,)), ". Give all its agents one NOCLOBBER_KEY."))
        for head in every
        if len([key for key in head.keys if key]) > 1
    ][:5]  # fmt: skip


def _table(shown: Sequence[ResourceHead]) -> ResourceHead | None:
    import pandas as pd

    findings = Counter(head.resource for head in served().queries.recent_findings() if head.status != "retracted")
    rows = pd.DataFrame(
        {
            "resource": [head.resource for head in shown],
            "system": [head.system for head in shown],
            "findings": [findings[head.resource] for head in shown],
            "accesses": [head.accesses for head in shown],
            "writes": [head.writes for head in shown],
            "agents": [list(head.agents) for head in shown],
            "guards": [", ".join(head.guards) or "none" for head in shown],
            "rejected": [head.rejected for head in shown],
            "last": pd.to_datetime([head.last_ns // 1_000_000 for head in shown], unit="ms", utc=True),
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
            "resource": st.column_config.TextColumn("Resource", width="large"),
            "agents": st.column_config.ListColumn("Agents", width="medium"),
            "rejected": st.column_config.NumberColumn("Defended", help="writes that a guard refused"),
            "last": st.column_config.DatetimeColumn("Last used", format="distance"),
        },
        alt="resources",
    )["selection"]["rows"]
    return shown[picked[0]] if picked and picked[0] < len(shown) else None


def _history(head: ResourceHead) -> None:
    accesses = served().queries.accesses(HISTORY_MAX, resource=head.resource)
    title = Node("h2", children=("Latest accesses of ", Node("code", children=(head.resource,))))
    prose([title], key="resources-history")
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
