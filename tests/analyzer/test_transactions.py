"""Properties of transactions over several resources: what is serial is clean, and arrival changes nothing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noclobber.contract import VersionKind
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.history import HistoryBuilder
from story import Story

COUNTER, PRINT, CHAIN = VersionKind.COUNTER, VersionKind.FINGERPRINT, VersionKind.CHAIN
CALLS = st.lists(st.tuples(st.sampled_from("rw"), st.sampled_from("xyz")), min_size=1, max_size=4)
UNITS = st.lists(st.tuples(st.sampled_from("ABC"), CALLS), min_size=1, max_size=6)


class _Store:
    """A store of three counters that runs one call after the other and tells what it did in the story's words."""

    def __init__(self) -> None:
        self.at = dict.fromkeys("xyz", 1)

    def call(self, strand: str, op: str, name: str, seen: dict[str, int]) -> str:
        if op == "r":
            seen[name] = self.at[name]
            return f"{strand}r{name}{self.at[name]}"
        base, self.at[name] = self.at[name], self.at[name] + 1
        known = f"<{base}" if seen.get(name) == base else ""
        seen[name] = self.at[name]
        return f"{strand}w{name}{self.at[name]}{known}^{base}"


def _serial(units: list[tuple[str, list[tuple[str, str]]]]) -> str:
    store, told = _Store(), []
    for strand, calls in units:
        seen: dict[str, int] = {}
        told += [f"{strand}[", *(store.call(strand, op, name, seen) for op, name in calls), f"{strand}]"]
    return " ".join(told)


def _interleaved(units: list[tuple[str, list[tuple[str, str]]]], chance: random.Random) -> str:
    """One transaction a strand, their calls mixed."""
    store, told = _Store(), []
    open_ = {chr(ord("A") + at): [*calls] for at, (_, calls) in enumerate(units)}
    seen: dict[str, dict[str, int]] = {strand: {} for strand in open_}
    told += [f"{strand}[" for strand in open_]
    while open_:
        strand = chance.choice(sorted(open_))
        told.append(store.call(strand, *open_[strand].pop(0), seen[strand]) if open_[strand] else f"{strand}]")
        if told[-1].endswith("]"):
            del open_[strand]
    return " ".join(told)


def _judge(story: str, kind: VersionKind, clocks: str, chance: random.Random | None = None) -> Evaluation:
    accesses = Story(kind=kind, clocks=clocks).accesses(story)
    if chance is not None:
        chance.shuffle(accesses)
    builder = HistoryBuilder()
    for access in accesses:
        builder.add(access, access.name)
    return evaluate(builder.finish(ended=True))


@pytest.mark.parametrize("clocks", ["one", "apart"])
@pytest.mark.parametrize("kind", [COUNTER, CHAIN, PRINT])
@given(units=UNITS)
@settings(max_examples=60, deadline=None)
def test_serial_transactions_are_clean(
    kind: VersionKind, clocks: str, units: list[tuple[str, list[tuple[str, str]]]]
) -> None:
    """One after the other nothing happens but replaced state that nobody had read; one clock or many."""
    found = {
        f"{f.kind} {f.certainty}" for f in _judge(_serial(units), kind, clocks).findings if f.certainty != "possible"
    }
    assert found <= {"blind_overwrite likely"}


@pytest.mark.parametrize("kind", [COUNTER, CHAIN, PRINT])
@given(units=UNITS, chance=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_arrival_changes_nothing(
    kind: VersionKind, units: list[tuple[str, list[tuple[str, str]]]], chance: random.Random
) -> None:
    """Whatever was mixed up, the order of arrival changes no finding, ids and all."""
    story = _interleaved(units, chance)
    assert _judge(story, kind, "one", chance) == _judge(story, kind, "one")


@given(units=UNITS, chance=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_one_clock_an_hour_off_makes_nothing_surer(
    units: list[tuple[str, list[tuple[str, str]]]], chance: random.Random
) -> None:
    """Without a common clock no finding is certain that is not with one, but for what another kind tells there."""
    story = _interleaved(units, chance)
    together = {(f.kind, a.span_id) for f in _judge(story, COUNTER, "one").findings for a in f.accesses}
    spans = {span for _, span in together}
    for finding in _judge(story, COUNTER, "apart").findings:
        if finding.certainty == "certain":
            assert {access.span_id for access in finding.accesses} & spans
