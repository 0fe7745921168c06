"""One finding: does it convince within ten seconds, and does it say what to do?

From the top: what happened in one sentence, a thin strip of facts, and the space-time diagram with the race in it,
all in the first screen. Below: the states that the resource went through, the advice with code, why it is not more
certain than it is, and who was affected. The witness graph and the raw evidence are a click away.
"""

import json
import time
from collections.abc import Sequence

import streamlit as st

from noclobber.contract import Certainty, IssueState
from noclobber_analyzer.issues import Standing
from noclobber_dashboard.components.prose import Node, prose
from noclobber_dashboard.components.spacetime import spacetime
from noclobber_dashboard.diagram import diagram_data
from noclobber_dashboard.emptiness import nothing_here
from noclobber_dashboard.graph import witness_dot
from noclobber_dashboard.pages.handling import change_buttons
from noclobber_dashboard.pages.tables import finding_link
from noclobber_dashboard.records import AffectedRecord, FindingBody, FindingHead
from noclobber_dashboard.related import Cascade, cascade_of
from noclobber_dashboard.retelling import as_text, facts_strip, heading, marked, sentence
from noclobber_dashboard.serving import served
from noclobber_dashboard.slices import EVENTS_MAX, Slice, cut_slice
from noclobber_dashboard.versions import VersionNames, VersionUse, version_uses
from noclobber_dashboard.wording import kind_title, plural, short_name

__all__ = ["render"]

STATES_MAX = 5
AFFECTED_MAX = 8
AFFECTED_AGENTS_MAX = 20
"""Affected agents, and accesses of each, that are listed."""
CASCADE_MAX = 8
_HOW = {"message": "by its message,", "spawn": "in a strand that was started,"}


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
    _head(head, body)
    _evidence(head, body, cut)
    uses = version_uses(cut.events, head.resource)
    if uses:
        prose([_versions(uses, cut, head)], key="finding-versions")
    _advice(body)
    beside = _cascade(cascade_of(head, body, served().queries))
    prose([*_affected(body), *beside, _certainty(head, body)], key="finding-rest")


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


def _head(head: FindingHead, body: FindingBody) -> None:
    """Title with what can be done, sentence, facts: one thin block, so that the diagram is above the fold."""
    state = _state(head.issue)
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
            prose([_title(head, body, state)], key="finding-title")
            with st.popover("Issue", help="acknowledge, accept, silence or resolve the issue it belongs to"):
                change_buttons({head.issue: state}, key="finding")
        prose([sentence(head, body), facts_strip(head, body)], key="finding-head")


def _state(issue: str) -> str:
    standing = served().queries.standings([issue]).get(issue, Standing())
    return str(standing.state_at(time.time_ns()) or IssueState.NEW)


def _title(head: FindingHead, body: FindingBody, state: str) -> Node:
    pretty = json.dumps(body.raw, indent=2, ensure_ascii=False)
    tools = Node(
        "span",
        "end",
        (
            Node("button", copy=as_text(head, body), children=("copy as text",)),
            Node("button", copy=pretty, children=("copy as JSON",)),
        ),
    )
    pill = Node("span", "pill plain", (state,), title="state of the issue")
    return Node("div", "head", (*heading(head, body), pill, tools))


def _evidence(head: FindingHead, body: FindingBody, cut: Slice) -> None:
    diagram, graph, evidence = st.tabs(["Space-time", "Witness graph", "Evidence"])
    with diagram:
        if cut.events:
            spacetime(diagram_data(cut, head.kind, head.resource), key="finding-spacetime")
            if cut.omitted or st.session_state.get("whole_slice"):
                st.toggle(f"Show up to {EVENTS_MAX} accesses around it", key="whole_slice")
        else:
            nothing_here(
                "The accesses of this finding are no longer stored.",
                "What the finding itself remembers stands under Evidence.",
            )
    with graph:
        st.graphviz_chart(witness_dot(body, VersionNames(cut.events, cut.roles)), alt="the smallest witness as a graph")
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


def _versions(uses: list[VersionUse], cut: Slice, head: FindingHead) -> Node:
    names = VersionNames(cut.events, cut.roles)
    shown = _telling(uses, cut)
    boxes = [_version(use, names, cut, head) for use in shown]
    title = Node("h2", children=("States of ", Node("code", children=(short_name(head.resource),))))
    return Node("div", children=(title, Node("div", "versions", boxes)))


def _telling(uses: list[VersionUse], cut: Slice) -> list[VersionUse]:
    """The states that the witness names; all of them where they are few."""
    if len(uses) <= STATES_MAX:
        return uses
    named = {
        version
        for event in cut.events
        if event.key in cut.roles
        for version in (event.version_read, event.version_base, event.version_overwritten, event.version_written)
    }
    return [use for use in uses if use.version in named][:STATES_MAX]


