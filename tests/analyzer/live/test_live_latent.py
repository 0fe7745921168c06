"""What luck kept apart, found live: with nothing else to do, one for an issue and day, and never an alert."""

from typing import Any

import pytest
from intake import Agent, Intake, Request
from made_findings import HandClock
from streams import ACCOUNT, a_stream, run_dry

from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.history import History
from noclobber_analyzer.issue_log import IssueKeeper, read_issues
from noclobber_analyzer.stream import Stream

QUEUE = "redis://h:6379/0/handover"


class Lucky:
    """Two agents that change one account in turn, so many seconds apart; time is the test's."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.clock = HandClock(SYSTEM.now_ns())
        self.first, self.second = Agent("first"), Agent("second")
        self.version = 1

    def turns(self, at: float, apart: float, resource: str = ACCOUNT) -> list[Request]:
        """One changes it, then the other."""
        requests = []
        for agent, began in ((self.first, at), (self.second, at + 0.2 + apart)):
            unit = f"{agent.name}-{at}"
            requests.append(agent.read(resource, str(self.version), began, unit=unit))
            requests.append(agent.write(resource, str(self.version), str(self.version + 1), began + 0.199, unit=unit))
            self.version += 1
        return [*requests, self.first.mark(at + 100, at + 100), self.second.mark(at + 100, at + 100)]

    def latent(self, status: str = "open") -> list[Finding]:
        return [finding for finding in self.intake.findings(status=status) if not finding.manifest]

    def minute(self, stream: Stream) -> None:
        """A minute passes."""
        self.clock.move(61)
        stream.deaf()
        run_dry(stream)


@pytest.fixture
def lucky(intake: Intake) -> Lucky:
    return Lucky(intake)


def test_after_a_quiet_minute(lucky: Lucky) -> None:
    """It is looked for once nothing else is to be done, and told with its margin; once."""
    lucky.intake.take(lucky.turns(1.0, apart=0.4))
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    assert lucky.intake.findings() == []
    lucky.minute(stream)
    (finding,) = lucky.latent()
    assert (str(finding.kind), str(finding.certainty), finding.margin_ns) == ("lost_update", "likely", 400_000_000)
    before = lucky.intake.counts()
    lucky.minute(stream)
    again = a_stream(lucky.intake.store, lucky.clock)
    run_dry(again)
    lucky.minute(again)
    assert lucky.intake.counts() == before


def test_no_issue_and_no_alert(lucky: Lucky) -> None:
    """Nobody is told of what did not happen, though a manifest finding of the same kind stands beside it."""
    lucky.intake.take(lucky.turns(1.0, apart=0.4))
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    keeper = IssueKeeper(lucky.intake.store, lucky.clock)
    assert keeper.turn() == []
    lucky.clock.move(61)
    stream.deaf()
    keeper.noticed(stream.step()[1])
    assert len(lucky.latent()) == 1
    assert keeper.turn() == []
    assert read_issues(lucky.intake.store, lucky.clock) == {}


def test_the_narrowest_stands(lucky: Lucky) -> None:
    """A narrower escape of the same issue takes the place of the one before; a wider one changes nothing."""
    stream = a_stream(lucky.intake.store, lucky.clock)
    for at, apart in ((1.0, 0.4), (10.0, 0.7), (20.0, 0.1)):
        lucky.intake.take(lucky.turns(at, apart))
        run_dry(stream)
        lucky.minute(stream)
        assert [finding.margin_ns for finding in lucky.latent()] == [100_000_000 if at == 20.0 else 400_000_000]
    (gone,) = lucky.latent("retracted")
    assert "narrower escape" in gone.explanation


def test_what_is_learnt_later_takes_it_back(lucky: Lucky) -> None:
    """A late message shows that the second had been made to wait: it was no luck."""
    requests = lucky.turns(1.0, apart=0.4)
    lucky.first.seq += 1
    sent = lucky.first.access("send", QUEUE, 1.21, {"noclobber.message.id": "go"}, seq=3)
    late = lucky.second.access("receive", QUEUE, 1.3, {"noclobber.message.id": "go"}, seq=1)
    for request in requests[2:4]:
        attributes = request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
        seq = next(each for each in attributes if each["key"] == "noclobber.seq")
        seq["value"]["intValue"] = str(int(seq["value"]["intValue"]) + 1)
    lucky.intake.take(requests)
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    lucky.minute(stream)
    assert [str(finding.certainty) for finding in lucky.latent()] == ["possible"]
    lucky.intake.take([sent, late])
    run_dry(stream)
    lucky.minute(stream)
    assert lucky.latent() == []
    (gone,) = lucky.latent("retracted")
    assert "made the later one wait" in gone.explanation


def test_manifest_ones_come_first(lucky: Lucky) -> None:
    """While there is something to judge, nobody looks; judgements do not take latent findings back."""
    lucky.intake.take(lucky.turns(1.0, apart=0.4))
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    lucky.minute(stream)
    (latent,) = lucky.latent()
    third, fourth = Agent("third"), Agent("fourth")
    raced = [
        third.read(ACCOUNT, "3", 5.0), fourth.read(ACCOUNT, "3", 5.1), third.write(ACCOUNT, "3", "4", 5.2),
        fourth.write(ACCOUNT, "3", "5", 5.3), third.mark(6.0), fourth.mark(6.0),
    ]  # fmt: skip
    lucky.intake.take(raced)
    lucky.clock.move(61)
    assert stream.step()[1]
    assert [finding.manifest for finding in lucky.intake.findings()] == [False, True]
    run_dry(stream)
    lucky.minute(stream)
    assert lucky.latent() == [latent]


def test_what_is_too_much_is_left_out_and_counted(lucky: Lucky, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view beyond the limit is not looked at."""
    from noclobber_analyzer import live_latent

    monkeypatch.setattr(live_latent, "VIEW_MAX", 3)
    lucky.intake.take(lucky.turns(1.0, apart=0.4))
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    lucky.minute(stream)
    assert lucky.latent() == []
    assert stream.latent_skipped == 1


def test_it_rests_longer_the_longer_it_took(lucky: Lucky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Portion by portion, with pauses between them."""
    from noclobber_analyzer import live_latent

    monkeypatch.setattr(live_latent, "RESOURCES_MAX", 1)
    looks: list[frozenset[str] | None] = []
    real = live_latent.lucky_findings

    def counted(history: History, accused: Any, *, resources: frozenset[str] | None, declarations: Any) -> Any:
        looks.append(resources)
        return real(history, accused, resources=resources, declarations=declarations)

    monkeypatch.setattr(live_latent, "lucky_findings", counted)
    lucky.intake.take([*lucky.turns(1.0, apart=0.4), *lucky.turns(3.0, 0.4, f"{ACCOUNT}0")])
    stream = a_stream(lucky.intake.store, lucky.clock)
    run_dry(stream)
    lucky.minute(stream)
    assert len(looks) == 1
    run_dry(stream)
    assert len(looks) == 1
    lucky.clock.move(30)
    run_dry(stream)
    assert looks == [frozenset({ACCOUNT}), frozenset({f"{ACCOUNT}0"})]


def test_it_can_be_left_off(lucky: Lucky) -> None:
    """Without an interval nobody looks."""
    lucky.intake.take(lucky.turns(1.0, apart=0.4))
    stream = a_stream(lucky.intake.store, lucky.clock, latent_every_ns=0)
    run_dry(stream)
    lucky.minute(stream)
    assert lucky.intake.findings() == []
