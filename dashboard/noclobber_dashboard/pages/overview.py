"""Is state being lost right now, where, and is the recording itself sound?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from noclobber_dashboard.components.prose import Bars, Node, Shape, Since, prose
from noclobber_dashboard.emptiness import RUN_SNIPPET, empty_box
from noclobber_dashboard.pages.tables import (
    DEFENDED_WORDS,
    SEVERITY_COLORS,
    finding_link,
    resource_link,
    tile,
)
from noclobber_dashboard.parts import Part
from noclobber_dashboard.queries import Queries
from noclobber_dashboard.records import FindingHead
from noclobber_dashboard.retelling import certainty_look, severity_look
from noclobber_dashboard.serving import served
from noclobber_dashboard.wording import duration, kind_title, plural, short_name, shorten

__all__ = ["PART", "render"]

REFRESH_S: Final = 4
MINUTES_SHOWN: Final = 30
NEWEST_SHOWN: Final = 6
HOTTEST_SHOWN: Final = 8
HOURS_SHOWN: Final = 24
HOUR_S: Final = 3_600
HOUR_NS: Final = HOUR_S * 1_000_000_000
HOURS_LABELLED: Final = 4
"""Every so many hours one is named."""


def render() -> None:
    """Show the overview, which keeps itself fresh."""
    prose([Node("h1", children=("Overview",))], key="overview-title")
    served().parts.show("overview")


def _parts(queries: Queries, _asked: Mapping[str, str]) -> Sequence[Shape]:
    totals = queries.totals()
    found = [head for head in queries.recent_findings() if head.status != "retracted"]
    if not totals.get("accesses") and not found:
        words = "Start an agent with its shared state recorded, or run `noclobber demo` to see a race between two."
        return [empty_box("Nothing has arrived yet", words, RUN_SNIPPET)]
    shown = [_tiles(queries, found), *_defended(queries)]
    shown.append(Node("div", "beside", (_newest(queries), _hottest(queries))))
    return [Node("div", "stack-of", [*shown, *_per_hour(queries, found)])]


def _tiles(queries: Queries, found: Sequence[FindingHead]) -> Node:
    rates = queries.rates(MINUTES_SHOWN)
    counted = queries.counted()
    delays = sorted(head.found_ns - head.last_ns for head in found if head.found_ns > head.last_ns > 0)
    holes = sum(record.holes for record in queries.processes())
    dropped = sum(record.dropped for record in queries.processes())
    critical = counted.get("critical", 0)
    columns = [(plural(count, "access"), "", (("", count),)) for count in rates]
    return Node("div", "tiles", (
        tile("Findings", f"{counted.get('findings', 0):,}", "races on shared state"),
        tile("Critical", f"{critical:,}", "the gravest of them", alarm=critical > 0),
        tile("Found after", duration(delays[len(delays) // 2]) if delays else "none yet",
             "median, from the race's end to its finding"),
        tile("Accesses", f"{sum(rates):,}", f"last {MINUTES_SHOWN} min",
             Bars(columns, f"accesses in each of the last {MINUTES_SHOWN} minutes")),
        tile("Lost on the way", f"{holes + dropped:,}",
             f"{holes:,} never arrived, {dropped:,} dropped by agents" if holes + dropped
             else "nothing is known to be missing", alarm=holes + dropped > 0),
    ))  # fmt: skip


def _newest(queries: Queries) -> Node:
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
                Node("span", "when", (Since(head.last_ns),)),
            ),
        )
        for head in queries.worst(NEWEST_SHOWN)
    ]  # fmt: skip
    empty = [Node("p", "quiet", ("No finding: nothing recorded so far was lost.",))]
    return Node("div", "card", (Node("h2", children=("Worst and newest",)), *(rows or empty)))


def _defended(queries: Queries) -> Iterator[Node]:
    """One line: what guards, locks and the store itself held."""
    counts = queries.defended()
    if not counts:
        return
    pills = [
        Node(
            "span", "held", (Node("b", children=(f"{row.count:,}",)), f" {DEFENDED_WORDS.get(row.reason, row.reason)}")
        )
        for row in counts
    ]
    label = Node("span", "quiet", ("Races that were prevented, last 24 h",))
    yield Node("div", "strip holds", (label, *pills))


def _hottest(queries: Queries) -> Node:
    rows = [
        Node("div", "row narrow", (
            Node("span", f"pill {severity_look(each.severity)}", (f"{each.count:,}",),
                 title=f"{each.severity} at worst"),
            Node("span", "what", (Node("a", href=resource_link(each.resource), title=each.resource,
                                     children=(Node("code", children=(shorten(each.resource, 44),)),)),)),
        ))
        for each in list(queries.findings_by_resource().values())[:HOTTEST_SHOWN]
    ]  # fmt: skip
    empty = [Node("p", "quiet", ("None.",))]
    return Node("div", "card", (Node("h2", children=("Resources with most findings",)), *(rows or empty)))


def _per_hour(queries: Queries, found: Sequence[FindingHead]) -> Iterator[Node]:
    if not found:
        return
    newest = max(head.last_ns for head in found) // HOUR_NS
    oldest = newest - HOURS_SHOWN + 1
    counted = queries.findings_by_hour(oldest * HOUR_NS)
    columns = []
    for hour in range(oldest, newest + 1):
        counts = {name: counted.get((hour, name), 0) for name in SEVERITY_COLORS}
        parts = [(severity_look(name), count) for name, count in reversed(counts.items())]
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        clock = time.strftime("%H:%M", time.gmtime(hour * HOUR_S))
        columns.append((f"{clock} UTC: {said or 'none'}", clock if hour % HOURS_LABELLED == 0 else "", parts))
    legend = [Node("span", f"pill {severity_look(name)}", (name,)) for name in SEVERITY_COLORS]
    title = Node("div", "head", (Node("h2", children=("Findings per hour (UTC)",)), *legend))
    yield Node("div", "card", (title, Bars(columns, "findings in each of the last 24 hours, by severity")))


PART: Final = Part("overview", REFRESH_S, _parts)
