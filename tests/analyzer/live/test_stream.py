"""What live analysis does with late spans, silent processes, several collectors, errors, and too much."""

from pathlib import Path
from typing import Any

import pytest
from intake import Agent, Intake, Request, written
from made_findings import HandClock
from streams import ACCOUNT, QUEUE, a_stream, run_dry

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.history import History
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.stream import Limits, Stream


def receive(agent: Agent, at: float, task: str = "t1", **more: object) -> Request:
    return agent.access("receive", QUEUE, at, {"noclobber.message.id": task}, **more)


def claimed_twice(intake: Intake) -> tuple[Agent, Agent, Agent]:
    """`maker` sent a task, `one` and `two` took it; `maker` has not said yet that it is complete up to there."""
    one, two, maker = Agent("one"), Agent("two"), Agent("maker")
    intake.take(
        [
            maker.access("send", QUEUE, 0.1, {"noclobber.message.id": "t1"}), maker.mark(0.2, 0.2),
            receive(one, 1.0), receive(two, 1.1), one.mark(2.0, 2.0), two.mark(2.0, 2.0),
        ]
    )  # fmt: skip
    return one, two, maker


def test_waits_for_a_frontier(intake: Intake) -> None:
    """A verdict that rests on an absence waits for who touched the resource, and no longer than that."""
    _, _, maker = claimed_twice(intake)
    stream = a_stream(intake.store)
    run_dry(stream)
    assert intake.findings() == []
    assert stream.waiting == {QUEUE: frozenset({"p-maker"})}
    intake.take([maker.mark(3.0, 3.0)])
    run_dry(stream)
    assert [finding.kind for finding in intake.findings()] == [Kind.DOUBLE_CLAIM]
    assert stream.waiting == {}


def test_a_silent_process_lowers_the_grade_until_it_speaks(intake: Intake) -> None:
    """After 10 silent seconds a verdict is given one grade lower, naming who is silent; its word amends it."""
    _, _, maker = claimed_twice(intake)
    clock = HandClock(SYSTEM.now_ns())
    stream = a_stream(intake.store, clock)
    run_dry(stream)
    clock.move(9)
    run_dry(stream)
    assert intake.findings() == []
    clock.move(2)
    run_dry(stream)
    (given,) = intake.findings()
    assert (given.certainty, given.revision) == (Certainty.POSSIBLE, 1)
    assert any("maker (pid 7)" in each for each in given.missing)
    intake.take([maker.mark(13.0, 13.0)])
    run_dry(stream)
    (amended,) = intake.findings()
    assert (amended.id, amended.certainty, amended.revision) == (given.id, Certainty.LIKELY, 2)
    assert not any("maker" in each for each in amended.missing)


def test_a_start_is_no_silence_and_no_news(intake: Intake) -> None:
    """After a start everybody gets 10 s to speak; what was given before stays meanwhile, and afterwards."""
    claimed_twice(intake)
    clock = HandClock(SYSTEM.now_ns())
    stream = a_stream(intake.store, clock)
    run_dry(stream)
    clock.move(11)
    run_dry(stream)
    (given,) = intake.findings()
    again = a_stream(intake.store, clock)
    run_dry(again)
    assert again.silent == frozenset()
    assert again.waiting == {QUEUE: frozenset({"p-maker"})}
    assert intake.findings() == [given]
    clock.move(11)
    run_dry(again)
    assert "p-maker" in again.silent
    assert intake.findings() == [given]


def test_a_late_span_takes_back(intake: Intake) -> None:
    """A finding that a late access excludes is retracted, with the access as the reason."""
    one, _, maker = claimed_twice(intake)
    intake.take([maker.mark(3.0, 3.0)])
    stream = a_stream(intake.store)
    run_dry(stream)
    (given,) = intake.findings()
    intake.take([one.access("nack", QUEUE, 1.05, {"noclobber.message.id": "t1"}, took=0.001)])
    run_dry(stream)
    assert intake.findings() == []
    (gone,) = intake.findings(status="retracted")
    assert (gone.id, gone.revision) == (given.id, 2)
    assert "a nack by one that arrived later" in gone.explanation
    assert stream.totals.late == 1


