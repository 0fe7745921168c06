"""Live analysis finds what `check` finds, ids and defences and all, in random histories of all sorts of facts."""

from pathlib import Path
from random import Random

import msgspec
import pytest
from intake import Intake, Request
from random_stories import random_story
from streams import a_stream, run_dry
from test_live_equals_offline import but_for_kept_kinds, offline, plain, stored
from told_requests import told_requests

from noclobber.contract import VersionKind

STORIES = 6
"""In one history, which share nothing but the analyzer."""


def told_at_random(rng: Random, length: int) -> list[Request]:
    """Some stories, each told by a machine or several, with a span lost here and there."""
    requests = []
    for number in range(STORIES):
        text = random_story(rng, length)
        lost = tuple(rng.sample(range(length), rng.choice([0, 0, 1, 3])))
        kind = rng.choice([VersionKind.COUNTER, VersionKind.FINGERPRINT, VersionKind.CHAIN])
        clocks = rng.choice(["one", "one", "host", "apart"])
        requests += told_requests(text, number, kind=kind, clocks=clocks, lost=lost, step=rng.random() < 0.8)
    return requests


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 60))])
def test_live_equals_offline(intake: Intake, tmp_path: Path, seed: int) -> None:
    """In any order, some of it twice, read in pieces and judged in part or whole: the same findings and defences."""
    rng = Random(seed)
    requests = told_at_random(rng, 30)
    spans = [*requests, *rng.sample(requests, len(requests) // 10)]
    rng.shuffle(spans)
    stream = a_stream(intake.store, whole_max=rng.choice([0, 0, 60]), resources_max=rng.choice([5, 2000]))
    size = rng.choice([60, 90, 200])
    for at in range(0, len(spans), size):
        intake.take(spans[at : at + size])
        run_dry(stream)
    expected = offline(tmp_path, requests)
    found = [msgspec.structs.replace(finding, revision=1) for finding in intake.findings()]
    assert but_for_kept_kinds(found, expected.findings) == expected.findings
    assert stored(intake)[1] == plain(expected)[1]
