"""Judged alone, over the part of the kept history that it needs, a resource gets the verdicts of the whole."""

import random
from pathlib import Path
from typing import Any

import pytest
from intake import generated, written
from random_stories import random_story

from noclobber.contract import VersionKind
from noclobber_analyzer.access import Access
from noclobber_analyzer.clock_bounds import ClockBounds, measure_clocks
from noclobber_analyzer.coverage import Coverage
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import History, HistoryBuilder
from noclobber_analyzer.judging import Judging
from noclobber_analyzer.live_limits import Totals
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.views import view_of
from noclobber_analyzer.window import Window
from story import Story

KINDS = ("lost_update", "write_skew", "dirty_read", "double_claim", "duplicate_effect", "fork")
INJECTED = [word for kind in KINDS for word in ("--inject", f"{kind}=2")]


class Alone:
    """A history of which each resource is judged by itself."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.window = Window()
        for access in history.accesses:
            self.window.add(access)
        self.window.measure()
        self._coverage = _with_bounds(history)
        self._judging = Judging(evaluate, self.window, Totals())

    def judged(self, resource: str, asked: frozenset[str] = frozenset()) -> Evaluation:
        """What is made of a resource; its view is widened by what came of it, as the stream does."""
        asked |= {resource}
        view = view_of(self.window, asked, 0)
        history = self._judging.history(view, self._coverage)  # type: ignore[arg-type]  # only `clock_bounds` is asked of it besides
        found = evaluate(history, resources=frozenset({resource}))
        reached = {access.resource for each in found.findings for access in each.affected.accesses} - asked
        return self.judged(resource, asked | reached) if reached else found

    def told(self) -> list[Any]:
        """All findings and defended accesses of all resources, each judged by itself."""
        return [plain for name in sorted(self.window.resources) for plain in _plain(self.judged(name))]


def _with_bounds(history: History) -> Coverage:
    """The coverage of a whole history, with the bounds of its clocks, for parts of it."""

    class WithBounds(Coverage):
        def clock_bounds(self) -> ClockBounds:
            return bounds

    bounds = measure_clocks(history.accesses, history.processes.values(), whole=history.coverage.is_whole)
    coverage = WithBounds()
    coverage.__dict__.update(history.coverage.__dict__)
    return coverage


def _plain(found: Evaluation) -> list[Any]:
    return [*found.findings, *found.defended]


def same(history: History) -> None:
    whole = _plain(evaluate(history))
    assert sorted(map(repr, Alone(history).told())) == sorted(map(repr, whole))


def in_units(*words: tuple[str, str]) -> History:
    """A history of words of which each belongs to the unit that stands before it; `-`: nobody captured it."""
    accesses = Story(kind=None).accesses(" ".join(word for _, word in words))
    builder = HistoryBuilder()
    for (unit, _), access in zip(words, accesses, strict=True):
        if unit != "-":
            moved = changed(access, unit=f"{unit} of {access.strand}")
            builder.add(moved, moved.name)
    return builder.finish(ended=True)


def test_what_a_strand_did_elsewhere_bounds_what_it_lost() -> None:
    """A span was lost long before the write's unit began: what stood between is on other resources, and known.

    Four analyzers over ranges told a possible lost update here, and one did not: it depended on what else was judged.
    """
    history = in_units(("1", "Arz"), ("-", "Arz"), ("2", "Ary"), ("1", "Bwx"), ("3", "Arz"), ("4", "Awx"))
    assert [finding.kind for finding in evaluate(history).findings] == ["blind_overwrite"]
    same(history)


def test_what_was_lost_of_the_unit_itself() -> None:
    """The near miss: the lost span lies right before the write, and may have been the read that it came from."""
    history = in_units(("2", "Ary"), ("1", "Bwx"), ("-", "Arx"), ("4", "Awx"))
    assert [finding.kind for finding in evaluate(history).findings] == ["lost_update"]
    same(history)


ELSEWHERE = {
    "one scan": "A[ Brx1 Bry1 ( Ala2 Dwz2<1^1!unknown C[r Aiy3<1 Awx4<1^1? Dfh<k Drx1 Ana2 Awx5 ) ( Cfg Cla3 "
    "Arx5 ) Cwx6 Cwx7 Dqx7y3",
    "what came of a task": "Alb2 Ds1 Bg1 Cwz2 Dm Cdx<1 Ddy<1 Dwx5<1^1!unknown Cwz6<2!unknown Brz2 D*E Erx5 Aqx5y1 Ag1 "
    "Ala3 Awz7<6^6 Btx1 Cwy9<1!rejected",
    "what a unit read in half": "Arx1 Cfg<k Dry1 ( Bla2 Cry1 ) Aqx1y1 C[r Cwy2<1 Cwz3<1 Dux4 Cwx5 Dfg<k Aqx5y2 "
    "Awy6<2^2!unknown Drz3 As1 Awx7 Cm ( Brx7 Cwx8<5^7 Cqx8y6 )",
}  # fmt: skip


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_what_covers_it_stands_elsewhere(text: str) -> None:
    """A verdict that one at another resource covers, or that covers one there, is told as in the whole.

    Of one scan that found two states each of which was half of a change, two analyzers told, and one told one thing.
    """
    same(Story(kind=VersionKind.COUNTER).history(text))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200))
def test_random_stories(seed: int) -> None:
    """Random stories of all sorts of facts, with and without losses."""
    rng = random.Random(seed)
    text = random_story(rng, rng.choice([8, 15, 30]))
    kind = rng.choice([VersionKind.COUNTER, VersionKind.CHAIN, None])
    same(Story(kind=kind, clocks=rng.choice(["one", "apart"])).history(text))


@pytest.mark.parametrize("checked_in", ["txn", "step"])
def test_a_step_that_holds_a_transaction(checked_in: str) -> None:
    """What was checked in a transaction of the step, and what was done after it, belong together."""
    check, act = ("txn", "step") if checked_in == "txn" else ("step", "txn")

    def in_step(access: Access, unit: str) -> Access:
        return changed(access, step=f"step of {access.strand}", unit=f"{unit} of {access.strand}")

    accesses = Story(kind=VersionKind.COUNTER).accesses("Arx1 Bwx2<1 Awy5")
    units = (check, "step", act)
    builder = HistoryBuilder()
    for access, unit in zip(accesses, units, strict=True):
        moved = in_step(access, unit)
        builder.add(moved, moved.name)
    same(builder.finish(ended=True))
    builder = HistoryBuilder()
    for access, unit in zip(Story(kind=VersionKind.COUNTER).accesses("Arx1 Bwx2<1 Af9"), units, strict=True):
        moved = in_step(access, unit)
        builder.add(moved, moved.name)
    history = builder.finish(ended=True)
    assert [finding.kind for finding in evaluate(history).findings] == ["check_then_act"]
    same(history)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))])
def test_generated(tmp_path: Path, seed: int) -> None:
    """Generated histories with losses, in steps or transactions, of all kinds of versions."""
    rng = random.Random(seed)
    versions, mode = rng.choice(["none", "counter", "chain", "fingerprint"]), rng.choice(["txn", "single"])
    chosen = ("--seed", str(seed), "--ops", "150", "--versions", versions, "--mode", mode, "--hosts", "2")
    requests = generated(tmp_path, *chosen, "--loss", "0.1", "--locked", "0.2", "--guarded", "0.2", *INJECTED)
    history = read_otlp([written(tmp_path, requests)])
    assert evaluate(history).findings
    same(history)
