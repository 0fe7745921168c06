"""The claims of `docs/guide/scale.md` that one machine can check: shards, skewed keys, late data, a lost shard.

The hash is the store's own, asked of the real engine; the verdicts are the real evaluator's, and the truth is known
beforehand (`shared_world`).
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from intake import Request, written
from shared_world import World, played, weights

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_analyzer.ranges import RANGES, SHIFT
from noclobber_collector.ddl import SHARDED_BY
from noclobber_collector.store import Store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "scale.md").read_text()
KEYS = 100_000
SHARDS = 4


@pytest.fixture(scope="module")
def hashes(real_store: Store) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """The store's hash of each resource's name."""
    sql = "SELECT cityHash64(concat('redis://cache:6379/0/acct:', toString(number))) FROM numbers({keys:UInt64})"
    return np.array([row[0] for row in real_store.rows(sql, {"keys": KEYS})], dtype=np.uint64)


@pytest.fixture(scope="module", params=[0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 10))])
def world(request: pytest.FixtureRequest) -> World:
    """A small one; in the long run nine larger ones, too."""
    return played(request.param, turns=600 if request.param else 240)


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """What an analyzer says that sees everything."""
    return judged(tmp_path_factory.mktemp("whole"), (sent for _, sent in world.sent))


def judged(folder: Path, requests: Iterable[Request]) -> Evaluation:
    """What an analyzer says of it."""
    return evaluate(read_otlp([written(folder, requests)]))


def ids(evaluation: Evaluation) -> set[str]:
    """The findings that are reported."""
    return {each.id for each in evaluation.findings if each.certainty is not Certainty.POSSIBLE}


def on_shard(world: World, hashes: Sequence[int], shard: int) -> list[Request]:
    """What one shard holds: the accesses to its resources; marks, which say how far processes are, lie everywhere."""
    return [
        sent for name, sent in world.sent if not name or int(hashes[int(name.rpartition(":")[2])]) % SHARDS == shard
    ]


def test_the_whole_finds_the_truth(world: World, whole: Evaluation) -> None:
    """Every write that was lost, certainly, and nothing else."""
    found = [each for each in whole.findings if each.kind is Kind.LOST_UPDATE]
    assert Counter(each.resource for each in found) == Counter(world.lost)
    assert len(world.lost) > 20
    assert {each.certainty for each in found} == {Certainty.CERTAIN}


def test_shards_together_find_what_the_whole_does(
    world: World, whole: Evaluation, hashes: Sequence[int], tmp_path: Path
) -> None:
    """A verdict on one resource needs no other shard: all accesses to it lie on one."""
    parts = [ids(judged(tmp_path, on_shard(world, hashes, shard))) for shard in range(SHARDS)]
    assert set().union(*parts) == ids(whole)
    assert sum(map(len, parts)) == len(ids(whole))
    assert all(parts)


@pytest.mark.parametrize("lost", [0, *(pytest.param(shard, marks=pytest.mark.long) for shard in range(1, SHARDS))])
def test_a_lost_shard_takes_its_findings_and_makes_none(
    world: World, whole: Evaluation, hashes: Sequence[int], tmp_path: Path, lost: int
) -> None:
    """What remains is told as before; nothing is told that was not; and that something is missing is told, too."""
    on_it = ids(judged(tmp_path, on_shard(world, hashes, lost)))
    left = [sent for shard in range(SHARDS) if shard != lost for sent in on_shard(world, hashes, shard)]
    seen = read_otlp([written(tmp_path, left)])
    assert ids(evaluate(seen)) == ids(whole) - on_it
    assert seen.coverage.lost_spans > 0


@pytest.mark.parametrize("late", [10, 10_000])
def test_late_data_changes_no_verdict(world: World, whole: Evaluation, tmp_path: Path, late: int) -> None:
    """Each access some places later than it was made; the last one all of them, in any order."""
    rng = random.Random(late)
    places = [number + rng.randrange(late) for number in range(len(world.sent))]
    order = sorted(range(len(places)), key=places.__getitem__)
    assert order != sorted(order)
    assert ids(judged(tmp_path, (world.sent[number][1] for number in order))) == ids(whole)


def busiest(hashes: "np.ndarray[tuple[int], np.dtype[np.uint64]]", shards: int, skew: float) -> float:
    """Load of the busiest shard, of the mean of all."""
    shard = (hashes % np.uint64(shards)).astype(np.int64)
    return float(np.bincount(shard, weights(KEYS, skew), shards).max() * shards)


def rows_of(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the page."""
    part = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    return [row for row in rows if not set(row[0]) <= {"-", ":"}]


def test_hot_keys_load_shards_as_the_page_says(
    hashes: "np.ndarray[tuple[int], np.dtype[np.uint64]]",
) -> None:
    """Its table, number by number."""
    assert SHARDED_BY["accesses"].endswith("resource_hash)")
    head, *rows = rows_of("Hot keys")
    shards = [int(each.split()[0]) for each in head[2:]]
    for skew, hottest, *told in rows:
        assert float(hottest.rstrip(" %")) == pytest.approx(100 * weights(KEYS, float(skew))[0], abs=0.06)
        for count, number in zip(shards, told, strict=True):
            assert float(number) == pytest.approx(busiest(hashes, count, float(skew)), abs=0.006), (skew, count)


def test_ranges_are_as_even_as_the_page_says(hashes: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> None:
    """Of resources that are used alike no range has more than a tenth above the mean."""
    counts = np.bincount((hashes >> np.uint64(SHIFT)).astype(np.int64), minlength=RANGES)
    assert counts.max() / counts.mean() < 1.1
    assert "no more than a tenth above the mean" in PAGE


def test_figures_are_those_that_were_measured() -> None:
    """What the page counts with stands in the README's table of measurements; what it makes of it is right."""
    readme = (ROOT / "README.md").read_text()
    for figure in ("65 µs CPU an access", "85 B a span", "61,000 to 75,000 spans/s", "313,000 to 435,000 spans/s"):
        assert figure in readme, figure
        assert figure.split(" CPU")[0].split(" a span")[0] in PAGE, figure
    rate_of_all, bytes_of_one = 1e6 / 65, 85
    head, *rows = rows_of("From a laptop to ten million accesses a second")
    for row in rows:
        rate = float(row[0].replace(",", ""))
        cores, terabytes_a_day = (float(re.sub(r"[^\d.]", "", cell)) for cell in row[1:3])
        assert cores == pytest.approx(rate / rate_of_all, rel=0.05, abs=0.05), head
        assert terabytes_a_day == pytest.approx(rate * bytes_of_one * 86_400 / 1e12, rel=0.05, abs=0.005)
