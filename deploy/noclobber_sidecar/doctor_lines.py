"""One line of what `noclobber doctor` found."""

from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = ["Line", "State", "fine", "note", "problem"]


class State(StrEnum):
    """What a line means; only a problem makes the exit code 1."""

    FINE = "fine"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Line:
    """An answer to one question.

    Attributes:
        area: instrumented, reached, dropped, clocks, keys, names or store.
        text: what was found. advice: what to do; "" where there is nothing to do.
    """

    area: str
    state: State
    text: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def fine(area: str, text: str) -> Line:
    """Nothing to do."""
    return Line(area, State.FINE, text)


def note(area: str, text: str, advice: str = "") -> Line:
    """Worth knowing."""
    return Line(area, State.NOTE, text, advice)


def problem(area: str, text: str, advice: str) -> Line:
    """Something is wrong."""
    return Line(area, State.PROBLEM, text, advice)
