"""What all latent shapes have in common: two units' turns at one thing, and the luck that kept them apart.

A *turn* is one unit's reading of a thing and its change of it. Turns whose clocks compare are laid out by the call of
the reading, and each is compared with the nearest foreign one before it.

Source: detection.md 5.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from noclobber.contract import Certainty
from noclobber_analyzer.access import Access
from noclobber_analyzer.clocks import local_ns, slack_ns
from noclobber_analyzer.evidence import Evidence
from noclobber_analyzer.holds import lock_name
from noclobber_analyzer.latent.ranking import MARGIN_NS
from noclobber_analyzer.order import Answer
from noclobber_analyzer.state import is_foreign
from noclobber_analyzer.verdict import SPENT, Candidate, Grade, Link, hole_between, partial

__all__ = ["BACK_MAX", "Escape", "Luck", "Turn", "graded", "neighbours", "unordered", "unordered_link"]

BACK_MAX: Final = 8
"""Earlier units that a later one is compared with."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One unit's turn at a thing.

    Attributes:
        first: what it read. change: by what it changed the thing. last: what it did last because of what it read.
    """

    first: Access
    change: Access
    last: Access

    @property
    def window_ns(self) -> int:
        """From the call of the read to the return of the last access."""
        return max(self.change.end_ns, self.last.end_ns) - self.first.start_ns


class Luck(NamedTuple):
    """By how much two turns missed each other, and what a search for an order between them says."""

    margin_ns: int
    path: Answer


class Escape(NamedTuple):
    """A latent candidate, and the two turns, earlier first."""

    candidate: Candidate
    earlier: Turn
    later: Turn


def neighbours(turns: Iterable[Turn], evidence: Evidence) -> Iterator[tuple[Turn, Turn, Luck]]:
    """Turns at one thing with the nearest foreign one before them, where nothing but luck kept the two apart."""
    by_clock: dict[str, list[Turn]] = defaultdict(list)
    for turn in turns:
        process = turn.change.process
        by_clock[process.clock or process.host or process.id].append(turn)
    for own in by_clock.values():
        own.sort(key=lambda turn: (local_ns(turn.first.process, turn.first.start_ns), turn.first.span_id))
        for place, later in enumerate(own):
            near = reversed(own[max(0, place - BACK_MAX) : place])
            earlier = next((turn for turn in near if is_foreign(turn.change, later.change)), None)
            found = _apart(earlier, later, evidence) if earlier is not None else None
            if earlier is not None and found is not None:
                yield earlier, later, found


def _apart(earlier: Turn, later: Turn, evidence: Evidence) -> Luck | None:
    slack = slack_ns(earlier.change.process, later.first.process)
    if slack is None or _common_lock(earlier, later):
        return None
    seen_from = evidence.fates.seen_from(earlier.change)
    ended_ns, began_ns = (
        local_ns(seen_from.process, seen_from.end_ns),
        local_ns(later.first.process, later.first.start_ns),
    )
    margin = began_ns - ended_ns - slack
    if not 0 < margin < max(earlier.window_ns, later.window_ns, MARGIN_NS):
        return None
    path = evidence.order.path(earlier.change, later.first)
    return None if path is Answer.YES else Luck(margin, path)


def _common_lock(one: Turn, other: Turn) -> bool:
    held = [{lock_name(lock) for lock in a.locks} for turn in (one, other) for a in (turn.first, turn.change)]
    return bool(set.intersection(*held))


def unordered_link(earlier: Turn, later: Turn) -> Link:
    """The link between the two turns: what would have had to wait, and did not."""
    return Link(earlier.change, later.first, "unordered", "nothing made this wait for the other")


def unordered(path: Answer) -> Grade:
    """How sure a pair is that no search found ordered."""
    grade = Grade().at_most(Certainty.LIKELY, "a run in which the two overlap: versions can't show what did not happen")
    if path is Answer.UNKNOWN:
        grade = grade.at_most(Certainty.POSSIBLE, SPENT)
    return grade


def graded(escape: Escape, evidence: Evidence) -> Candidate:
    """A candidate with what the completeness of the record makes of it: only those that are told pay for that."""
    candidate = escape.candidate
    absence = evidence.absence(candidate.resource, escape.earlier.first, escape.later.last)
    grade = candidate.grade.resting_on(absence)
    if any(hole_between(evidence.history, None, turn.last) for turn in (escape.earlier, escape.later)):
        grade = grade.at_most(
            Certainty.POSSIBLE, "the lost spans of the two strands: one may have waited for the other"
        )
    return replace(candidate, grade=partial(grade, [access for access, _ in candidate.roles]))
