"""Live, what a clock had told is taken back once a strand's numbers show that the clock was set."""

from pathlib import Path

from intake import Agent, Intake, written
from streams import ACCOUNT, a_stream, run_dry

from noclobber.contract import Certainty
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp

OTHER = "redis://h:6379/0/acct:43"


def test_what_a_clock_had_told_is_taken_back(intake: Intake, tmp_path: Path) -> None:
    """A stale read is certain while its clock is believed; no longer once a later call had ended before an earlier."""
    writer, reader = Agent("writer"), Agent("reader")
    requests = [writer.write(ACCOUNT, "1", "2", 20.0), reader.read(ACCOUNT, "1", 21.0)]
    intake.take([*requests, writer.mark(30.0, 29.0), reader.mark(30.0, 29.0)])
    stream = a_stream(intake.store)
    run_dry(stream)
    (finding,) = intake.findings()
    assert (finding.kind, finding.certainty) == ("stale_read", Certainty.CERTAIN)
    requests.append(writer.read(OTHER, "1", 10.0))
    intake.take([requests[-1], writer.mark(40.0), reader.mark(40.0)])
    run_dry(stream)
    assert intake.findings() == []
    (gone,) = intake.findings(status="retracted")
    assert gone.id == finding.id
    assert "set back" in gone.explanation
    assert stream.totals.contradicted == 0
    assert evaluate(read_otlp([written(tmp_path, requests)])).findings == []


def test_nothing_is_passed_over_by_such_a_clock(intake: Intake) -> None:
    """What reads like one call after the other by a clock that was set is judged."""
    writer, reader = Agent("writer"), Agent("reader")
    intake.take([writer.write(OTHER, "1", "2", 20.0), writer.read(OTHER, "2", 10.0)])
    stream = a_stream(intake.store)
    run_dry(stream)
    before = stream.totals.quiet
    intake.take([writer.write(ACCOUNT, "1", "2", 30.0), reader.read(ACCOUNT, "2", 31.0)])
    run_dry(stream)
    assert stream.totals.quiet == before
