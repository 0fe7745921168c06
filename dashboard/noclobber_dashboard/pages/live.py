"""What are the agents doing to shared state right now?

The stream of accesses as a picture (who, when, what) and as a table, refreshed by itself until it is paused. What is
still open, since its process has not ended it, is shown as well: a call that hangs is what somebody looks for here.
"""

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from noclobber.contract import Op
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.pages.boundary import guarded
from noclobber_dashboard.pages.tables import ROW_HEIGHT
from noclobber_dashboard.records import AccessRecord
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import duration, shorten

__all__ = ["OP_COLORS", "dots", "render"]

REFRESH_S: Final = 2
SHOWN: Final = 300
LANES_MAX: Final = 14
LANE_PX: Final = 24
TABLE_HEIGHT: Final = 430
OPS: Final = tuple(str(op) for op in Op if op is not Op.MARK)
OP_COLORS: Final = {
    "reads": "#2563a8",
    "writes": "#c8203c",
    "locks": "#7a52b3",
    "messages": "#0f8a6d",
    "effects": "#dd6b20",
    "other": "#8a94a3",
}
"""Families of operations and how they are drawn."""
_FAMILY: Final = {
    Op.READ: "reads", Op.SCAN: "reads", Op.WRITE: "writes", Op.DELETE: "writes", Op.UPDATE: "writes",
    Op.LOCK: "locks", Op.UNLOCK: "locks", Op.SEND: "messages", Op.RECEIVE: "messages", Op.ACK: "messages",
    Op.NACK: "messages", Op.EFFECT: "effects",
}  # fmt: skip


def render() -> None:
    """Show the latest accesses, again every few seconds."""
    prose([Node("h1", children=("Live",))], key="live-title")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        text = st.text_input("Search", placeholder="resource, agent or strand", key="live_q", bind="query-params",
                             width=260)  # fmt: skip
        ops = st.multiselect("Operations", OPS, placeholder="all", key="op", bind="query-params", width=330)
        paused = st.toggle("pause", key="paused")
    st.fragment(guarded(lambda: _stream(text or "", ops)), run_every=None if paused else REFRESH_S)()


def dots(accesses: Sequence[AccessRecord]) -> tuple[list[dict[str, object]], list[str]]:
    """What is drawn: a dot for each access, with a line as long as it took; and the agents' lanes, the busiest first.

    Agents beyond `LANES_MAX` share the last lane; accesses without an agent are named by their process.
    """
    counted: dict[str, int] = {}
    for access in accesses:
        counted[_actor(access)] = counted.get(_actor(access), 0) + 1
    order = sorted(counted, key=lambda name: (-counted[name], name))
    lanes = order if len(order) <= LANES_MAX else [*order[: LANES_MAX - 1], f"{len(order) - LANES_MAX + 1} others"]
    rows: list[dict[str, object]] = [
        {
            "lane": _actor(access) if _actor(access) in lanes else lanes[-1],
            "us": access.start_ns // 1_000,
            "until_us": max(access.start_ns, access.end_ns) // 1_000,
            "what": _FAMILY.get(Op(access.op), "other") if access.op in OPS else "other",
            "op": access.op,
            "resource": shorten(access.resource, 80),
            "took": _took(access),
        }
        for access in accesses
    ]
    return rows, lanes


def _stream(text: str, ops: Sequence[str]) -> None:
    seconds, accesses = served().queries.stream(SHOWN, text, ops)
    if not accesses:
        if text or ops:
            nothing_here("Nothing fits", f"No access of the last {seconds // 60} min has these words and operations.")
        else:
            nothing_here(
                f"No access in the last {seconds // 60} min",
                "This page shows the first as soon as it arrives. Start an agent:",
                RUN_SNIPPET,
            )
        return
    most = "the latest " if len(accesses) >= SHOWN else ""
    back = f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
    prose([Node("p", "quiet small", (f"{most}{len(accesses):,} accesses of the last {back}",))], key="live-note")
    _picture(accesses)
    _table(accesses)


def _picture(accesses: Sequence[AccessRecord]) -> None:
    import altair as alt
    import pandas as pd

    rows, lanes = dots(accesses)
    frame = pd.DataFrame(rows)
    frame["time"] = pd.to_datetime(frame.pop("us"), unit="us")
    frame["until"] = pd.to_datetime(frame.pop("until_us"), unit="us")
    scale = alt.Scale(domain=list(OP_COLORS), range=list(OP_COLORS.values()))
    base: Any = alt.Chart(frame).encode(
        x=alt.X("time:T", title=None, scale=alt.Scale(type="utc"), axis=alt.Axis(format="%H:%M:%S")),
        y=alt.Y("lane:N", sort=lanes, title=None, axis=alt.Axis(labelLimit=190, grid=True)),
        color=alt.Color("what:N", legend=None, scale=scale),
        tooltip=["lane", "op", "resource", "took"],
    )
    lines = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x2="until:T")
    chart = alt.layer(lines, base.mark_circle(size=55, opacity=0.75)).properties(height=LANE_PX * len(lanes) + 40)
    with st.container(border=True):
        legend = [Node("span", f"op {name}", (Node("b", children=("● ",)), name)) for name in OP_COLORS]
        prose([Node("div", "head", (Node("h2", children=("Who, when, what (UTC)",)), *legend))], key="live-picture")
        st.altair_chart(chart, width="stretch")


def _table(accesses: Sequence[AccessRecord]) -> None:
    import pandas as pd

    st.dataframe(
        pd.DataFrame(
            {
                "time": pd.to_datetime([access.start_ns // 1_000 for access in accesses], unit="us", utc=True),
                "agent": [_actor(access) for access in accesses],
                "op": [access.op for access in accesses],
                "resource": [access.resource for access in accesses],
                "outcome": [access.outcome for access in accesses],
                "took": [_took(access) for access in accesses],
                "read": [access.version_read for access in accesses],
                "written": [access.version_written for access in accesses],
                "guard": [access.guard for access in accesses],
                "strand": [access.strand for access in accesses],
                "trace": [access.trace_id for access in accesses],
            }
        ),
        hide_index=True,
        height=min(TABLE_HEIGHT, ROW_HEIGHT * (len(accesses) + 1) + 3),
        column_config={
            "time": st.column_config.DatetimeColumn("Time (UTC)", format="HH:mm:ss.SSS", width=100),
            "agent": st.column_config.TextColumn("Agent", width=140),
            "op": st.column_config.TextColumn("Op", width=70),
            "resource": st.column_config.TextColumn("Resource", width=260),
            "outcome": st.column_config.TextColumn("Outcome", width=75),
            "took": st.column_config.TextColumn("Took", width=75),
        },
        alt="the latest accesses, newest first",
    )


def _actor(access: AccessRecord) -> str:
    return access.agent or access.process


def _took(access: AccessRecord) -> str:
    return "still open" if access.open else duration(max(0, access.end_ns - access.start_ns))
