"""Ranges change hands between live analyzers in one process, with a clock by hand: what the lost one left is judged."""

import time
from pathlib import Path

from intake import Agent, Intake, Request, generated, one_by_one, written
from made_findings import HandClock
from test_live_equals_offline import INJECTED, plain, stored

from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.leases import LAPSE_NS, RENEW_NS, Leases
from noclobber_analyzer.live import LiveAnalyzer
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.stream import Limits

SECOND_NS = 1_000_000_000
RENEW_S, LAPSE_S = RENEW_NS / SECOND_NS, LAPSE_NS / SECOND_NS


def an_analyzer(intake: Intake, name: str, clock: HandClock, limits: Limits) -> LiveAnalyzer:
    return LiveAnalyzer(intake.store, clock=clock, leases=Leases(intake.store, "live", name, clock), limits=limits)


def turn(clock: HandClock, *analyzers: LiveAnalyzer, times: int = 4) -> None:
    """Each takes some turns, with time for a beat between them."""
    for _ in range(times):
        clock.move(RENEW_S)
        for analyzer in analyzers:
            while analyzer._turn():
                pass


def pieces(requests: list[Request], count: int) -> list[list[Request]]:
    spans = one_by_one(requests)
    return [spans[len(spans) * at // count : len(spans) * (at + 1) // count] for at in range(count)]


def test_what_is_still_kept(intake: Intake, tmp_path: Path) -> None:
    """One of two is lost while things arrive; the other judges what it keeps of the lost one's ranges."""
    parts = pieces(generated(tmp_path, "--ops", "200", "--seed", "2", *INJECTED), 4)
    expected = evaluate(read_otlp([written(tmp_path, [each for part in parts for each in part])]))
    clock = HandClock(time.time_ns())
    one, other = (an_analyzer(intake, name, clock, Limits()) for name in "ab")
    intake.take(parts[0])
    turn(clock, one, other)
    intake.take(parts[1])
    turn(clock, one, other, times=1)
    for part in parts[2:]:
        intake.take(part)
        turn(clock, other, times=1)
    opened = other._stream
    clock.move(LAPSE_S)
    turn(clock, other)
    assert other._stream is opened
    assert len(other._share.ranges) == 64
    assert stored(intake) == plain(expected)


def lost_updates(portion: int) -> list[Request]:
    """Lost updates of some resources by agents of their own, who end in order."""
    requests = []
    for number in range(6):
        at, resource = 10.0 * portion + number, f"redis://h/0/acct:{portion}-{number}"
        first, second = Agent(f"one-{portion}-{number}"), Agent(f"two-{portion}-{number}")
        requests += [
            first.read(resource, "1", at), second.read(resource, "1", at + 0.1),
            first.write(resource, "1", "2", at + 0.2, version__overwritten="1"),
            second.write(resource, "1", "3", at + 0.3, version__overwritten="2"),
            first.mark(at + 1), second.mark(at + 1),
        ]  # fmt: skip
    return requests


def test_what_is_no_longer_kept(intake: Intake, tmp_path: Path) -> None:
    """Where the taker has let go of what the lost one had not come to, it reads from that one's checkpoint on."""
    parts = [lost_updates(portion) for portion in range(6)]
    clock, limits = HandClock(time.time_ns()), Limits(accesses_max=50)
    one, other = (an_analyzer(intake, name, clock, limits) for name in "ab")
    intake.take(parts[0])
    turn(clock, one, other)
    opened = other._stream
    for part in parts[1:4]:
        intake.take(part)
        turn(clock, other, times=1)
    assert opened.window.evicted
    assert len(intake.findings()) < 24
    clock.move(LAPSE_S)
    for part in parts[4:]:
        intake.take(part)
        turn(clock, other, times=1)
    assert other._stream is not opened
    expected = evaluate(read_otlp([written(tmp_path, [each for part in parts for each in part])]))
    assert [finding.id for finding in intake.findings()] == [finding.id for finding in expected.findings]
    assert len(expected.findings) == 36
    rows = intake.store.rows("SELECT id, revision FROM findings")
    assert len(rows) == len(set(rows))
