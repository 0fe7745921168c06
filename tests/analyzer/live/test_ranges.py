"""Several analyzers over ranges of the resource hash find what one finds, ids and all."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from intake import Intake, Request, generated, one_by_one
from made_findings import HandClock
from streams import a_stream, run_dry
from test_live_equals_offline import INJECTED, stored
from told_requests import ring, told_requests

from noclobber.contract import VersionKind
from noclobber_analyzer.clock import SYSTEM, Clock
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.ranges import RANGES, Share
from noclobber_analyzer.stream import Limits, Stream

COUNTER, CHAIN = VersionKind.COUNTER, VersionKind.CHAIN
Found = tuple[list[str], list[tuple[str, str]]]


def split(count: int, seed: int) -> list[frozenset[int]]:
    """The ranges dealt out to so many."""
    rng = random.Random(seed)
    owner = [rng.randrange(count) for _ in range(RANGES)]
    return [frozenset(number for number in range(RANGES) if owner[number] == one) for one in range(count)]


def standing() -> Clock:
    """A clock that stands: on a busy machine no process falls silent, and no minute is quiet, by what a test takes."""
    return HandClock(SYSTEM.now_ns())


def streams_over(store: Any, parts: Sequence[frozenset[int]], **limits: int) -> list[Stream]:
    """A stream for each part, that went on where the last one of its name was."""
    found = []
    for number, part in enumerate(parts):
        share = Share(store, part, f"owner {number}")
        stream = Stream(store, evaluate, standing(), "live", Limits(**limits), share=share)
        stream.open()
        found.append(stream)
    return found


def run_together(streams: Sequence[Stream]) -> None:
    """Step in turns until nobody has anything left to do: what one hands on, another takes up in its next turn."""
    for _ in range(20):
        before = sum(stream.totals.judgements for stream in streams)
        for stream in streams:
            run_dry(stream)
        if before == sum(stream.totals.judgements for stream in streams):
            return
    raise AssertionError("they go on for ever")


def by_one(intake: Intake, requests: Sequence[Request], **limits: int) -> Found:
    """What one analyzer finds; the accesses stay, what was found does not."""
    intake.take(requests)
    run_dry(a_stream(intake.store, standing(), **limits))
    found = stored(intake)
    forget(intake, "findings", "defended", "cursors")
    return found


def by_four(intake: Intake, **limits: int) -> Found:
    """What four find."""
    run_together(streams_over(intake.store, split(4, 1), **limits))
    rows = intake.store.rows("SELECT id, revision FROM findings")
    assert len(rows) == len(set(rows))
    return stored(intake)


def forget(intake: Intake, *tables: str) -> None:
    for table in tables or ("accesses", "ingest", "findings", "defended", "cursors", "conflicts"):
        intake.store.command(f"TRUNCATE TABLE {table}")


@pytest.mark.parametrize(("mode", "whole_max"), [("single", 4000), ("txn", 0)], ids=["whole", "in part"])
def test_four_are_one(intake: Intake, tmp_path: Path, mode: str, whole_max: int) -> None:
    """Four analyzers with disjoint ranges find what one finds, whether judgements see all that is kept or parts."""
    requests = generated(tmp_path, "--ops", "400", "--mode", mode, "--guarded", "0.2", *INJECTED)
    expected = by_one(intake, requests, whole_max=whole_max)
    assert by_four(intake, whole_max=whole_max) == expected
    assert intake.findings()


def some_way(intake: Intake, spans: list[Request], rng: random.Random) -> None:
    """Spans in any order, in pieces between which some of the analyzers look, some ranges in other hands each time."""
    spans = list(spans)
    rng.shuffle(spans)
    count, piece = rng.choice([2, 3, 5]), rng.choice([97, 301])
    limits = {"whole_max": rng.choice([0, 300]), "resources_max": rng.choice([7, 2000]), "batch_rows_max": 150}
    streams = streams_over(intake.store, split(count, rng.random().__hash__()), **limits)
    for at in range(0, len(spans), piece):
        intake.take(spans[at : at + piece], collector=rng.choice(["local", "other"]))
        for stream in rng.sample(streams, rng.randint(0, count)):
            run_dry(stream)
        if rng.random() < 0.3:
            deal_anew(streams, split(count, at))
    run_together(streams)
    for collector in (
        "local",
        "other",
    ):  # a mark counts once all that was open elsewhere when it was seen has been read
        intake.take(spans[:1], collector=collector)
    run_together(streams)


def deal_anew(streams: Sequence[Stream], parts: Sequence[frozenset[int]]) -> None:
    """Ranges change hands."""
    for stream, part in zip(streams, parts, strict=True):
        taken = part - stream.share.ranges
        stream.share.ranges = part
        stream.give_up()
        stream.take_over(taken)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3, 4))])
def test_any_split_any_order(intake: Intake, tmp_path: Path, seed: int) -> None:
    """However the ranges are dealt out, and dealt out anew, in whatever order all of it comes twice: the same set."""
    requests = generated(tmp_path, "--ops", "300", "--seed", str(seed), "--loss", "0.02", *INJECTED)
    expected = by_one(intake, requests)
    forget(intake)
    some_way(intake, one_by_one(requests) * 2, random.Random(seed))
    assert stored(intake) == expected


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("versions", ["counter", "chain", "fingerprint", "none"])
@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_many(intake: Intake, tmp_path: Path, versions: str, mode: str, seed: int) -> None:
    """All kinds of versions and units, with losses, hosts, locks, messages and effects: four find what one finds."""
    kinds = ("duplicate_effect", "out_of_order")
    more = [word for kind in kinds for word in ("--inject", f"{kind}=2")]
    chosen = ("--seed", str(seed), "--versions", versions, "--mode", mode, "--hosts", "2", "--skew", "3")
    losses = ("--loss", "0.02", "--locked", "0.2", "--guarded", "0.2", "--duplicate", "0.1")
    requests = generated(tmp_path, "--ops", "600", *chosen, *losses, *INJECTED, *more)
    for whole_max in (0, 4000):
        forget(intake)
        expected = by_one(intake, requests, whole_max=whole_max)
        assert by_four(intake, whole_max=whole_max) == expected


STORIES = {
    "write skew": ("A[ B[ Arx1 Ary1 Brx1 Bry1 Awx2<1 Bwy2<1 A] B]", COUNTER),
    "read skew": ("A[ Arx1 B[ Bwx2<1 Bwy2<1 B] Ary2 A]", COUNTER),
    "dirty write": ("A[ B[ Awx2^1 Bwx3^2 Bwy2^1 Awy3^2 A] B]", COUNTER),
    "three": ("A[ B[ C[ Arx1 Bry1 Crz1 Awy2<1 Bwz2<1 Cwx2<1 A] B] C]", COUNTER),
    "long fork": ("A[ B[ Awx2 Bwy2 A] B] C[ Crx2 Cry1 C] D[ Dry2 Drx1 D]", COUNTER),
    "circular information flow": ("A[ B[ Awx2 Bwy2 Ary2 Brx2 A] B]", CHAIN),
    "of steps": ("Arx1 Ary1 Brx1 Bry1 ( Awx2<1 Bwy2<1 )", COUNTER),
    "stale write of another resource": ("A[ Arx1 Bwx2<1 Awy5 A]", COUNTER),
    "check then act": ("Arx1 Bwx2<1 Af9", COUNTER),
    "phantom": ("A[ Aqx1 Biy1 Aqx1y1 A]", COUNTER),
    "deadlock": ("Ala1 Blb1 ( Alb>B!unknown Bla>A!rejected )", COUNTER),
    "double claim": ("As9 Bg9 Cg9 Bwx2<1 Cwy2<1 Bk9 Ck9", COUNTER),
    "what later read it": ("Arx1 Brx1 Awx2<1^1 Bwx3<1^2 Crx3 Cwy4<3 Cs9 Dg9 Def", COUNTER),
}


ACROSS = {
    "write_skew", "read_skew", "dirty_write", "serialization_cycle", "stale_write", "check_then_act", "phantom_read",
    "deadlock", "double_claim", "lost_update",
}  # fmt: skip


@pytest.mark.parametrize("clocks", ["one", "apart"])
def test_across_ranges(intake: Intake, clocks: str) -> None:
    """What runs through resources of several owners is found by one of them, with what came of it."""
    requests = []
    for number, (text, kind) in enumerate(STORIES.values()):
        requests += told_requests(text, number, kind=kind, clocks=clocks)
    expected = by_one(intake, requests, whole_max=0)
    assert by_four(intake, whole_max=0) == expected
    kinds = {str(finding.kind) for finding in intake.findings()}
    assert kinds >= ACROSS - (set() if clocks == "one" else {"stale_write", "check_then_act"})


@pytest.mark.parametrize("last", [2, 4])
def test_a_verdict_on_what_is_anothers(intake: Intake, last: int) -> None:
    """Whatever of a circle of waits arrives last, at whosever lock: who owns where it is named gives the verdict.

    And who owns the locks no longer counts as defended whoever was refused one.
    """
    *spans, mark = told_requests("Blb1 Cla2 ( Ala>C!rejected Clb>B!unknown B+A )")
    spans.append(spans.pop(last))
    streams = streams_over(intake.store, split(4, 7), whole_max=0)
    for arrived in (spans[:-1], [spans[-1], mark]):
        intake.take(arrived)
        run_together(streams)
    found = stored(intake)
    assert [finding.kind for finding in intake.findings()] == ["deadlock"]
    forget(intake)
    assert by_one(intake, [*spans, mark], whole_max=0) == found
    names = ["strand://0/A", "redis://0/locka", "redis://0/lockb"]
    assert max(len(stream.share.own(names)) for stream in streams) == 1


@pytest.mark.parametrize("units", [3, 12])
def test_a_ring(intake: Intake, units: int) -> None:
    """A cycle longer than any one judgement looks is found by the edges that owners hand on."""
    expected = by_one(intake, ring(units), whole_max=4000)
    assert [line for line in expected[0] if '"certain"' in line]
    assert by_four(intake, whole_max=0) == expected
    told = intake.store.rows("SELECT count(), uniqExact(owner) FROM conflicts")[0]
    assert told[0] >= units


def test_no_ring_is_trimmed(intake: Intake) -> None:
    """A chain of units that only looks like one gives no finding, and what cannot be on a cycle is not handed on."""
    requests = [each for number, each in enumerate(ring(6)) if number != 5]
    expected = by_one(intake, requests, whole_max=4000)
    assert by_four(intake, whole_max=0) == expected
    assert expected[0] == []
