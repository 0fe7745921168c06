"""What stands around a finding: how sure it is, how it was grouped, how often it came, whom it reached.

Each is a few lines below the diagram. The parts of the issue's fingerprint are shown as the analyzer takes them
(contract 3: kind, resource pattern, agents' roles and code sites), so that a person sees why two findings are one bug.
"""

import re
from collections.abc import Sequence
from typing import Final

from noclobber.contract import Certainty, VersionKind
from noclobber_analyzer.finding import agent_role, resource_pattern
from noclobber_dashboard.components.prose import Node
from noclobber_dashboard.pages.tables import finding_link
from noclobber_dashboard.records import AffectedRecord, FindingBody, FindingHead, Occurrences
from noclobber_dashboard.related import Cascade
from noclobber_dashboard.retelling import marked
from noclobber_dashboard.slices import RACE_TYPES, Slice, race_of
from noclobber_dashboard.wording import age, clock_time, kind_title, plural, short_name, spark

__all__ = ["affected", "beside", "certainty", "grouping", "occurrences"]

AFFECTED_MAX: Final = 8
AFFECTED_AGENTS_MAX: Final = 20
"""Affected agents, and accesses of each, that are listed."""
CASCADE_MAX: Final = 8
_HOW: Final = {"message": "by its message,", "spawn": "in a strand that was started,"}
_REASONS: Final = {
    Certainty.CERTAIN: "Certain: what was recorded leaves no other explanation.",
    Certainty.LIKELY: "Likely: unique prints, happens-before or exact clocks say so, and nothing contradicts.",
    Certainty.POSSIBLE: "Possible: the pattern is there, but evidence is missing.",
}
_BASES: Final = {
    "explicit": "the caller or the store itself says so",
    "observed": "it is what this unit last got or made",
    "recalled": "an earlier step of the same run had got it",
    "remembered": "an earlier read of this agent had got it, which is weak",
}
_VERSIONS: Final = {
    VersionKind.COUNTER: "Versions are counted by the store: each applied write adds one.",
    VersionKind.ORDERED: "Versions are numbers of the store that grow.",
    VersionKind.CHAIN: "Versions are ids of the store that are never used again.",
    VersionKind.FINGERPRINT: "Versions are keyed prints of the content: equal content, equal version.",
}


def certainty(head: FindingHead, body: FindingBody, cut: Slice) -> Node:
    """How sure it is, on which evidence that rests, and what is missing."""
    known = head.certainty in set(Certainty)
    words = _REASONS[Certainty(head.certainty)] if known else f"Certainty: {head.certainty}."
    parts = [Node("h2", children=("How sure this is",)), Node("p", children=(words,))]
    if evidence := [*_edges(body), *_recorded(cut)]:
        parts += [Node("p", "quiet", ("It rests on:",)), Node("ul", children=evidence)]
    if body.missing:
        items = [Node("li", children=marked(item)) for item in body.missing]
        parts += [Node("p", "quiet", ("What would make it more certain:",)), Node("ul", children=items)]
    return Node("div", children=parts)


def _edges(body: FindingBody) -> list[Node]:
    """The witness's edges, each with its evidence in words."""
    who = {access.key: (access.agent, access.op) for access in body.accesses}
    found = []
    for edge in body.edges:
        if edge.source in who and edge.target in who:
            (one, did), (other, does) = who[edge.source], who[edge.target]
            way = "and" if edge.type in RACE_TYPES else "before"
            found.append(Node("li", children=(
                f"{did} by ", Node("b", children=(one,)), f" {way} {does} by ", Node("b", children=(other,)), ": ",
                *marked(edge.why or edge.type.replace("_", " ")),
            )))  # fmt: skip
    return found


def _recorded(cut: Slice) -> list[Node]:
    """What the racing accesses themselves recorded: where a base came from, what was really replaced."""
    racing = [event for event in cut.events if cut.race and event.key in cut.race]
    found = []
    for event in racing:
        name = Node("b", children=(event.agent,))
        if event.version_base and event.version_base_source in _BASES:
            found.append(Node("li", children=("the base of ", name, f": {_BASES[event.version_base_source]}")))
        if event.version_overwritten:
            found.append(Node("li", children=("the store told what ", name, " really replaced")))
    kinds = {event.version_kind for event in racing if event.version_kind in _VERSIONS}
    return [*found, *(Node("li", children=(_VERSIONS[VersionKind(kind)],)) for kind in sorted(kinds))]


def grouping(head: FindingHead, body: FindingBody) -> Node:
    """Which parts made this finding one of its issue."""
    race, _ = race_of(body)
    actors = [access for access in body.accesses if not race or access.key in race]
    sites = sorted({(agent_role(access.agent), _site(access.code), access.op) for access in actors})
    rows: list[tuple[str, Sequence[Node | str]]] = [
        ("kind", (kind_title(head.kind),)),
        ("resource", (Node("code", children=(resource_pattern(head.resource) or "across resources",)),)),
    ]
    for role, site, op in sites:
        at = (" in ", Node("code", children=(site,))) if site else ()
        rows.append(("who", (Node("b", children=(role,)), f" {op}", *at)))
    items = [Node("li", children=(Node("span", "quiet", (f"{name}: ",)), *value)) for name, value in rows]
    words = "Findings that agree in all of these are one issue; numbers of instances, keys and lines are left out."
    issue = Node("p", "quiet small", ("issue ", Node("code", children=(head.issue,))))
    title = Node("h2", children=("How it was grouped",))
    return Node("div", children=(title, Node("p", children=(words,)), Node("ul", children=items), issue))


def _site(code: str) -> str:
    """File and function without the line, which a release moves."""
    return re.sub(r":\d+(?=\D*$)", "", code)


def occurrences(seen: Occurrences, others: Sequence[FindingHead], own: str) -> Node:
    """How often the issue came, when, and the latest of the others."""
    once = seen.count <= 1
    span = f"{clock_time(seen.first_ns)[:19]} to {clock_time(seen.last_ns)[:19]} UTC"
    words = "Once so far." if once else f"{plural(seen.count, 'finding')} of this issue, {span}."
    parts = [Node("h2", children=("How often it came",)), Node("p", children=(words,))]
    if not once:
        told = f"findings over time: {', '.join(f'{count:,}' for count in seen.slots)}"
        parts.append(Node("p", "spark", (spark(seen.slots),), title=told))
    links = [
        Node("li", children=(Node("a", href=finding_link(other.id), children=(age(other.last_ns),)), ", ",
                             Node("code", children=(short_name(other.resource),)), f", {', '.join(other.agents)}",
                             "" if other.status == "open" else f", {other.status}"))
        for other in others
        if other.id != own
    ]  # fmt: skip
    parts += [Node("ul", children=links)] if links else []
    return Node("div", children=parts)


def affected(body: FindingBody) -> list[Node]:
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


def beside(cascade: Cascade) -> list[Node]:
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
