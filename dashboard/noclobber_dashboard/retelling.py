"""A finding in words: heading, sentence, strip of facts, and the whole of it as text to paste into a ticket."""

import re
from collections.abc import Sequence
from typing import Final

from noclobber_dashboard.components.prose import Node
from noclobber_dashboard.records import FindingBody, FindingHead
from noclobber_dashboard.slices import race_of
from noclobber_dashboard.wording import age, clock_time, duration, kind_title, short_name

__all__ = ["as_text", "certainty_look", "facts_strip", "heading", "marked", "sentence", "severity_look"]

AGENTS_SHOWN: Final = 4


def severity_look(severity: str) -> str:
    """The class of a severity's pill."""
    return severity if severity in ("critical", "high", "medium", "low") else "plain"


def certainty_look(certainty: str) -> str:
    """The class of a certainty's pill."""
    return "sure" if certainty == "certain" else "plain"


def heading(head: FindingHead, body: FindingBody) -> list[Node]:
    """What it is, on what, how bad, how sure; how many more kinds the same accesses satisfy."""
    pills = [
        Node("span", f"pill {severity_look(head.severity)}", (head.severity,)),
        Node("span", f"pill {certainty_look(head.certainty)}", (head.certainty,)),
    ]
    if head.status != "open":
        pills.append(Node("span", "pill plain", (head.status,)))
    if not head.manifest:
        pills.append(Node("span", "pill plain", ("latent",), title="luck ordered the accesses, nothing else did"))
    also = [f"also {kind_title(kind).lower()}" for kind in body.also]
    return [
        Node("h1", children=(f"{kind_title(head.kind)} on ", Node("code", children=(short_name(head.resource),)))),
        *pills,
        *([Node("span", "quiet small", (", ".join(also),))] if also else []),
    ]


def sentence(head: FindingHead, body: FindingBody) -> Node:
    """The explanation, with the names of agents and of the resource set apart."""
    text = body.explanation or f"{kind_title(head.kind)} between {' and '.join(head.agents)}."
    return Node("p", "lead", _with_names(text, head))


def _with_names(text: str, head: FindingHead) -> Sequence[Node | str]:
    """Agents bold, resource as code, with the backticks around them gone; then what else stands in backticks."""
    short = short_name(head.resource)
    tags = {name: "b" for name in head.agents if name} | {name: "code" for name in (head.resource, short) if name}
    names = "|".join(re.escape(name) for name in sorted(tags, key=len, reverse=True))
    if not names:
        return marked(text)
    parts: list[Node | str] = []
    for number, part in enumerate(re.split(f"`({names})`|(?<![\\w`])({names})(?![\\w`])", text)):
        if part is None:
            continue
        parts += marked(part) if number % 3 == 0 else [Node(tags[part], children=(part,))]
    return parts


def marked(text: str) -> list[Node | str]:
    """A sentence of the analyzer: what it put in backticks is code, everything else is as it stands."""
    parts = re.split(r"`([^`]+)`", text)
    return [Node("code", children=(part,)) if number % 2 else part for number, part in enumerate(parts) if part]


def facts_strip(
    head: FindingHead, body: FindingBody, lost: Sequence[tuple[str, Node]] = (), *, lasting: bool = False
) -> Node:
    """One thin line: what was lost, where, who, when, how tight, and what keeps it from being more certain.

    Args:
        head: the finding's columns.
        body: the finding.
        lost: names and values of what was lost.
        lasting: for a page that is read at any time: when it happened, not how long ago that is.
    """
    facts: list[Node] = [_fact(name, value) for name, value in lost]
    facts += [_fact("resource", Node("code", children=(head.resource,)))]
    if head.agents:
        more = len(head.agents) - AGENTS_SHOWN
        agents = ", ".join(head.agents[:AGENTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        facts.append(_fact("agents", agents))
    window = _window(body)
    if window:
        facts.append(
            _fact("time from read to write", window, "how long the write rested on a read that went stale meanwhile")
        )
    if not head.manifest:
        margin = duration(body.margin_ns) if body.margin_ns is not None else "an unknown margin"
        facts.append(_fact("latent", f"missed by {margin}"))
    first, last = f"{clock_time(head.first_ns)} UTC", f"{clock_time(head.last_ns)} UTC"
    facts.append(_fact("happened", last if lasting else age(head.last_ns), f"{first} to {last}"))
    if head.found_ns > head.last_ns > 0:
        facts.append(_fact("found after", duration(head.found_ns - head.last_ns)))
    if body.missing:
        facts.append(_fact("to be certain, it lacks", Node("span", children=marked(body.missing[0]))))
    return Node("div", "strip", facts)


def _fact(name: str, value: Node | str, title: str = "") -> Node:
    return Node("span", "fact", (Node("span", children=(name,)), Node("span", children=(value,))), title=title)


def _window(body: FindingBody) -> str:
    """How long the later racing write rested on what it had read."""
    race, _ = race_of(body)
    later = next((access for access in body.accesses if race and access.key == race[1]), None)
    reads = [
        a for a in body.accesses
        if later is not None and a.strand == later.strand and a.op in ("read", "scan") and a.end_ns <= later.start_ns
    ]  # fmt: skip
    return duration(later.start_ns - min(a.end_ns for a in reads)) if later is not None and reads else ""


def as_text(head: FindingHead, body: FindingBody) -> str:
    """The finding as plain text: sentence, facts, accesses, advice."""
    lines = [
        f"{kind_title(head.kind)} on {head.resource}",
        f"{head.severity}, {head.certainty}, {'manifest' if head.manifest else 'latent'}, {head.status}",
        "",
        body.explanation,
        "",
    ]
    for access in body.accesses:
        versions = {"read": access.version_read, "base": access.version_base, "wrote": access.version_written}
        words = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        lines.append(f"  {clock_time(access.start_ns)}  {access.agent}  {access.op}  {access.role}  {words}".rstrip())
    lines += ["", *(f"Missing: {item}" for item in body.missing)]
    for text, code in body.advice:
        lines += [f"Fix: {text}", *(f"    {line}" for line in code.splitlines())]
    lines += [f"Finding {head.id}, issue {head.issue}, revision {head.revision}"]
    return "\n".join(lines) + "\n"
