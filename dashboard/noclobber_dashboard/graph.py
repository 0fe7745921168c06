"""The witness as a graph: the accesses of one finding and the edges between them, in graphviz's language.

Every text is a quoted DOT string with quotes, backslashes and line ends taken care of, so a name can neither end its
label nor begin an attribute; identifiers are numbers of our own.

Source: graphviz, The DOT Language (quoted strings, escString).
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from noclobber_dashboard.records import FindingBody, WitnessAccess
from noclobber_dashboard.slices import RACE_TYPES, race_of
from noclobber_dashboard.versions import VersionNames
from noclobber_dashboard.wording import short_name, shorten

__all__ = ["NODES_MAX", "witness_dot"]

NODES_MAX: Final = 100
"""Graphviz in a browser draws this many well, and a thousand not at all."""
_RACE: Final = "#d3213d"
_ASIDE: Final = " " * 42
"""Graphviz centres a label on a line that bears no weight in the layout: the blanks push the word beside it."""
_FILL: Final = {"read": "#e3f0fb", "scan": "#e3f0fb", "write": "#fdebdc", "delete": "#fdebdc", "update": "#fdebdc"}
_LINE: Final = {"read": "#2f7cc0", "scan": "#2f7cc0", "write": "#c2570c", "delete": "#c2570c", "update": "#c2570c"}


def witness_dot(body: FindingBody, names: VersionNames) -> str:
    """The graph in DOT, left to right; the racing pair framed and joined by a dashed red line.

    At most `NODES_MAX` accesses; the first ones, which are the anchors.
    """
    accesses = body.accesses[:NODES_MAX]
    number = {access.key: index for index, access in enumerate(accesses)}
    race, why = race_of(body)
    lines = [
        "digraph witness {",
        'rankdir=LR; bgcolor="transparent"; nodesep=0.35; ranksep=0.6;',
        'node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11, fontcolor="#1b1f27"];',
        'edge [fontname="sans-serif", fontsize=9, color="#6b7687", fontcolor="#7a8494", arrowsize=0.7];',
    ]
    lines += [_node(number[access.key], access, names, race) for access in accesses]
    for edge in body.edges:
        if edge.type not in RACE_TYPES and edge.source in number and edge.target in number:
            label, tip = quoted(edge.type.replace("_", " ")), quoted(edge.why)
            lines.append(f"n{number[edge.source]} -> n{number[edge.target]} [label={label}, tooltip={tip}];")
    drawn = {(edge.source, edge.target) for edge in body.edges}
    for one, two in _next_in_strand(accesses):
        if (one.key, two.key) not in drawn:
            lines.append(f'n{number[one.key]} -> n{number[two.key]} [style=dotted, label="then"];')
    if race and race[0] in number and race[1] in number:
        lines.append(
            f'n{number[race[0]]} -> n{number[race[1]]} [dir=both, style=dashed, color="{_RACE}", fontcolor="{_RACE}", '
            f'penwidth=1.8, constraint=false, label="{_ASIDE}unordered", tooltip={quoted(why)}];'
        )
    return "\n".join([*lines, "}"])


def _next_in_strand(accesses: Sequence[WitnessAccess]) -> Iterable[tuple[WitnessAccess, WitnessAccess]]:
    """Neighbours of one strand: program order, which a witness need not name."""
    lanes: dict[str, list[WitnessAccess]] = {}
    for access in sorted(accesses, key=lambda access: access.start_ns):
        lanes.setdefault(access.strand, []).append(access)
    return (pair for lane in lanes.values() for pair in pairwise(lane))


def _node(number: int, access: WitnessAccess, names: VersionNames, race: tuple[str, str] | None) -> str:
    version = access.version_written or access.version_read
    what = f"{access.op} {short_name(access.resource)} {names.name(access.resource, version)}"
    label = "\n".join(map(_one_line, (shorten(access.agent, 40), shorten(what, 60), access.role.replace("_", " "))))
    racing = race is not None and access.key in race
    color = _RACE if racing else _LINE.get(access.op, "#6b7687")
    fill = _FILL.get(access.op, "#eef0f3")
    width = ", penwidth=2.4" if racing else ""
    return f'n{number} [label={quoted(label)}, color="{color}", fillcolor="{fill}"{width}];'


def _one_line(text: str) -> str:
    """A name's own line ends as blanks: the graphviz of browsers fails on some labels that begin with a line end."""
    return " ".join(text.split("\n")).strip()


def quoted(text: str) -> str:
    """Untrusted text as a DOT string; line ends become centred line breaks, control characters spaces."""
    plain = "".join(c if c == "\n" or c.isprintable() else " " for c in text)
    # `&` begins an HTML entity even in a quoted label
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;").replace("\n", "\\n")
    return f'"{escaped}"'
