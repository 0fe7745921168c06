"""Is state being lost right now, where, and is the recording itself sound?"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import streamlit as st

from noclobber.contract import Severity
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.pages.boundary import guarded
from noclobber_dashboard.pages.tables import DEFENDED_WORDS, SEVERITY_COLORS, finding_link, resource_link
from noclobber_dashboard.records import FindingHead
from noclobber_dashboard.retelling import certainty_look, severity_look
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, duration, kind_title, short_name, shorten

__all__ = ["render"]

REFRESH_S: Final = 4
MINUTES_SHOWN: Final = 30
NEWEST_SHOWN: Final = 6
HOTTEST_SHOWN: Final = 8
HOURS_SHOWN: Final = 24
HOUR_NS: Final = 3_600_000_000_000


def render() -> None:
    """Show the overview; its parts refresh by themselves."""
    prose([Node("h1", children=("Overview",))], key="overview-title")
    _live()


@st.fragment(run_every=REFRESH_S)
def _live() -> None:
    guarded(_parts)()


def _parts() -> None:
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
    _defended()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _newest(found)
    with right:
        _hottest(found)
    _per_hour(found)


def _metrics(found: Sequence[FindingHead]) -> None:
    spans = sum(served().queries.rates(MINUTES_SHOWN))
    counted = served().queries.counted()
    delays = sorted(head.found_ns - head.last_ns for head in found if head.found_ns > head.last_ns > 0)
    lost = sum(record.holes + record.dropped for record in served().queries.processes())
    tiles = st.columns(5, gap="small")
    tiles[0].metric("Findings", f"{counted.get('findings', 0):,}", border=True, height="stretch")
    tiles[1].metric("Critical", f"{counted.get('critical', 0):,}", border=True, height="stretch")
    tiles[2].metric("Found after", duration(delays[len(delays) // 2]) if delays else "none yet", border=True,
                    height="stretch", help="median, from the end of the last access to the finding")  # fmt: skip
    tiles[3].metric("Accesses, last 30 min", f"{spans:,}", border=True, height="stretch")
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
                    Node("a", href=finding_link(head.id),
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


def _defended() -> None:
    """One line: what guards, locks and the store itself held."""
    counts = served().queries.defended()
    if not counts:
        return
    pills = [
        Node(
            "span", "held", (Node("b", children=(f"{row.count:,}",)), f" {DEFENDED_WORDS.get(row.reason, row.reason)}")
        )
        for row in counts
    ]
    label = Node("span", "quiet", ("What guards held, last 24 h",))
    prose([Node("div", "strip holds", (label, *pills))], key="overview-defended")


def _hottest(found: Sequence[FindingHead]) -> None:
    counted = served().queries.findings_by_resource()
    worst: dict[str, str] = {}
    for head in sorted(found, key=_rank):
        worst[head.resource] = head.severity
    rows = [
        Node("div", "row narrow", (
            Node("span", f"pill {severity_look(worst.get(resource, 'low'))}", (f"{count:,}",)),
            Node("span", "what", (Node("a", href=resource_link(resource), title=resource,
                                     children=(Node("code", children=(shorten(resource, 44),)),)),)),
        ))
        for resource, count in list(counted.items())[:HOTTEST_SHOWN]
    ]  # fmt: skip
    with st.container(border=True, height="stretch"):
        empty = [Node("p", "quiet", ("None.",))]
        prose([Node("h2", children=("Resources with most findings",)), *(rows or empty)], key="overview-hottest")


def _per_hour(found: Sequence[FindingHead]) -> None:
    if not found:
        return
    import altair as alt
    import pandas as pd

    newest = max(head.last_ns for head in found) // HOUR_NS
    counted = Counter((head.last_ns // HOUR_NS, head.severity) for head in found)
    hours = range(newest - HOURS_SHOWN + 1, newest + 1)
    # whole milliseconds: with finer times vega stacks the hours wrongly
    rows = pd.DataFrame(
        [(pd.Timestamp(hour * 3_600, unit="s"), severity, counted[hour, severity], rank)
         for hour in hours for rank, severity in enumerate(SEVERITY_COLORS)],
        columns=["hour", "severity", "findings", "rank"],
    )  # fmt: skip
    axis = alt.Axis(labelAngle=0, labelOverlap=True, format="%H:%M")
    chart = (
        alt.Chart(rows)
        .mark_bar(cornerRadius=1.5)
        .encode(
            x=alt.X("hour:O", title=None, timeUnit="utcdayhours", axis=axis),
            y=alt.Y("findings:Q", title=None, axis=alt.Axis(tickMinStep=1, format="d", tickCount=3)),
            color=alt.Color("severity:N", legend=None,
                            scale=alt.Scale(domain=list(SEVERITY_COLORS), range=list(SEVERITY_COLORS.values()))),
            order=alt.Order("rank:Q"),
            tooltip=["severity", "findings"],
        )
        .properties(height=140)
    )  # fmt: skip
    with st.container(border=True):
        legend = [Node("span", f"pill {severity_look(name)}", (name,)) for name in SEVERITY_COLORS]
        prose([Node("div", "head", (Node("h2", children=("Findings per hour (UTC)",)), *legend))], key="overview-hours")
        st.altair_chart(chart, width="stretch")


def _rank(head: FindingHead) -> int:
    return Severity(head.severity).rank if head.severity in set(Severity) else -1
