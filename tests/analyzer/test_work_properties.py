"""Properties of messages, locks, effects and appends: orderly work is clean, and names and arrival change nothing."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder
from story import Story

WORDS = [
    "s{m}<{m}", "g{m}<{m}", "g{m}<{m}^2", "k{m}", "j{m}", "e{m}", "fh", "fi<k", "lx{n}", "nx{n}", "ly", "ny", "ux",
    "aq{n}", "rx{m}", "wx{n}<{m}", "wx{n}!error", "iz{n}", "m", "q", "ux!unknown",
]  # fmt: skip
SYSTEMS = st.sampled_from(["redis", "kafka"])


def _judge(accesses: Sequence[Access]) -> Evaluation:
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(changed(access), access.name)
    return evaluate(builder.finish(ended=True), latent=True)


@st.composite
def any_work(draw: st.DrawFn) -> list[Access]:
    """Up to 14 words of three strands in any order, whatever sense they make."""
    words = []
    for number in range(draw(st.integers(2, 14))):
        word = draw(st.sampled_from(WORDS)).format(m=draw(st.integers(1, 3)), n=number + 4)
        words.append(draw(st.sampled_from("ABC")) + word)
    kind = draw(st.sampled_from([VersionKind.COUNTER, VersionKind.FINGERPRINT]))
    return Story(kind=kind, system=draw(SYSTEMS), lease_ms=draw(st.sampled_from([None, 5]))).accesses(" ".join(words))


@st.composite
def orderly_work(draw: st.DrawFn) -> str:
    """Messages that are sent once and handled once, in order, each under one lock, by one worker at a time."""
    words = []
    count = draw(st.integers(1, 5))
    words += [f"As{m}<{m}" for m in range(1, count + 1)]
    for m in range(1, count + 1):
        worker = draw(st.sampled_from("BC"))
        done = draw(st.sampled_from(["{w}ux", "{w}fh{m}", "{w}ux {w}fh{m}", "{w}aq{m} {w}ap{m}"]))
        words += [f"{worker}lx{m}", f"{worker}g{m}<{m}", done.format(w=worker, m=m), f"{worker}k{m}", f"{worker}nx{m}"]
    return " ".join(words)


@given(orderly_work(), SYSTEMS)
@settings(max_examples=100, deadline=None)
def test_orderly_work_is_clean(text: str, system: str) -> None:
    """What is sent once, handled once, in order and under a lock yields nothing at all."""
    history = Story(system=system, group="g", kind=VersionKind.ORDERED).history(text)
    assert evaluate(history).findings == []


@given(any_work(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_arrival_and_repetition(accesses: list[Access], chance: random.Random) -> None:
    """Order of arrival and spans that come three times change nothing, ids and all."""
    arrived = accesses * 3
    chance.shuffle(arrived)
    assert _judge(arrived) == _judge(accesses)


@given(any_work())
@settings(max_examples=200, deadline=None)
def test_agents_names_mean_nothing(accesses: list[Access]) -> None:
    """Renaming agents changes names only."""

    def shape(evaluation: Evaluation) -> list[tuple[object, ...]]:
        return sorted((f.id, f.kind, f.certainty, tuple(a.span_id for a in f.accesses)) for f in evaluation.findings)

    renamed = [changed(access, agent=f"other {access.agent}") for access in accesses]
    assert shape(_judge(renamed)) == shape(_judge(accesses))


@given(any_work())
@settings(max_examples=200, deadline=None)
def test_every_finding_can_be_told(accesses: list[Access]) -> None:
    """Each finding has a sentence, an advice, its accesses once, and says what is missing unless it is certain."""
    findings = _judge(accesses).findings
    assert len({finding.id for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.explanation.endswith(".")
        assert finding.advice.text
        assert finding.missing or finding.certainty == "certain"


@given(any_work(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_lost_span_makes_nothing_certain(accesses: list[Access], data: st.DataObject) -> None:
    """What was not certain, by its own name or beside an earlier kind's, is not certain with one span less."""
    gone = data.draw(st.integers(0, len(accesses) - 1))
    fewer = [access for number, access in enumerate(accesses) if number != gone]
    before = [f for f in _judge(accesses).findings if f.certainty == "certain"]
    told = {(kind, access.span_id) for f in before for kind in (f.kind, *f.also) for access in f.accesses}
    for finding in _judge(fewer).findings:
        known = any((finding.kind, access.span_id) in told for access in finding.accesses)
        assert finding.certainty != "certain" or known
