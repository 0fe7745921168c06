"""Which agents race with which, and what does each of them do?

The matrix comes first: a race is between two, so a list of agents would not show it. A click on a pair lists its
findings; below stands every agent with what it touched, races or not.
"""

from collections.abc import Sequence
from typing import Any, Final

import streamlit as st

from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, nothing_here
from noclobber_dashboard.encounters import Encounter, encounters, most_involved
from noclobber_dashboard.pages.tables import PILL_COLORS, ROW_HEIGHT, SEVERITY_COLORS, agent_link, finding_link
from noclobber_dashboard.queries import SNAPSHOT_MAX
from noclobber_dashboard.records import AgentHead, FindingHead
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import age, kind_title, plural, window

__all__ = ["cells", "render"]

MATRIX_MAX: Final = 16
"""Agents in the matrix, those with most findings."""
PAIR_SHOWN: Final = 50
"""Findings listed of a chosen pair, the newest ones."""
CELL_PX: Final = 34
TABLE_HEIGHT_MAX: Final = 420
_PAIR: Final = "pair"


def render() -> None:
    """Show the matrix, the findings of the pair that is chosen in it, and all agents."""
    prose([Node("h1", children=("Agents",))], key="agents-title")
    agents, lately = served().queries.agents(), window(served().queries.window_min())
    found = served().queries.recent_findings()
    met = encounters(found)
    if not agents and not met:
        nothing_here(
            f"No agent did anything in the {lately}", "Start one with its shared state recorded:", RUN_SNIPPET,
            until=lambda: bool(served().queries.agents()),
        )  # fmt: skip
        return
    if met:
        _matrix(met, f" Of the newest {SNAPSHOT_MAX:,} findings." if len(found) >= SNAPSHOT_MAX else "")
    else:
        prose([Node("p", "lead", ("No two agents raced, as far as was recorded.",))], key="agents-none")
    _table(agents, met, lately)


def cells(met: Sequence[Encounter], agents: Sequence[str]) -> list[dict[str, object]]:
    """The matrix's cells, each pair on both sides of the diagonal; pairs of agents that are not shown are left out."""
    made: list[dict[str, object]] = []
    for each in met:
        if each.one in agents and each.other in agents:
            ways = {(each.one, each.other), (each.other, each.one)}
            said = {
                "findings": len(each.findings),
                "severity": each.worst,
                "kinds": ", ".join(map(kind_title, each.kinds)),
            }
            made += [{"one": one, "other": other, **said} for one, other in sorted(ways)]
    return made


def _matrix(met: Sequence[Encounter], out_of: str) -> None:
    agents = most_involved(met, MATRIX_MAX)
    involved = len(most_involved(met, SNAPSHOT_MAX))
    more = f"; the {MATRIX_MAX} with most findings of {involved} are shown" if involved > MATRIX_MAX else ""
    with st.container(border=True):
        legend = [Node("span", f"pill {name}", (name,)) for name in PILL_COLORS]
        title = Node("div", "head", (Node("h2", children=("Who races with whom",)), *legend))
        words = f"Findings in which both are named, coloured by the worst; click a pair to list them{more}.{out_of}"
        prose([title, Node("p", "quiet small", (words,))], key="agents-matrix")
        picked = st.altair_chart(
            _chart(cells(met, agents), agents), on_select="rerun", selection_mode=_PAIR, key="agents-chart"
        )
    chosen = _chosen(picked, met)
    if chosen is not None:
        _findings(chosen)


def _chart(rows: list[dict[str, object]], agents: Sequence[str]) -> Any:
    import altair as alt
    import pandas as pd

    scale = alt.Scale(domain=list(SEVERITY_COLORS), range=list(SEVERITY_COLORS.values()))
    axis: dict[str, Any] = {"sort": list(agents), "title": None, "scale": alt.Scale(domain=list(agents))}
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=alt.X("other:N", axis=alt.Axis(labelAngle=-40, labelLimit=140, orient="top", labelFlush=False), **axis),
        y=alt.Y("one:N", axis=alt.Axis(labelLimit=180, labelFlush=False), **axis),
        tooltip=["one", "other", "findings", "severity", "kinds"],
    )
    pair = alt.selection_point(name=_PAIR, fields=["one", "other"])
    squares = (
        base.mark_rect(cornerRadius=3, cursor="pointer")
        .encode(
            color=alt.Color("severity:N", scale=scale, legend=None),
            opacity=alt.condition(pair, alt.value(1.0), alt.value(0.35)),
        )
        .add_params(pair)
    )
    counts = base.mark_text(color="#ffffff", fontWeight=600).encode(text=alt.Text("findings:Q", format=",d"))
    side = CELL_PX * len(agents)
    return alt.layer(squares, counts).properties(width=max(side, 3 * CELL_PX), height=max(side, CELL_PX))


