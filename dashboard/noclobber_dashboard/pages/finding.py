"""One finding: does it convince within ten seconds, and does it say what to do?

From the top: what happened in one sentence, a thin strip of facts, and the space-time diagram with the race in it,
all in the first screen. Below: the states that the resource went through, the advice with code, why it is not more
certain than it is, and who was affected. The witness graph and the raw evidence are a click away, and cost nothing
before.
"""

import re
import time
from typing import Final

import streamlit as st

from noclobber.contract import IssueState
from noclobber_analyzer.issues import Standing
from noclobber_dashboard.coloured import coloured
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.components.spacetime import spacetime
from noclobber_dashboard.diagram import diagram_data
from noclobber_dashboard.emptiness import nothing_here
from noclobber_dashboard.graph import witness_dot
from noclobber_dashboard.pages.finding_context import affected, beside, certainty, grouping, occurrences
from noclobber_dashboard.pages.finding_states import lost, states
from noclobber_dashboard.pages.handling import change_buttons
from noclobber_dashboard.queries import FindingFilter
from noclobber_dashboard.records import FindingBody, FindingHead
from noclobber_dashboard.related import cascade_of
from noclobber_dashboard.renditions import Form, rendered
from noclobber_dashboard.retelling import facts_strip, heading, marked, sentence
from noclobber_dashboard.serving import served
from noclobber_dashboard.slices import EVENTS_MAX, Slice, cut_slice
from noclobber_dashboard.traces import trace_link
from noclobber_dashboard.versions import VersionNames, version_uses

__all__ = ["render"]

OCCURRENCES_SHOWN: Final = 6
_SQL: Final = re.compile(r"\s*(--|SELECT|UPDATE|INSERT|DELETE|BEGIN|CREATE|ALTER|MERGE)\b|\s*--", re.IGNORECASE)
_COPIES: Final = {
    Form.TEXT: "text",
    Form.MARKDOWN: "Markdown, for a ticket",
    Form.JSON: "JSON, the contract's",
    Form.SHIVIZ: "ShiViz log",
    Form.DOT: "DOT graph",
}


def render() -> None:
    """Show the finding that the address names by `id`."""
    finding_id = st.query_params.get("id", "")
    head = served().queries.finding(finding_id) if finding_id else None
    if head is None:
        _unknown(finding_id)
        return
    body = FindingBody.from_json(head.body)
    whole = bool(st.session_state.get("whole_slice", False))
    cut = cut_slice(body, served().queries, whole=whole)
    _head(head, body, cut)
    _evidence(head, body, cut)
    uses = version_uses(cut.events, head.resource)
    prose([*([states(uses, cut, head)] if uses else []), *_advice(body)], key="finding-advice")
    around = beside(cascade_of(head, body, served().queries))
    often = _often(head)
    prose([*affected(body), *around, certainty(head, body, cut), *often, grouping(head, body)], key="finding-rest")


def _unknown(finding_id: str) -> None:
    words = "A link to a finding carries its id." if not finding_id else "It may have been deleted with its data."
    asked = Node("p", "quiet small", ("asked for: ", Node("code", children=(finding_id[:200],))))
    prose(
        [
            Node("h1", children=("There is no finding with this id",)),
            Node("p", "lead", (words, " ", Node("a", href="/findings", children=("All findings",)))),
            *([asked] if finding_id else []),
        ],
        key="finding-unknown",
    )  # fmt: skip


def _head(head: FindingHead, body: FindingBody, cut: Slice) -> None:
    """Title with what can be done, sentence, facts: one thin block, so that the diagram is above the fold."""
    state = _state(head.issue)
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
            prose([_title(head, body, state)], key="finding-title")
            with st.container(horizontal=True, width="content", gap="small"):
                with st.popover("Copy", help="as text, Markdown, JSON, a ShiViz log or a DOT graph"):
                    prose(_copies(head, body, cut), key="finding-copies")
                with st.popover("Issue", help="acknowledge, accept, silence or resolve the issue it belongs to"):
                    change_buttons({head.issue: state}, key="finding")
        strip = facts_strip(head, body, [*lost(cut, head.resource), *_traces(cut)])
        prose([sentence(head, body), strip], key="finding-head")