def test_a_late_span_amends(intake: Intake) -> None:
    """A certain finding goes out at once; who was overwritten is told as soon as it arrives."""
    victim, writer = Agent("victim"), Agent("writer")
    late = [victim.read(ACCOUNT, "1", 0.9), victim.write(ACCOUNT, "1", "2", 1.0, version__overwritten="1")]
    intake.take([writer.read(ACCOUNT, "1", 0.5), writer.write(ACCOUNT, "1", "3", 1.5, version__overwritten="2")])
    stream = a_stream(intake.store)
    run_dry(stream)
    (given,) = [finding for finding in intake.findings() if finding.kind is Kind.LOST_UPDATE]
    assert given.certainty is Certainty.CERTAIN
    intake.take(late)
    run_dry(stream)
    (amended,) = [finding for finding in intake.findings() if finding.kind is Kind.LOST_UPDATE]
    assert (amended.id, amended.certainty, amended.revision) == (given.id, Certainty.CERTAIN, 2)
    assert amended.agents == ("victim", "writer")


def test_several_collectors(intake: Intake) -> None:
    """A mark counts once what the other collector had open when the mark came has been read, too."""
    one, two = Agent("one"), Agent("two")
    intake.take([receive(one, 1.0), one.mark(2.0, 2.0)], "east")
    intake.take([receive(two, 1.1), two.mark(2.0, 2.0)], "west")
    stream = a_stream(intake.store)
    run_dry(stream)
    assert intake.findings() == []
    assert stream.waiting[QUEUE] == {"p-one", "p-two"}
    intake.take([one.mark(3.0, 3.0)], "east")
    intake.take([two.mark(3.0, 3.0)], "west")
    run_dry(stream)
    (given,) = intake.findings()
    assert (given.kind, given.certainty) == (Kind.DOUBLE_CLAIM, Certainty.LIKELY)


def test_clocks_that_do_not_compare(intake: Intake) -> None:
    """Where clocks do not compare three marks in a row, made after the access had come, prove that all is here."""
    one, two = Agent("one", clock=None), Agent("two", clock=None)
    intake.take([receive(one, 1.0), receive(two, 1.1)])
    stream = a_stream(intake.store)
    run_dry(stream)
    assert intake.findings() == []
    for at in (2.0, 3.0):
        intake.take([one.mark(at, at + 0.01), two.mark(at, at + 0.01)])
        run_dry(stream)
    assert intake.findings() == []
    intake.take([one.mark(4.0, 4.01), two.mark(4.0, 4.01)])
    run_dry(stream)
    assert [finding.kind for finding in intake.findings()] == [Kind.DOUBLE_CLAIM]


def test_a_count_that_is_short_is_a_loss(intake: Intake) -> None:
    """A process that says it sent more than came lost some: the verdict is given, lower, and not waited for."""
    one, two, maker = claimed_twice(intake)
    intake.take([maker.mark(3.0, 3.0, accesses=4), one.mark(3.0, 3.0), two.mark(3.0, 3.0)])
    run_dry(a_stream(intake.store))
    (given,) = intake.findings()
    assert given.certainty is Certainty.POSSIBLE
    assert any("3 of the 4 accesses that maker" in each for each in given.missing)


def test_what_fell_out_is_not_taken_back(intake: Intake) -> None:
    """The kept history is bounded; what falls out of it is counted, is no loss, and no reason to retract."""
    one, two, maker = claimed_twice(intake)
    intake.take([maker.mark(3.0, 3.0)])
    stream = a_stream(intake.store, accesses_max=40, batch_rows_max=10)
    run_dry(stream)
    (given,) = intake.findings()
    for at in range(4, 8):
        intake.take([two.read(f"{ACCOUNT}{n}", "1", at + n / 1000) for n in range(30)])
    run_dry(stream)
    assert stream.window.evicted == 3 + 120 - 40
    assert len(stream.window) == 40
    intake.take([receive(one, 9.0, "t2"), *(agent.mark(10.0, 10.0) for agent in (one, two, maker))])
    run_dry(stream)
    assert intake.findings() == [given]
    again = a_stream(intake.store, accesses_max=40)
    run_dry(again)
    assert intake.findings() == [given]
    assert again.window.losses("p-two") == []
    assert len(again.window) <= 40


