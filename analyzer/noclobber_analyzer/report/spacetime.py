"""A space-time diagram in text: who did what to shared state, in which order.

A column for each strand, a row for each access in the order in which they ended, time goes down. Accesses that a
finding rests on carry a mark and their role. Names come from outside: control characters are shown as escapes.

Source: Lamport, Time, Clocks, and the Ordering of Events, CACM 1978, figure 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from noclobber_analyzer import phrases
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.report.text import plain

__all__ = ["Event", "spacetime"]

COLUMN_MAX: Final = 34
ROWS_MAX: Final = 200
"""Accesses that are drawn; of more the first and the last."""


@dataclass(frozen=True, slots=True)
class Event:
    """One access, as it is drawn.

    Attributes:
        span_id: to find its role in a finding. lane: whose column. words: what it was.
    """

    span_id: str
    lane: str
    words: str


def spacetime(events: Sequence[Event], findings: Sequence[Finding] = ()) -> Iterator[str]:
    r"""The lines of the diagram of `events`, which come in their order.

    >>> rows = [Event("1", "A", "read acct"), Event("2", "B", "read acct"), Event("3", "A", "write acct")]
    >>> print("\n".join(spacetime(rows)))
         A           B
      1  read acct   |
      2  |           read acct
      3  write acct  |
    """
    roles = {access.span_id: access.role for finding in findings for access in finding.accesses}
    cells = {event.span_id: _cell(event, roles) for event in events}
    lanes = list(dict.fromkeys(event.lane for event in events))
    widths = {
        lane: max(len(phrases.short(lane)), *(len(cells[each.span_id]) for each in events if each.lane == lane))
        for lane in lanes
    }
    yield _row("     ", ((phrases.short(lane), widths[lane]) for lane in lanes))
    for number, event in _shown(events):
        if event is None:
            yield f"     ... {number} more ..."
            continue
        row = ((cells[event.span_id] if lane == event.lane else "|", widths[lane]) for lane in lanes)
        yield _row(f"{number:>3}  ", row)


def _row(head: str, cells: Iterable[tuple[str, int]]) -> str:
    return plain((head + "  ".join(f"{words:<{width}}" for words, width in cells)).rstrip())


def _cell(event: Event, roles: dict[str, str]) -> str:
    words = event.words if len(event.words) <= COLUMN_MAX else event.words[: COLUMN_MAX - 1] + "…"
    role = roles.get(event.span_id)
    return f"{words}  <- {role.replace('_', ' ')}" if role else words


def _shown(events: Sequence[Event]) -> Iterator[tuple[int, Event | None]]:
    """The events with their numbers, and in the middle of very many how many are left out."""
    half = ROWS_MAX // 2
    if len(events) <= ROWS_MAX:
        yield from enumerate(events, 1)
        return
    yield from enumerate(events[:half], 1)
    yield len(events) - 2 * half, None
    yield from enumerate(events[-half:], len(events) - half + 1)
