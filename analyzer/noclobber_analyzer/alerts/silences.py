"""Silences: for a while nothing is sent about issues that some matchers mean.

A silence is a row in the log of transitions (`silence.added`: matchers, start, end; its actor and comment), its early
end another one (`silence.ended`). So it outlives every process, and who made it and why can be read. What is held back
is told after the silence, if it is still true then. To silence one issue by its own button is another thing: that
changes the issue's state (`noclobber_analyzer.issues.silence`).

Source: Alertmanager's silences.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from noclobber_analyzer.alerts.matchers import Matcher, matchers_from, matches
from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.issues import Transition

__all__ = [
    "SILENCE_ADDED", "SILENCE_ENDED", "Silence", "end_row", "silence_record", "silence_row", "silences_from",
    "silencing",
]  # fmt: skip

SILENCE_ADDED, SILENCE_ENDED = "silence.added", "silence.ended"
LENGTH_MAX_NS = 366 * 86_400 * SECOND_NS
COMMENT_MAX = 500


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence.

    Attributes:
        id: the row's. matchers: all of them have to fit.
        start_ns, end_ns: half open; the end is the early one where somebody ended it.
        comment: why. author: who made it. ended_by: who ended it early; empty: nobody.
    """

    id: str
    matchers: tuple[Matcher, ...]
    start_ns: int
    end_ns: int
    comment: str
    author: str
    ended_by: str = ""

    def is_active(self, at_ns: int) -> bool:
        """Whether it is in force at a time."""
        return self.start_ns <= at_ns < self.end_ns


def silence_row(
    matchers: Iterable[str], start_ns: int, end_ns: int, *, comment: str, actor: str, now_ns: int
) -> Transition:
    """The row that makes a silence.

    Args:
        matchers: as typed, such as `kind=lost_update`.
        start_ns: when it begins to hold.
        end_ns: when it ends.
        comment: why; it has to be given, since others will wonder.
        actor: who makes it.
        now_ns: wall time.

    Raises:
        ValueError: what was typed makes no sense; the message says why.
    """
    read = matchers_from(matchers)
    if not comment.strip():
        raise ValueError("a silence needs a comment: it says why nobody is to be told")
    if end_ns <= max(start_ns, now_ns):
        raise ValueError("a silence has to end after its start, and in the future")
    if end_ns - start_ns > LENGTH_MAX_NS:
        raise ValueError("a silence lasts a year at most; what is intended for ever is accepted, issue by issue")
    body = msgspec.json.encode({"matchers": list(map(str, read)), "start_ns": start_ns, "end_ns": end_ns}).decode()
    cause = f"{SILENCE_ADDED}\0{body}\0{actor}\0{now_ns}"
    name = blake2b(cause.encode(), digest_size=8).hexdigest()
    return Transition(name, name, now_ns, SILENCE_ADDED, "", "", actor, comment.strip()[:COMMENT_MAX], body)


def end_row(silence: Silence, *, actor: str, now_ns: int) -> Transition:
    """The row that ends a silence early.

    Raises:
        ValueError: it is over already.
    """
    if silence.end_ns <= now_ns:
        raise ValueError(f"silence {silence.id} is over")
    name = blake2b(f"{SILENCE_ENDED}\0{silence.id}".encode(), digest_size=16).hexdigest()
    return Transition(name, silence.id, now_ns, SILENCE_ENDED, "", "", actor, "", "")


def silences_from(rows: Iterable[Transition]) -> list[Silence]:
    """All silences of the log, the latest first; a row that cannot be read is none."""
    ends: dict[str, Transition] = {}
    made: dict[str, Silence] = {}
    for row in sorted(rows, key=lambda row: (row.at_ns, row.id)):
        if row.kind == SILENCE_ENDED:
            ends.setdefault(row.issue, row)
        elif row.kind == SILENCE_ADDED and (silence := _silence(row)) is not None:
            made[row.issue] = silence
    cut = [_cut(silence, ends.get(name)) for name, silence in made.items()]
    return sorted(cut, key=lambda silence: (-silence.start_ns, silence.id))


def silencing(silences: Sequence[Silence], data: Mapping[str, object], at_ns: int) -> Silence | None:
    """The silence that holds an issue back at a time."""
    return next((each for each in silences if each.is_active(at_ns) and matches(each.matchers, data)), None)


def silence_record(silence: Silence) -> dict[str, object]:
    """A silence as JSON has it."""
    return {
        "id": silence.id, "matchers": [str(each) for each in silence.matchers], "start_ns": silence.start_ns,
        "end_ns": silence.end_ns, "comment": silence.comment, "author": silence.author, "ended_by": silence.ended_by,
    }  # fmt: skip


def _silence(row: Transition) -> Silence | None:
    content = row.content
    words, start_ns, end_ns = content.get("matchers"), content.get("start_ns"), content.get("end_ns")
    if not isinstance(words, list) or not isinstance(start_ns, int) or not isinstance(end_ns, int):
        return None
    try:
        return Silence(row.issue, matchers_from(map(str, words)), start_ns, end_ns, row.reason, row.actor)
    except ValueError:
        return None


def _cut(silence: Silence, end: Transition | None) -> Silence:
    if end is None or end.at_ns >= silence.end_ns:
        return silence
    return Silence(
        silence.id, silence.matchers, silence.start_ns, end.at_ns, silence.comment, silence.author, end.actor
    )
