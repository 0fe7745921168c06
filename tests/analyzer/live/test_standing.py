"""What the store holds of the resources that are being judged."""

from typing import Any

import pytest
from intake import Agent, Intake
from made_findings import HandClock
from streams import ACCOUNT, a_stream, run_dry

from noclobber.contract import Defence, Kind
from noclobber_analyzer.clock import SECOND_NS, SYSTEM
from noclobber_analyzer.evaluate import Defended
from noclobber_analyzer.standing import Defences

ONE = Defended("0" * 32, "1" * 16, Defence.LOCK, "mem://x", "a", 5)


@pytest.mark.parametrize("step_ns", [0, -1_000], ids=["stands still", "goes back"])
def test_what_was_said_last_counts(empty_store: Any, step_ns: int) -> None:
    """Defended, accused, defended and accused again while the clock stands still or goes back: also after a restart."""
    defences, now_ns = Defences(empty_store), SYSTEM.now_ns()  # of today: old rows go by themselves
    for times in range(4):
        defended = [] if times % 2 else [ONE]
        defences.write(defended, ["mem://x"], now_ns)
        now_ns += step_ns
        rows = empty_store.rows("SELECT span_id, reason FROM defences")
        assert [(str(span), str(reason)) for span, reason in rows] == [(each.span_id, "lock") for each in defended]
        if times == 1:
            defences = Defences(empty_store)
            defences.read(0)


@pytest.mark.parametrize("behind_s", [0, 300])
def test_a_clock_that_is_behind_the_collectors(intake: Intake, behind_s: int) -> None:
    """What an analyzer found by a clock that is behind is taken back like any other, once somebody else has written."""
    writer, reader = Agent("writer"), Agent("reader")
    clock = HandClock(SYSTEM.now_ns() - behind_s * SECOND_NS)
    stream = a_stream(intake.store, clock)
    made, missing = writer.write(ACCOUNT, "0", "1", 1.0), writer.write(ACCOUNT, "1", "2", 1.1)
    later = writer.write("redis://h/0/else", "0", "1", 1.2)  # so that one before is missing, and might have made it
    first = [made, reader.read(ACCOUNT, "2", 2.0), later]
    intake.take([*first, writer.mark(9.0, None), reader.mark(9.0, None)])
    run_dry(stream)
    (found,) = intake.findings()
    assert found.kind is Kind.UNKNOWN_WRITER
    intake.store.command(
        "INSERT INTO findings SELECT * REPLACE (repeat('f', 32) AS id, 'retracted' AS status) FROM findings"
    )
    intake.take([missing])
    run_dry(stream)
    newest = "SELECT argMax(status, revision) FROM findings WHERE id = {id:String}"
    assert intake.store.rows(newest, {"id": found.id}) == [("retracted",)]
