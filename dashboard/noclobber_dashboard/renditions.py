r"""One finding in the forms that people carry elsewhere: text, JSON, Markdown, a ShiViz log, DOT.

Markdown goes into tickets, where a name like `![](http://host/x)` would be fetched: names are code spans that no
backtick ends, and every other sign of Markdown is escaped. ShiViz reads two lines an event, `host {clock}` and its
words, and draws the same space-time diagram from vector clocks; a host is a strand, and the clocks follow the arrows
that our own diagram draws. Text and log hold no control character, since people paste them into terminals.

Source: Fidge, Timestamps in Message-Passing Systems (1988), Mattern (1989): vector clocks; Beschastnikh et al.,
Visualizing Distributed System Executions (2020): ShiViz, whose expression for this form is
`(?<host>\S*) (?<clock>{.*})\n(?<event>.*)`; CommonMark 0.31, 2.4 and 6.1: escapes and code spans.
"""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from noclobber_analyzer.report.text import plain
from noclobber_dashboard.components.prose import Node, text_of
from noclobber_dashboard.graph import witness_dot
from noclobber_dashboard.layout import lay_out
from noclobber_dashboard.records import AccessRecord, FindingBody, FindingHead
from noclobber_dashboard.retelling import as_text, sentence
from noclobber_dashboard.slices import WRITES, Slice, program_pairs
from noclobber_dashboard.versions import VersionNames
from noclobber_dashboard.wording import clock_time, kind_title, short_name

__all__ = ["CONTENT_TYPE", "ENDING", "Form", "as_markdown", "as_shiviz", "rendered"]


class Form(StrEnum):
    """What a finding can be carried away as."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    SHIVIZ = "shiviz"
    DOT = "dot"


ENDING: Final = {
    Form.TEXT: "txt",
    Form.JSON: "json",
    Form.MARKDOWN: "md",
    Form.SHIVIZ: "log",
    Form.DOT: "dot",
}
CONTENT_TYPE: Final = {Form.JSON: "application/json", Form.MARKDOWN: "text/markdown; charset=utf-8"}
"""Of those that are not plain text."""
_SIGNS: Final = re.compile(r"([\\`*_\[\]<>#|~@&$!]|:(?=\S)|^[+=-])")
"""Signs that Markdown reads anywhere, emoji and bare addresses among them, or at a line's start."""
_NUMBERED: Final = re.compile(r"^(\d+)([.)])")


def rendered(form: Form, head: FindingHead, body: FindingBody, cut: Slice) -> str:
    """The finding in one of the forms; `cut` is the slice that its diagram is drawn from."""
    match form:
        case Form.TEXT:
            return plain(as_text(head, body))
        case Form.JSON:
            return json.dumps(body.raw, indent=2, ensure_ascii=False)
        case Form.MARKDOWN:
            return as_markdown(head, body)
        case Form.SHIVIZ:
            return as_shiviz(cut)
        case Form.DOT:
            return witness_dot(body, VersionNames(cut.events, cut.roles))


def as_markdown(head: FindingHead, body: FindingBody) -> str:
    """For a ticket: heading, sentence, facts, a table of the accesses, the fix with its code."""
    kind = "manifest" if head.manifest else "latent"
    lines = [
        f"## {_escaped(kind_title(head.kind))} on {_code(short_name(head.resource))}",
        "",
        _inline(sentence(head, body)),
        "",
        f"- **{_escaped(head.severity)}**, {_escaped(head.certainty)}, {kind}, {_escaped(head.status)}",
        f"- resource {_code(head.resource)}",
        f"- {clock_time(head.first_ns)} to {clock_time(head.last_ns)} UTC",
        *(f"- to be certain, it lacks: {_marked(item)}" for item in body.missing),
        "",
        "| time (UTC) | agent | op | role | read | base | written |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for access in body.accesses:
        cells = (access.agent, access.op, access.role, access.version_read, access.version_base,
                 access.version_written)  # fmt: skip
        lines.append(f"| {clock_time(access.start_ns)} | {' | '.join(_cell(cell) for cell in cells)} |")
    for text, code in body.advice:
        lines += ["", "### How to fix it", "", _marked(text), *_fenced(code)]
    return "\n".join([*lines, "", f"finding {_code(head.id)}, issue {_code(head.issue)}", ""])


def _inline(node: Node) -> str:
    """A paragraph of our own tree: names and code as code spans, the rest escaped."""
    return "".join(_escaped(child) if isinstance(child, str) else _code(text_of(child)) for child in node.children)


def _marked(text: str) -> str:
    """What the analyzer put in backticks is code, everything else is escaped."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(_code(part) if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _NUMBERED.sub(r"\1\\\2", _SIGNS.sub(r"\\\1", _one_line(text)))


def _code(text: str) -> str:
    """A code span that the text cannot end: its fence is longer than any run of backticks within."""
    shown = _one_line(text)
    if not shown.strip():
        return "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _cell(text: str) -> str:
    """A code span in a table, where a bar ends the cell even within code."""
    return _code(text).replace("|", "\\|") if text else ""


def _fenced(code: str) -> list[str]:
    if not code:
        return []
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
    return ["", fence, plain(code), fence]


def _one_line(text: str) -> str:
    return plain(text).replace("\n", " ")


def as_shiviz(cut: Slice) -> str:
    """The slice as a log with vector clocks, causes first."""
    edges = [(edge.source, edge.target) for edge in cut.edges]
    layout = lay_out(cut.events, edges, cut.race)
    causes: dict[str, list[str]] = {}
    for source, target in [*program_pairs(cut.events), *edges]:
        if (source, target) not in layout.closing:
            causes.setdefault(target, []).append(source)
    hosts, names = _hosts(cut.events), VersionNames(cut.events, cut.roles)
    clocks: dict[str, dict[str, int]] = {}
    lines: list[str] = []
    # no arrow points left, so whoever stands further left cannot follow from whoever stands further right
    for event in sorted(cut.events, key=lambda event: (layout.places[event.key].x, event.start_ns, event.key)):
        host = hosts[event.strand]
        clock: dict[str, int] = {}
        for cause in causes.get(event.key, ()):
            for name, ticks in clocks.get(cause, {}).items():
                clock[name] = max(clock.get(name, 0), ticks)
        clock[host] = clock.get(host, 0) + 1
        clocks[event.key] = clock
        lines += [f"{host} {json.dumps(clock, ensure_ascii=False)}", _told(event, names, cut)]
    return "\n".join(lines) + "\n"


def _hosts(events: Sequence[AccessRecord]) -> dict[str, str]:
    """A name without blanks for each strand: the agent's, numbered where it has several."""
    found: dict[str, str] = {}
    for event in events:
        if event.strand not in found:
            name = re.sub(r"[\s{}\"\\]+", "_", plain(event.agent or event.strand)) or "unnamed"
            taken = set(found.values())
            others = (f"{name}#{number}" for number in range(2, len(events) + 2))
            found[event.strand] = next(each for each in (name, *others) if each not in taken)
    return found


def _told(event: AccessRecord, names: VersionNames, cut: Slice) -> str:
    version = event.version_written if event.op in WRITES else event.version_read
    role = cut.roles.get(event.key, "").replace("_", " ")
    racing = "races" if cut.race and event.key in cut.race else ""
    notes = ", ".join(part for part in (role, racing) if part)
    words = f"{event.op} {event.resource} {names.name(event.resource, version)}".strip()
    return _one_line(f"{words} ({notes})" if notes else words)
