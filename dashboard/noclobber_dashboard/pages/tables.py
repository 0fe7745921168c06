"""What the tables of several pages have in common."""

from typing import Final
from urllib.parse import quote

from noclobber_dashboard.components.prose import Node, Shape
from noclobber_dashboard.exports import EXPORT_MAX
from noclobber_dashboard.records import DefendedCount

__all__ = [
    "DEFENDED_WORDS",
    "PILL_COLORS",
    "ROW_HEIGHT",
    "SEVERITY_COLORS",
    "agent_link",
    "files_of",
    "finding_link",
    "resource_link",
    "tile",
    "told",
]

ROW_HEIGHT: Final = 35
PILL_COLORS: Final = {"critical": "red", "high": "orange", "medium": "yellow", "low": "gray"}
SEVERITY_COLORS: Final = {"critical": "#c8203c", "high": "#dd6b20", "medium": "#d9a514", "low": "#8a94a3"}
"""The same where a chart wants them exactly."""

DEFENDED_WORDS: Final = {
    "rejected": "rejected by a guard",
    "serializable": "held by serializable transactions",
    "lock": "held apart by a lock",
    "atomic": "done at once by the store",
    "deduplicated": "deduplicated",
    "equal_value": "wrote the value that was there",
    "unique": "stopped by a unique key",
    "no_effect": "changed nothing",
    "declared": "declared harmless",
}
"""The contract's reasons (section 3.1) as they follow a count."""


def finding_link(finding_id: str) -> str:
    """Where a finding is shown; the list where the id is none of ours (hexadecimal)."""
    ours = finding_id.isascii() and finding_id.isalnum()
    return f"/finding?id={finding_id}" if ours else "/findings"


def resource_link(resource: str) -> str:
    """Where a resource is shown."""
    return f"/resources?resource_q={quote(resource, safe='').replace('~', '%7E')}"


def agent_link(agent: str) -> str:
    """Where an agent's findings are listed."""
    return f"/findings?q={quote(agent, safe='').replace('~', '%7E')}"


def files_of(name: str, of: str = "all that are stored") -> Node:
    """Links to the rows of one of the API's lists, as files in which no cell is a formula; `of` says which rows."""
    forms = [("csv", "CSV"), ("parquet", "Parquet"), ("jsonl", "JSON Lines")]
    links: list[Node | str] = []
    for form, words in forms:
        links += [", " if links else "", Node("a", href=f"/api/v1/{name}?format={form}", children=(words,))]
    words = f"{name.capitalize()} as a file ({of}; {EXPORT_MAX:,} at most): "
    return Node("p", "quiet small", (words, *links))


def told(counts: list[DefendedCount]) -> str:
    """`12 rejected by a guard, 3 held apart by a lock`."""
    return ", ".join(f"{row.count:,} {DEFENDED_WORDS.get(row.reason, row.reason)}" for row in counts)


def tile(name: str, value: Shape | str, note: str = "", plot: Shape | None = None, *, alarm: bool = False) -> Node:
    """One number that is looked at from afar, with what it means below it."""
    children: list[Shape | str] = [
        Node("span", "name", (name,)),
        Node("span", "value alarm" if alarm else "value", (value,)),
    ]
    children += [plot] if plot else []
    return Node("div", "tile", [*children, Node("span", "note", (note,))])
