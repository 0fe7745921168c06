"""Is state being lost right now, where, and is the recording itself sound?"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from noclobber.contract import Severity
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.records import FindingHead
from noclobber_dashboard.retelling import certainty_look, severity_look
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, duration, kind_title, short_name, shorten

__all__ = ["render"]

REFRESH_S: Final = 4
MINUTES_SHOWN: Final = 30
NEWEST_SHOWN: Final = 6
HOTTEST_SHOWN: Final = 8
HOUR_NS: Final = 3_600_000_000_000
_COLORS: Final = {"critical": "#c8203c", "high": "#dd6b20", "medium": "#d9a514", "low": "#8a94a3"}


def render() -> None:
    """Show the overview; its parts refresh by themselves."""
    prose([Node("h1", children=("Overview",))], key="overview-title")
    _live()


@st.fragment(run_every=REFRESH_S)
def _live() -> None:
    totals = served().queries.totals()
    found = [head for head in served().queries.recent_findings() if head.status != "retracted"]
    if not totals.get("accesses") and not found:
        nothing_here(
            "Nothing has arrived yet",
            "Start an agent with its shared state recorded, or run `noclobber demo` to see a race between two.",
            RUN_SNIPPET,
        )
        return
    _metrics(found)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _newest(found)
    with right:
        _hottest(found)
    _per_hour(found)


def _metrics(found: Sequence[FindingHead]) -> None:
    now_minute = int(time.time() // 60)
    rates = {row["minute"]: row["spans"] for row in served().queries.rates(now_minute - MINUTES_SHOWN)}
    spans = [rates.get(minute, 0) for minute in range(now_minute - MINUTES_SHOWN, now_minute + 1)]
    critical = sum(head.severity == Severity.CRITICAL for head in found)
    delays = sorted(head.found_ns - head.last_ns for head in found if head.found_ns > head.last_ns > 0)
    lost = sum(record.holes + record.dropped for record in served().queries.processes())
    count = f"{len(found):,}" + ("+" if len(found) >= SNAPSHOT_MAX else "")
    tiles = st.columns(5, gap="small")
    tiles[0].metric("Findings", count, border=True, height="stretch")
    tiles[1].metric("Critical", f"{critical:,}", border=True, height="stretch")
    tiles[2].metric("Found after, median", duration(delays[len(delays) // 2]) if delays else "–", border=True,
                    height="stretch", help="from the end of the last access involved to the finding")  # fmt: skip
    tiles[3].metric("Accesses in 30 min", f"{sum(spans):,}", border=True, height="stretch", chart_data=spans,
                    chart_type="bar")  # fmt: skip
    tiles[4].metric("Lost on the way", f"{lost:,}", border=True, height="stretch",
                    help="holes in sequence numbers, and accesses that agents dropped")  # fmt: skip


def _newest(found: Sequence[FindingHead]) -> None:
    order = sorted(found, key=lambda head: (-_rank(head), -head.last_ns))[:NEWEST_SHOWN]
    rows = [
        Node(
            "div",
            "row",
            (
                Node("span", f"pill {severity_look(head.severity)}", (head.severity,)),
                Node("span", "what", (
                    Node("a", href=f"/finding?id={_path(head.id)}",
                         children=(f"{kind_title(head.kind)} on {shorten(short_name(head.resource), 48)}",)),
                    Node("p", children=(shorten(", ".join(head.agents), 90),)),
                )),
                Node("span", f"pill {certainty_look(head.certainty)}", (head.certainty,)),
                Node("span", "when", (age(head.last_ns),)),
            ),
        )
        for head in order
    ]  # fmt: skip
    with st.container(border=True, height="stretch"):
        empty = [Node("p", "quiet", ("No finding: nothing recorded so far was lost.",))]
        prose([Node("h2", children=("Worst and newest",)), *(rows or empty)], key="overview-newest")


def _path(finding_id: str) -> str:
    """The id where it is one of ours (hexadecimal); else nothing, and the link leads to an explanation."""
    return finding_id if finding_id.replace("-", "").isalnum() and finding_id.isascii() else ""


def _hottest(found: Sequence[FindingHead]) -> None:
    counted = Counter(head.resource for head in found)
    worst: dict[str, str] = {}
    for head in sorted(found, key=_rank):
        worst[head.resource] = head.severity
    rows = [
        Node("div", "row", (
            Node("span", f"pill {severity_look(worst[resource])}", (f"{count:,}",)),
            Node("span", "what", (Node("code", children=(shorten(resource, 52),), title=resource),)),
        ))
        for resource, count in counted.most_common(HOTTEST_SHOWN)
    ]  # fmt: skip
    with st.container(border=True, height="stretch"):
        empty = [Node("p", "quiet", ("None.",))]
        prose([Node("h2", children=("Resources with most findings",)), *(rows or empty)], key="overview-hottest")


def _per_hour(found: Sequence[FindingHead]) -> None:
    if not found:
        return
    import altair as alt

    counted = Counter((head.last_ns // HOUR_NS, head.severity) for head in found)
    rows: list[dict[str, Any]] = [
        {"hour": int(hour * 3_600_000), "severity": severity, "findings": count}
        for (hour, severity), count in sorted(counted.items())
        if severity in _COLORS
    ]
    hours = [row["hour"] for row in rows]
    edge = 3_600_000
    lowest, highest = min([*hours, max(hours, default=0) - 11 * edge]), max(hours, default=0) + edge
    chart = (
        alt.Chart(alt.Data(values=rows))
        .transform_calculate(end=f"datum.hour + {edge * 9 // 10}")
        .mark_bar(cornerRadius=2)
        .encode(
            x=alt.X("hour:T", title=None, scale=alt.Scale(domain=[lowest, highest])),
            x2="end:T",
            y=alt.Y("sum(findings):Q", title=None, axis=alt.Axis(tickMinStep=1, format="d"), stack="zero"),
            color=alt.Color(
                "severity:N",
                scale=alt.Scale(domain=list(_COLORS), range=list(_COLORS.values())),
                legend=alt.Legend(orient="top", title=None),
            ),
            order=alt.Order("severity:N"),
            tooltip=["severity:N", "sum(findings):Q"],
        )
        .properties(height=170)
    )
    with st.container(border=True):
        prose([Node("h2", children=("Findings per hour",))], key="overview-hours")
        st.altair_chart(chart, width="stretch")


def _rank(head: FindingHead) -> int:
    return Severity(head.severity).rank if head.severity in set(Severity) else -1