def _chosen(picked: Any, met: Sequence[Encounter]) -> Encounter | None:
    points = picked["selection"].get(_PAIR) or []
    names = sorted((str(points[0].get("one")), str(points[0].get("other")))) if points else None
    return next((each for each in met if [each.one, each.other] == names), None)


def _findings(chosen: Encounter) -> None:
    """The findings of one pair."""
    import pandas as pd

    code = [Node("code", children=(name,)) for name in dict.fromkeys((chosen.one, chosen.other))]
    between = (code[0], " and ", code[1]) if len(code) > 1 else ("strands of ", code[0])
    prose([Node("h2", children=("Between ", *between))], key="agents-pair")
    shown: Sequence[FindingHead] = chosen.findings[:PAIR_SHOWN]
    st.dataframe(
        pd.DataFrame(
            {
                "open": [finding_link(head.id) for head in shown],
                "severity": [[head.severity] for head in shown],
                "kind": [kind_title(head.kind) for head in shown],
                "resource": [head.resource for head in shown],
                "certainty": [head.certainty for head in shown],
                "last": [age(head.last_ns) for head in shown],
            }
        ),
        hide_index=True,
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(shown) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="open", width=55),
            "severity": st.column_config.MultiselectColumn(
                "Severity", options=list(PILL_COLORS), color=list(PILL_COLORS.values()), width=90
            ),
            "kind": st.column_config.TextColumn("Kind", width=140),
            "resource": st.column_config.TextColumn("Resource", width=330),
            "certainty": st.column_config.TextColumn("Certainty", width=80),
            "last": st.column_config.TextColumn("Last seen", width=100),
        },
        alt="findings between the two agents",
    )


def _table(agents: Sequence[AgentHead], met: Sequence[Encounter], lately: str) -> None:
    import pandas as pd

    ids: dict[str, set[str]] = {}
    with_whom: dict[str, list[str]] = {}
    for each in met:
        for agent, peer in {(each.one, each.other), (each.other, each.one)}:
            ids.setdefault(agent, set()).update(head.id for head in each.findings)
            with_whom.setdefault(agent, []).append(peer)
    shown = sorted(agents, key=lambda head: (-len(ids.get(head.agent, ())), -head.writes, head.agent))
    note = f"{plural(len(shown), 'agent')} active in the {lately}"
    note += f"; only {SNAPSHOT_MAX:,} are shown here" if len(shown) >= SNAPSHOT_MAX else ""
    prose([Node("h2", children=("All agents",)), Node("p", "quiet small", (note,))], key="agents-all")
    st.dataframe(
        pd.DataFrame(
            {
                "open": [agent_link(head.agent) for head in shown],
                "agent": [head.agent for head in shown],
                "findings": [len(ids.get(head.agent, ())) for head in shown],
                "with": [sorted(set(with_whom.get(head.agent, ()))) for head in shown],
                "reads": [head.reads for head in shown],
                "writes": [head.writes for head in shown],
                "resources": [head.resources for head in shown],
                "strands": [head.strands for head in shown],
                "services": [", ".join(head.services) for head in shown],
                "last": [age(head.last_ns) for head in shown],
            }
        ),
        hide_index=True,
        height=min(TABLE_HEIGHT_MAX, ROW_HEIGHT * (len(shown) + 1) + 3),
        column_config={
            "open": st.column_config.LinkColumn("", display_text="findings", width=70),
            "agent": st.column_config.TextColumn("Agent", width=165),
            "findings": st.column_config.NumberColumn("Findings", width=70),
            "with": st.column_config.ListColumn("Races with", width=190),
            "reads": st.column_config.NumberColumn("Reads", width=65),
            "writes": st.column_config.NumberColumn("Writes", width=65),
            "resources": st.column_config.NumberColumn("Resources", width=75),
            "strands": st.column_config.NumberColumn("Strands", width=65),
            "services": st.column_config.TextColumn("Services", width=120),
            "last": st.column_config.TextColumn("Last seen", width=90),
        },
        alt="agents",
    )
