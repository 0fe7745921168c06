"""A state whose writer still waits for its call to return is not called nobody's: no finding, no wrong one later."""

from typing import Any

import pytest
from intake import Agent, Intake
from streams import ACCOUNT, a_stream, run_dry

from noclobber.contract import Certainty, Kind

SURELY_RETURNED_S = 6.5


def read_of_what_is_in_flight(intake: Intake) -> tuple[Any, Agent, Agent]:
    """`writer` made 1 and 2; 3 was read before its write returned, and so before anybody could send its span."""
    writer, reader = Agent("writer"), Agent("reader")
    stream = a_stream(intake.store)
    intake.take(
        [
            writer.write(ACCOUNT, "0", "1", 1.0), writer.write(ACCOUNT, "1", "2", 1.1),
            reader.read(ACCOUNT, "3", 2.0), reader.mark(2.1, 2.1), writer.mark(2.1, 2.1),
        ]
    )  # fmt: skip
    run_dry(stream)
    return stream, writer, reader


def test_who_is_late_is_not_unknown(intake: Intake) -> None:
    """Its span comes a second later: nothing was said, and nothing is."""
    stream, writer, reader = read_of_what_is_in_flight(intake)
    assert intake.findings() == []
    intake.take([writer.write(ACCOUNT, "2", "3", 1.999, took=0.9), writer.mark(3.0, 3.0), reader.mark(3.0, 3.0)])
    run_dry(stream)
    intake.take([writer.mark(20.0, 20.0), reader.mark(20.0, 20.0)])
    run_dry(stream)
    assert intake.findings() == []


@pytest.mark.parametrize("last", [SURELY_RETURNED_S, None], ids=["frontier", "end"])
def test_who_never_comes_is(last: float | None, intake: Intake) -> None:
    """Once every call that was under way would have been told of: a number that nobody made."""
    stream, writer, reader = read_of_what_is_in_flight(intake)
    until = None if last is None else 2.0 + last
    intake.take([each.mark(9.0, until) for each in (writer, reader)])
    run_dry(stream)
    assert [(each.kind, each.certainty) for each in intake.findings()] == [(Kind.UNKNOWN_WRITER, Certainty.CERTAIN)]
