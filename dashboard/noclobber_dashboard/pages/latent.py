"""What nearly happened: which races did luck alone keep apart, and by how little?

Nothing was lost yet, so none of it is an issue or an alert. The narrowest escape comes first: the margin held against
the window that it would have had to fall into.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import streamlit as st

from noclobber_analyzer.finding import resource_pattern
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.escapes import EscapeRecord
from noclobber_dashboard.pages.tables import PILL_COLORS, ROW_HEIGHT, finding_link
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, duration, kind_title, plural, short_name, shorten

__all__ = ["points", "render"]

TABLE_HEIGHT_MAX: Final = 460
PLOTTED_MAX: Final = 20
"""Issues in the plot, the narrowest ones."""
POINTS_MAX: Final = 500
_LEAST_S: Final = 1e-6
_COLOR: Final = "#dd6b20"
_WINDOW_COLOR: Final = "#8a94a3"
_TIME_LABEL: Final = (
    "datum.value >= 1 ? format(datum.value, ',') + ' s'"
    " : datum.value >= 0.001 ? format(1000 * datum.value, ',') + ' ms'"
    " : format(1000000 * datum.value, ',') + ' µs'"
)


def render() -> None:
    """Show the plot and the table, the narrowest escape first."""
    prose([Node("h1", children=("Latent races",))], key="latent-title")
    every = served().queries.latent()
    if not every:
        nothing_here(
            "No latent races",
            "So far no two agents were seen to come close to a race that nothing ordered. They are looked for while "
            "the analyzer has nothing else to do; noclobber analyze --latent looks at once. Agents are recorded so:",
            RUN_SNIPPET,
            until=lambda: bool(served().queries.latent()),
        )
        return
    words = (
        "Nothing was lost here: luck alone kept these accesses apart. The margin is how much earlier the second would "
        "have had to come; against the window, how likely that was."
    )
    more = f"; only the newest {SNAPSHOT_MAX:,} are looked at" if len(every) >= SNAPSHOT_MAX else ""
    note = f"{plural(len(every), 'latent race')}, one for each issue and day{more}"
    prose([Node("p", "lead", (words,)), Node("p", "quiet small", (note,))], key="latent-lead")
    _plot(every)
    _table(every)


def points(every: Sequence[EscapeRecord]) -> list[dict[str, object]]:
    """What is plotted: of each of the narrowest issues every margin, and the window, in seconds."""
    issues: dict[str, str] = {}
    rows: list[dict[str, object]] = []
    for escape in every[:POINTS_MAX]:
        if escape.head.issue not in issues and len(issues) >= PLOTTED_MAX:
            continue
        name = issues.setdefault(escape.head.issue, f"{len(issues) + 1}. {_title(escape)}")
        for what, length_ns in (("margin", escape.margin_ns), ("window", escape.window_ns)):
            seconds = max(_LEAST_S, length_ns / 1e9)
            rows.append({"issue": name, "what": what, "seconds": seconds, "length": duration(length_ns)})
    return rows


def _title(escape: EscapeRecord) -> str:
    return shorten(f"{kind_title(escape.head.kind)} on {short_name(resource_pattern(escape.head.resource))}", 44)


def _plot(every: Sequence[EscapeRecord]) -> None:
    import altair as alt
    import pandas as pd

    rows = pd.DataFrame(points(every))
    order = list(dict.fromkeys(rows["issue"]))
    axis = alt.Axis(values=_decades(rows["seconds"]), labelExpr=_TIME_LABEL, title=None)
    base = alt.Chart(rows).encode(
        x=alt.X("seconds:Q", scale=alt.Scale(type="log"), axis=axis),
        y=alt.Y("issue:N", sort=order, title=None, axis=alt.Axis(labelLimit=320, labelFlush=False)),
        tooltip=["issue", "what", "length"],
    )
    windows = base.transform_filter("datum.what == 'window'").mark_tick(color=_WINDOW_COLOR, thickness=3, size=16)
    margins = base.transform_filter("datum.what == 'margin'").mark_circle(color=_COLOR, size=95, opacity=0.9)
    chart = alt.layer(windows, margins).properties(height=max(90, 26 * len(order) + 40))
    with st.container(border=True):
        legend = (
            Node("h2", children=("By how much luck kept them apart",)),
            Node("span", "pill high", ("● margin",)),
            Node("span", "pill plain", ("| window",), title="how long the longer of the two was exposed"),
        )
        prose([Node("div", "head", legend)], key="latent-plot")
        st.altair_chart(chart, width="stretch")


def _decades(seconds: Iterable[float]) -> list[float]:
    """The powers of ten around some times: the only labels that a logarithmic axis needs."""
    exponents = [math.log10(each) for each in seconds]
    return [10.0**power for power in range(math.floor(min(exponents)), math.ceil(max(exponents)) + 1)]


def _table(every: Sequence[EscapeRecord]) -> None:
    import pandas as pd

    rows = pd.DataFrame(
        {
            "open": [finding_link(escape.head.id) for escape in every],
            "severity": [[escape.head.severity] for escape in every],
            "kind": [kind_title(escape.head.kind) for escape in every],
            "resource": [escape.head.resource for escape in every],
            "agents": [list(escape.head.agents) for escape in every],
            "margin": [duration(escape.margin_ns) for escape in every],
            "window": [duration(escape.window_ns) for escape in every],
            "part": [f"{100 * escape.luck:.3g} %" for escape in every],
            "certainty": [escape.head.certainty for escape in every],
            "last": [age(escape.head.last_ns) for escape in every],
        }
    )
    st.dataframe(
        rows,
        hide_index=True,
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(every) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="open", width=55),
            "severity": st.column_config.MultiselectColumn(
                "Severity", options=list(PILL_COLORS), color=list(PILL_COLORS.values()), width=75
            ),
            "kind": st.column_config.TextColumn("Kind", width=105),
            "resource": st.column_config.TextColumn("Resource", width=190),
            "agents": st.column_config.ListColumn("Agents", width=215),
            "margin": st.column_config.TextColumn("Margin", width=62),
            "window": st.column_config.TextColumn("Window", width=62),
            "part": st.column_config.TextColumn("Of window", width=72, help="margin as a part of the window"),
            "certainty": st.column_config.TextColumn("Certainty", width=75),
            "last": st.column_config.TextColumn("Last seen", width=85),
        },
        alt="latent races, the narrowest escape first",
    )
