"""What of an issue is to be told next, and when: openings and ends at once, further findings gathered.

The analyzer writes a row for everything that may be told (`noclobber_analyzer.issues.due`), as often as the most
impatient route asks (`finest`). Here one route's own waits are applied to the rows that it has not been told of. It is
a pure function of the log, of what was begun to be delivered, and of the time, so a sender that is started again
decides the same:

- An opening, a regression, an end, and an issue that has become worse leave at once; so does whatever is first told of
  an issue to this route. Further findings wait `group_wait` from the first of them, and `group_interval` from the
  last telling; reminders `repeat` from it.
- An update is superseded by whatever comes after it: each row shows the issue as a whole.
- What is held back (silence, inhibition, an issue that somebody silenced or accepted) waits. If the issue ends while
  its opening is held back, neither is told.
- What was begun goes on: its receiver may have it already.

Source: Alertmanager (group_wait, group_interval, repeat_interval); design alerts-and-safety.md 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from noclobber_analyzer.alerts.routes import Route
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.issues import Event, Policy, Transition

__all__ = ["Held", "Untold", "finest", "next_telling"]

_OPENINGS = frozenset({Event.OPENED, Event.REGRESSED})
_ENDS = frozenset({Event.RESOLVED, Event.RETRACTED})


@dataclass(frozen=True, slots=True)
class Untold:
    """A row that a route wants and that is not delivered for good.

    Attributes:
        row: of the log. data: the issue in it.
        is_begun: an attempt was made.
        is_asked: a person wants exactly this to be sent (a sample, a dead letter): nothing holds it back.
    """

    row: Transition
    data: Mapping[str, object]
    is_begun: bool = False
    is_asked: bool = False


Held = Callable[[Untold, int], bool]
"""Whether a row is held back at a time."""


def finest(routes: Sequence[Route], default: Policy) -> Policy:
    """How often the analyzer has to write rows so that each route can have its waits."""
    if not routes:
        return default
    repeats = [route.repeat_s for route in routes if route.repeat_s > 0]
    return Policy(
        group_wait_s=min(route.group_wait_s for route in routes),
        group_interval_s=min(route.group_interval_s for route in routes),
        repeat_s=min(repeats, default=0.0),
        quiet_s=default.quiet_s,
    )


def next_telling(
    untold: Sequence[Untold], route: Route, told_ns: int, held: Held, now_ns: int, *, reminded: bool = True
) -> tuple[Untold, int] | None:
    """The row of one issue that a route is to be told of next, and when its first attempt is due; None: none now.

    Args:
        untold: in the log's order.
        route: whose waits count.
        told_ns: when this route was last told of the issue; 0: never, or longer ago than the log is read.
        held: what is held back.
        now_ns: wall time.
        reminded: False: somebody looks after the issue, so reminders are pointless.
    """
    sure = next((each for each in untold if each.is_begun or each.is_asked), None)
    if sure is not None:
        return sure, sure.row.at_ns
    kept = _without_pairs([each for each in untold if reminded or _because(each) != "repeat"], held)
    if not kept:
        return None
    updates = [each for each in kept if each.row.kind == Event.UPDATED]
    standing = [each for each in kept if each.row.kind != Event.UPDATED or each is kept[-1]]
    first = standing[0]
    if held(first, now_ns):
        return None
    if first.row.kind != Event.UPDATED:
        return first, first.row.at_ns
    dues = [due_ns for each in updates if (due_ns := _due_ns(each, route, told_ns)) is not None]
    return (first, min(dues)) if dues else None


def _without_pairs(untold: Sequence[Untold], held: Held) -> list[Untold]:
    """Without an opening and its end where both were held back when the issue ended, and what lay between."""
    kept: list[Untold] = []
    for each in untold:
        opened = next((at for at, other in enumerate(kept) if other.row.kind in _OPENINGS), None)
        if each.row.kind in _ENDS and opened is not None and held(each, each.row.at_ns):
            del kept[opened:]
        else:
            kept.append(each)
    return kept


def _because(each: Untold) -> str:
    return str(each.row.content.get("because", "more")) if each.row.kind == Event.UPDATED else ""


def _due_ns(each: Untold, route: Route, told_ns: int) -> int | None:
    """When an update may be told; None: never."""
    why = _because(each)
    if why == "worse" or not told_ns:
        return each.row.at_ns
    if why == "repeat":
        return told_ns + int(route.repeat_s * SECOND_NS) if route.repeat_s > 0 else None
    fresh = each.row.content.get("fresh_ns")
    fresh_ns = fresh if isinstance(fresh, int) else 0
    waits_ns = (fresh_ns + int(route.group_wait_s * SECOND_NS), told_ns + int(route.group_interval_s * SECOND_NS))
    return max(each.row.at_ns, *waits_ns)
