"""The kept history is bounded: what falls out of it makes no finding, and neither does what comes too late for it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from intake import Agent, Intake, Request, generated, one_by_one, written
from made_findings import HandClock
from streams import ACCOUNT, a_stream, run_dry

from noclobber.contract import Certainty
from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.ledger import access_names
from noclobber_analyzer.otlp_files import read_otlp

KINDS = ("lost_update", "fork", "dirty_read", "double_claim", "lock_violation", "stale_read", "write_skew")
INJECTED = [word for kind in KINDS for word in ("--inject", f"{kind}=4")]


def offline(folder: Path, requests: list[Request]) -> list[Finding]:
    return evaluate(read_otlp([written(folder, requests)])).findings


def in_portions(spans: list[Request], seed: int | None) -> Iterator[list[Request]]:
    """Sixty at a time; with a seed, now few and now many: what is judged together, and falls out, depends on it."""
    sizes = random.Random(seed)
    rest = spans
    while rest:
        size = 60 if seed is None else sizes.choice((5, 20, 40, 60, 120))
        yield rest[:size]
        rest = rest[size:]


def unfounded(intake: Intake, expected: list[Finding]) -> list[Finding]:
    """Findings that claim something of accesses of which no other finding does; a kind once told stays."""
    told = {name for finding in expected for name in access_names(finding)}
    sure = [finding for finding in intake.findings() if finding.certainty is not Certainty.POSSIBLE]
    return [finding for finding in sure if not access_names(finding) & told]


@pytest.mark.parametrize(
    ("versions", "mode"),
    [
        ("counter", "txn"),
        ("fingerprint", "single"),
        pytest.param("counter", "single", marks=pytest.mark.long),
        pytest.param("fingerprint", "txn", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("seed", [None, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(12))])
def test_what_falls_out_makes_no_finding(
    intake: Intake, tmp_path: Path, mode: str, versions: str, seed: int | None
) -> None:
    """With room for a fifth of a history, what is certain or likely is so in the whole of it.

    When all of it is sent once more, nothing of it is taken. What is kept may be judged anew all the same, since times
    that fell out bounded how far the clocks are apart; what is then found must be so in the whole history, too.
    """
    words = ("--ops", "900", "--mode", mode, "--versions", versions, "--locked", "0.2", "--guarded", "0.2")
    requests = generated(tmp_path, *words, "--strands", "8", "--resources", "20", *INJECTED)
    expected, spans = offline(tmp_path, requests), one_by_one(requests)
    clock = HandClock(SYSTEM.now_ns())  # by the machine's some process would fall silent now and then, where it is slow
    stream = a_stream(intake.store, clock, accesses_max=200, batch_rows_max=40)
    for portion in in_portions(spans, seed):
        intake.take(portion)
        run_dry(stream)
    assert stream.window.evicted > 500
    assert stream.totals.contradicted == 0
    assert unfounded(intake, expected) == []
    assert len({each.id for each in intake.findings()} & {each.id for each in expected}) >= 3
    taken, evicted = stream.totals.accesses, stream.window.evicted
    for portion in in_portions(spans, seed):
        intake.take(portion)
    run_dry(stream)
    assert (stream.totals.accesses, stream.window.evicted) == (taken, evicted)
    assert stream.totals.late_unchecked >= evicted
    again = a_stream(intake.store, clock, accesses_max=200)
    run_dry(again)
    assert stream.totals.contradicted == again.totals.contradicted == 0
    assert unfounded(intake, expected) == []


def test_a_maker_that_fell_out_is_not_unknown(intake: Intake) -> None:
    """Who reads what was made long ago reads no state that nobody made."""
    maker, reader = Agent("maker"), Agent("reader")
    intake.take([maker.write(ACCOUNT, None, "v1", 1.0, kind="fingerprint", version__overwritten="absent")])
    stream = a_stream(intake.store, accesses_max=8)
    run_dry(stream)
    intake.take([maker.read(f"{ACCOUNT}:{n}", "1", 2.0 + n / 100) for n in range(20)])
    run_dry(stream)
    assert not stream.window.accesses_of(ACCOUNT)
    intake.take(
        [
            maker.write(ACCOUNT, "v1", "v2", 3.0, kind="fingerprint", version__overwritten="v1"),
            reader.read(ACCOUNT, "v2", 3.5, kind="fingerprint"), reader.read(ACCOUNT, "v2", 3.6, kind="fingerprint"),
            maker.mark(5.0, 5.0), reader.mark(5.0, 5.0),
        ]
    )  # fmt: skip
    run_dry(stream)
    assert intake.findings() == []


def test_what_comes_again_after_it_fell_out_changes_nothing(intake: Intake) -> None:
    """A repeated request whose accesses were forgotten is counted and left alone, also by the next analyzer."""
    one, two = Agent("one"), Agent("two")
    first = [one.read(ACCOUNT, "1", 0.9), one.write(ACCOUNT, "1", "2", 1.0)]
    intake.take([*first, two.read(ACCOUNT, "2", 1.5), two.write(ACCOUNT, "2", "3", 2.0)])
    stream = a_stream(intake.store, accesses_max=8)
    run_dry(stream)
    intake.take([agent.read(f"{ACCOUNT}:{n}", "1", 3.0 + n / 100) for n in range(8) for agent in (one, two)])
    run_dry(stream)
    intake.take([one.read(ACCOUNT, "3", 4.0), *first])
    run_dry(stream)
    assert stream.totals.late_unchecked == 2
    again = a_stream(intake.store, accesses_max=8)
    intake.take(first)
    run_dry(again)
    assert again.totals.late_unchecked >= 2
    assert intake.findings() == []