def _version(use: VersionUse, names: VersionNames, cut: Slice, head: FindingHead) -> Node:
    def who(words: str, agents: list[str]) -> list[Node]:
        return [Node("span", "who", (f"{words} ", ", ".join(agents)))] if agents else []

    mark = names.print_of(head.resource, use.version)
    tags = _tags(use, cut)
    return Node(
        "div",
        "version lost" if any(tag.look.endswith("critical") for tag in tags) else "version",
        (
            Node("div", "name", (names.name(head.resource, use.version),
                                 *([Node("code", children=(mark,), title=use.version)] if mark else []))),
            *(who("written by", use.made_by) or [Node("span", "who", ("was there before",))]),
            *who("read by", use.read_by),
            *who("built upon by", use.base_of),
            *who("replaced by", use.replaced_by),
            *tags,
        ),
    )  # fmt: skip


def _tags(use: VersionUse, cut: Slice) -> list[Node]:
    """What befell this state: overwritten unseen, the stale base, merely a candidate for it."""
    later = next((event for event in cut.events if cut.race and event.key == cut.race[1]), None)
    earlier = next((event for event in cut.events if cut.race and event.key == cut.race[0]), None)
    if later is None or earlier is None or earlier.resource != later.resource:
        return []
    if use.version == earlier.version_written != later.version_base and later.version_written:
        return [Node("span", "pill critical", (f"overwritten unseen by {later.agent}",))]
    if use.version == later.version_base:
        return [Node("span", "pill high", (f"stale base of the write by {later.agent}",))]
    return [Node("span", "pill plain", ("perhaps its base",))] if use.version in later.version_candidates else []


def _advice(body: FindingBody) -> None:
    for number, (text, code) in enumerate(body.advice):
        if not text and not code:
            continue
        left, right = st.columns([2, 3], gap="medium") if code else (st.container(), None)
        with left:
            prose(
                [Node("h2", children=("How to fix it",)), Node("p", children=marked(text))],
                key=f"finding-advice-{number}",
            )
        if right is not None:
            right.code(code, language="python")


def _certainty(head: FindingHead, body: FindingBody) -> Node:
    reasons = {
        Certainty.CERTAIN: "Certain: it holds in every world that fits the recorded versions.",
        Certainty.LIKELY: "Likely: unique prints, happens-before or exact clocks say so, and nothing contradicts.",
        Certainty.POSSIBLE: "Possible: the pattern is there, but evidence is missing.",
    }
    known = head.certainty in set(Certainty)
    words = reasons[Certainty(head.certainty)] if known else f"Certainty: {head.certainty}."
    items = [Node("li", children=marked(item)) for item in body.missing]
    why = [Node("p", "quiet", ("What would make it more certain:",)), Node("ul", children=items)] if items else []
    return Node("div", children=(Node("h2", children=("How sure this is",)), Node("p", children=(words,)), *why))


def _affected(body: FindingBody) -> list[Node]:
    """Who came to know of it, agent by agent in the order in which it reached them, each with what it did."""
    if not body.affected and not body.affected_agents:
        return []
    agents = ", ".join(body.affected_agents) or "agents that the finding does not name"
    by_agent: dict[str, list[AffectedRecord]] = {}
    for item in body.affected:
        by_agent.setdefault(item.agent, []).append(item)
    rows = [
        Node("li", children=(Node("b", children=(agent,)), ": ", *_done(items, body)))
        for agent, items in list(by_agent.items())[:AFFECTED_AGENTS_MAX]
    ]
    count, verb = plural(len(body.affected), "later access"), "rests" if len(body.affected) == 1 else "rest"
    lead = Node("p", children=(f"{count} {verb} on what came of it, by ", Node("b", children=(agents,)), "."))
    more = len(by_agent) - AFFECTED_AGENTS_MAX
    quiet = [f"and {more:,} more agents"] if more > 0 else []
    quiet += [f"The search stopped: {body.affected_stopped}"] if body.affected_stopped else []
    notes = [Node("p", "quiet", (words,)) for words in quiet]
    title = Node("h2", children=("Who was affected",))
    return [Node("div", children=(title, lead, Node("ul", children=rows), *notes))]


def _done(items: Sequence[AffectedRecord], body: FindingBody) -> list[Node | str]:
    """What one agent did from what came of it; what left the system first is marked."""
    parts: list[Node | str] = []
    for item in items[:AFFECTED_MAX]:
        perhaps = " perhaps" if item.strength == "weak" else ""
        how = _HOW.get(item.how, "")
        parts += ["; " if parts else "", f"{how}{perhaps} {item.op} ".lstrip(), Node("code", children=(item.resource,))]
        if item.span_id and item.span_id == body.first_effect:
            parts += [" ", Node("span", "pill critical", ("the first that left the system",))]
    if len(items) > AFFECTED_MAX:
        parts.append(f"; and {len(items) - AFFECTED_MAX:,} more")
    return parts


def _cascade(cascade: Cascade) -> list[Node]:
    """Findings that this one follows from, and those that followed."""
    found = []
    for title, findings in (("What it follows from", cascade.causes), ("What followed from it", cascade.followers)):
        links = [
            Node("li", children=(Node("a", href=finding_link(other.id),
                                      children=(f"{kind_title(other.kind)} on {short_name(other.resource)}",)),
                                 f" by {', '.join(other.agents)}, {other.certainty}"))
            for other in findings[:CASCADE_MAX]
        ]  # fmt: skip
        if links:
            found.append(Node("div", children=(Node("h2", children=(title,)), Node("ul", children=links))))
    return found