def _copies(head: FindingHead, body: FindingBody, cut: Slice) -> list[Node]:
    """A row for each form: one click copies it, another downloads it."""
    rows = []
    for form, words in _COPIES.items():
        path = f"/api/v1/findings/{head.id}/export?form={form}" if head.id.isalnum() else ""
        rows.append(
            Node("div", "copyrow", (
                Node("button", copy=rendered(form, head, body, cut), children=(f"copy as {words}",)),
                Node("a", href=path, children=("file",), title=f"download as {words}"),
            ))
        )  # fmt: skip
    return rows


def _traces(cut: Slice) -> list[tuple[str, Node]]:
    """Links to the racing accesses' traces in the user's own backend, where it was named."""
    links: list[Node | str] = []
    for event in cut.events:
        address = trace_link(served().settings.trace_url, event.trace_id, event.span_id)
        if address and cut.race and event.key in cut.race:
            links += [", " if links else "", Node("a", outside=address, children=(event.agent,))]
    return [("open trace of", Node("span", children=links))] if links else []


def _often(head: FindingHead) -> list[Node]:
    seen = served().queries.occurrences(head.issue)
    others = served().queries.findings(FindingFilter(issue=head.issue, latent=not head.manifest), OCCURRENCES_SHOWN)
    return [occurrences(seen, others, head.id)] if seen.count or len(others) > 1 else []


def _state(issue: str) -> str:
    standing = served().queries.standings([issue]).get(issue, Standing())
    return str(standing.state_at(time.time_ns()) or IssueState.NEW)


def _title(head: FindingHead, body: FindingBody, state: str) -> Node:
    pill = Node("span", "pill plain", (state,), title="state of the issue")
    return Node("div", "head", (*heading(head, body), pill))


def _evidence(head: FindingHead, body: FindingBody, cut: Slice) -> None:
    """The diagram; graph and tables once somebody opens them: what draws these takes a browser long to read."""
    tabs = ["Space-time", "Witness graph", "Evidence"]
    diagram, graph, evidence = st.tabs(tabs, key=f"finding-tabs-{head.id}", on_change="rerun")
    with diagram:
        if cut.events:
            spacetime(diagram_data(cut, head.kind, head.resource, served().settings.trace_url), key="finding-spacetime")
            if cut.omitted or st.session_state.get("whole_slice"):
                st.toggle(f"Show up to {EVENTS_MAX} accesses around it", key="whole_slice")
        else:
            nothing_here(
                "The accesses of this finding are no longer stored.",
                "What the finding itself remembers stands under Evidence.",
            )
    if graph.open:
        dot = witness_dot(body, VersionNames(cut.events, cut.roles))
        graph.graphviz_chart(dot, alt="the smallest witness as a graph")
    if evidence.open:
        with evidence:
            _tables(body)


def _tables(body: FindingBody) -> None:
    names = {access.key: f"{access.agent} {access.op}" for access in body.accesses}
    st.dataframe(
        [
            {
                "role": a.role, "agent": a.agent, "op": a.op, "resource": a.resource, "read": a.version_read,
                "base": a.version_base, "written": a.version_written, "code": a.code, "strand": a.strand,
                "trace id": a.trace_id, "span id": a.span_id,
            }
            for a in body.accesses
        ],
        hide_index=True,
        alt="accesses of the witness",
    )  # fmt: skip
    if body.edges:
        st.dataframe(
            [
                {
                    "from": names.get(e.source, e.source),
                    "to": names.get(e.target, e.target),
                    "type": e.type,
                    "why": e.why,
                }
                for e in body.edges
            ],
            hide_index=True,
            alt="edges of the witness",
        )


def _advice(body: FindingBody) -> list[Node]:
    """What to do, each with its code beside it."""
    shown = []
    for text, code in body.advice:
        if text or code:
            words = Node("div", children=(Node("h2", children=("How to fix it",)), Node("p", children=marked(text))))
            block = [coloured(code, "sql" if _SQL.match(code) else "python")] if code else []
            shown.append(Node("div", "advice", (words, *block)))
    return shown