def test_a_judge_that_fails_costs_one_resource(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    """An error in judging one resource is told, and all others get their verdicts."""
    one, _, maker = claimed_twice(intake)
    intake.take([maker.mark(3.0, 3.0), one.read(ACCOUNT, "1", 2.5)])

    def judge(history: History, *, resources: frozenset[str] | None = None) -> Evaluation:
        if resources is None or ACCOUNT in resources:
            raise ZeroDivisionError("a bug")
        return evaluate(history, resources=resources)

    stream = a_stream(intake.store, judge=judge)
    run_dry(stream)
    assert [finding.kind for finding in intake.findings()] == [Kind.DOUBLE_CLAIM]
    assert stream.totals.failed >= 1
    assert f"judging {ACCOUNT} failed" in caplog.text


def test_a_certain_finding_that_vanishes_is_told_as_a_bug(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    """A certain finding is never retracted: it stays, and the log says that something is wrong."""
    writer = Agent("writer")
    intake.take([writer.read(ACCOUNT, "1", 0.5), writer.write(ACCOUNT, "1", "3", 1.5, version__overwritten="2")])
    run_dry(a_stream(intake.store))
    before = intake.findings()
    assert before[0].certainty is Certainty.CERTAIN

    def blind(history: History, *, resources: frozenset[str] | None = None) -> Evaluation:
        return Evaluation()

    stream = a_stream(intake.store, judge=blind)
    run_dry(stream)
    assert intake.findings() == before
    assert stream.totals.contradicted == 1
    assert "a bug: the certain finding" in caplog.text


def test_rows_that_cannot_be_read_are_counted(intake: Intake) -> None:
    """A span without what every access must have stops nothing."""
    broken = Agent("broken").read(ACCOUNT, "1", 1.0)
    span = broken["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["attributes"] = [each for each in span["attributes"] if each["key"] != "noclobber.strand"]
    intake.take([broken, Agent("sound").read(ACCOUNT, "1", 1.0)])
    stream = a_stream(intake.store)
    run_dry(stream)
    assert (stream.totals.unreadable, stream.totals.accesses) == (1, 1)


def test_what_is_late_elsewhere_is_found_here(intake: Intake, tmp_path: Path) -> None:
    """A transaction that comes late to what a step had read makes the step's write of something else a stale one."""
    one, two = Agent("one"), Agent("two")
    other = f"{ACCOUNT}:copy"
    early = [
        one.read(ACCOUNT, "1", 1.0), one.write(other, None, "7", 3.0), two.read(f"{ACCOUNT}:x", "1", 0.5),
    ]  # fmt: skip
    txn = {"unit": "t1", "unit__kind": "txn", "txn__id": "t1", "txn__isolation": "read_committed"}
    late = [two.write(ACCOUNT, "1", "2", 2.0, **txn), two.access("commit", ACCOUNT, 2.1, {}, **txn)]
    ends = [agent.mark(9.0) for agent in (one, two)]
    stream = a_stream(intake.store, whole_max=0)
    intake.take(early)
    run_dry(stream)
    assert intake.findings() == []
    intake.take([*late, *ends])
    run_dry(stream)
    expected = evaluate(read_otlp([written(tmp_path, [*early, *late, *ends])])).findings
    assert [finding.kind for finding in expected if finding.resource == other] == [Kind.STALE_WRITE]
    assert [finding.id for finding in intake.findings()] == [finding.id for finding in expected]


def test_a_circle_of_eight_waits(intake: Intake, tmp_path: Path) -> None:
    """Each holds one lock and asks in vain for the next one's: one judgement sees the whole circle, as in files."""
    agents = [Agent(f"a{number}") for number in range(8)]

    def lock(agent: Agent, number: int, at: float, **more: object) -> Request:
        owner = {"noclobber.lock.owner": f"{agent.name}-1"}
        return agent.access("lock", f"redis://h:6379/0/lock:{number}", at, owner, **more)

    taken = [lock(agent, number, 1.0 + number / 100) for number, agent in enumerate(agents)]
    asked = [
        lock(agent, following, 2.0 + following / 100, took=1.0, outcome="error", waits__for=f"a{following}-1")
        for agent, following in zip(agents, (1, 2, 3, 4, 5, 6, 7, 0), strict=True)
    ]
    requests = [*taken, *asked, *(agent.mark(9.0) for agent in agents)]
    stream = a_stream(intake.store, whole_max=0)
    for request in requests:
        intake.take([request])
        run_dry(stream)
    expected = evaluate(read_otlp([written(tmp_path, requests)])).findings
    assert [finding.kind for finding in expected] == [Kind.DEADLOCK]
    assert [finding.id for finding in intake.findings()] == [finding.id for finding in expected]


def test_others_write_too(intake: Intake) -> None:
    """What `noclobber analyze` wrote beside a running analyzer is read before the next revision is numbered."""
    from noclobber_analyzer.ledger import Ledger

    _, _, maker = claimed_twice(intake)
    intake.take([maker.mark(3.0, 3.0)])
    stream = a_stream(intake.store)
    run_dry(stream)
    (given,) = intake.findings()
    Ledger(intake.store).write([], {given.id: "somebody said so"}, SYSTEM.now_ns())
    fourth = Agent("fourth")
    intake.take([fourth.read(QUEUE, "1", 5.0), fourth.mark(6.0, 6.0)])
    run_dry(stream)
    ((again,), rows) = (intake.findings(), intake.store.rows("SELECT revision FROM findings ORDER BY revision"))
    assert (again.id, again.revision) == (given.id, 3)
    assert rows == [(1,), (2,), (3,)]


def test_defended_accesses_are_written_once(intake: Intake) -> None:
    """However often an access is judged, it is one row; what arrived later may take it back."""
    one, two = Agent("one"), Agent("two")
    refused: dict[str, Any] = {"guard": "version", "version__expected": "1", "outcome": "rejected"}
    intake.take(
        [one.write(ACCOUNT, None, "2", 0.9), two.read(ACCOUNT, "1", 0.5), two.write(ACCOUNT, "1", "2", 1.5, **refused)]
    )
    stream = a_stream(intake.store)
    run_dry(stream)
    intake.take([one.read(ACCOUNT, "2", 2.0)])
    run_dry(stream)
    run_dry(a_stream(intake.store))
    assert intake.defended() == {"rejected": 1}
    assert intake.counts()[1] == 1


def test_silence_that_falls_between_two_looks(intake: Intake) -> None:
    """Judging took so long that a process seemed silent meanwhile: nothing is judged by that which nobody mends."""
    clock = HandClock(SYSTEM.now_ns())

    def slowly(history: History, *, resources: frozenset[str] | None = None) -> Evaluation:
        clock.move(60)
        return evaluate(history, resources=resources)

    other = Agent("other")
    intake.take([other.write(ACCOUNT, "1", "2", 0.05), other.mark(9.0)])
    _, _, maker = claimed_twice(intake)
    stream = Stream(intake.store, slowly, clock, "live", Limits(whole_max=0, resources_max=1), sifts=False)
    stream.open()
    stream.step()
    assert list(stream._dirty) == [QUEUE]
    stream.step()
    assert intake.findings() == []
    intake.take([maker.mark(3.0, 3.0)])
    run_dry(stream)
    (finding,) = intake.findings()
    assert not any("record ends" in missing for missing in finding.missing)
