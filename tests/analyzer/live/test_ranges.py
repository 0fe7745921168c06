"""Several analyzers over ranges of the resource hash find what one finds, ids and all, and lose nothing of a lost one."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from intake import Intake, generated, one_by_one
from streams import a_stream, run_dry
from test_live_equals_offline import INJECTED, stored

from noclobber_analyzer.clock import SYSTEM
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.ranges import ALL, RANGES, Share
from noclobber_analyzer.stream import Limits, Stream


def split(count: int, seed: int) -> list[frozenset[int]]:
    """The ranges dealt out to so many."""
    rng = random.Random(seed)
    owner = [rng.randrange(count) for _ in range(RANGES)]
    return [frozenset(number for number in range(RANGES) if owner[number] == one) for one in range(count)]


def streams_over(store: object, parts: Sequence[frozenset[int]], **limits: int) -> list[Stream]:
    """A stream for each part, that went on where the last one of its name was."""
    found = []
    for number, part in enumerate(parts):
        stream = Stream(store, evaluate, SYSTEM, f"live/{number}", Limits(**limits), share=Share(store, part))
        stream.open()
        found.append(stream)
    return found


def run_together(streams: Sequence[Stream]) -> None:
    """Step in turns until nobody has anything left to do; what one hands on another may take up only then."""
    for _ in range(20):
        before = sum(stream.totals.judgements for stream in streams)
        for stream in streams:
            run_dry(stream)
        if before == sum(stream.totals.judgements for stream in streams):
            return
    raise AssertionError("they go on for ever")


@pytest.mark.parametrize("mode", ["single", "txn"])
@pytest.mark.parametrize("whole_max", [0, 4000])
def test_four_are_one(intake: Intake, tmp_path: Path, mode: str, whole_max: int) -> None:
    requests = generated(tmp_path, "--ops", "400", "--mode", mode, "--guarded", "0.2", *INJECTED)
    intake.take(requests)
    run_dry(a_stream(intake.store, whole_max=whole_max))
    expected = stored(intake)
    for table in ("findings", "defended", "cursors"):
        intake.store.command(f"TRUNCATE TABLE {table}")
    four = streams_over(intake.store, split(4, 1), whole_max=whole_max)
    run_together(four)
    assert stored(intake) == expected
    assert intake.findings()
