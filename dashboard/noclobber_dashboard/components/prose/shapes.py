"""What text alone does not show: how long ago, tables, and two kinds of plot.

They are drawn by our own script from a few numbers instead of by a charting library from a specification: a part of a
page that refreshes itself is then some kilobytes, made once for all who look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noclobber_dashboard.components.prose.nodes import Shape

__all__ = ["Bars", "Cell", "Column", "Dots", "Since", "Table"]

Cell = Shape | str | int | None
"""What stands in a table; a number is put in groups of three and sorted as one."""


@dataclass(frozen=True, slots=True)
class Since:
    """How long ago something was; the browser counts on, so that what is shown need not be sent again for it.

    Attributes:
        at_ns: when it was.
    """

    at_ns: int

    def as_data(self) -> dict[str, Any]:
        """The time as the script reads it, in milliseconds."""
        return {"tag": "time", "at": self.at_ns // 1_000_000}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        look: `num` for numbers, `share` for percents that are drawn as bars, `narrow`; empty: text.
        says: what it means, shown on hover.
    """

    name: str
    look: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; a click on a heading sorts by it.

    Attributes:
        alt: what it is a table of, for those who listen.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    alt: str

    def as_data(self) -> dict[str, Any]:
        """The table as the script reads it."""
        return {
            "tag": "table",
            "alt": self.alt,
            "columns": [[column.name, column.look, column.says] for column in self.columns],
            "rows": [
                [cell if cell is None or isinstance(cell, str | int) else cell.as_data() for cell in row]
                for row in self.rows
            ],
        }


@dataclass(frozen=True, slots=True)
class Dots:
    """What happened when, in lanes: a dot for each, with a line as long as it took.

    Attributes:
        lanes: their names from the top.
        points: lane, left and length in percent of the width, class name, what is said on hover.
        ticks: left in percent, and the time there.
    """

    lanes: Sequence[str]
    points: Sequence[tuple[int, float, float, str, str]]
    ticks: Sequence[tuple[float, str]]
    alt: str

    def as_data(self) -> dict[str, Any]:
        """The plot as the script reads it."""
        points, ticks = [list(point) for point in self.points], [list(tick) for tick in self.ticks]
        return {"tag": "dots", "alt": self.alt, "lanes": list(self.lanes), "points": points, "ticks": ticks}


@dataclass(frozen=True, slots=True)
class Bars:
    """Counts side by side, each a stack of parts.

    Attributes:
        columns: what is said on hover, the label below (empty: none), and from the bottom each part's class name and
            count.
    """

    columns: Sequence[tuple[str, str, Sequence[tuple[str, int]]]]
    alt: str

    def as_data(self) -> dict[str, Any]:
        """The plot as the script reads it."""
        most = max((sum(count for _, count in parts) for _, _, parts in self.columns), default=0)
        columns = [[said, label, [list(part) for part in parts if part[1]]] for said, label, parts in self.columns]
        return {"tag": "bars", "alt": self.alt, "most": most, "columns": columns}
