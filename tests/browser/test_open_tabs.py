"""What open tabs cost: next to nothing while nothing is written, hardly more than one while something is; no memory.

The small form of `test_large_store`, to be run anywhere: what is judged is the CPU time of the dashboard's process, its
store included, and its own memory, beside those of the same process with fewer tabs or a while ago.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import sample
from driving import Dashboard, Visit

from noclobber_analyzer.tables import append_findings
from noclobber_collector.store import open_store

pytestmark = [pytest.mark.browser]

FRESH = ("/", "/health", "/stream")
TABS, FEW = 10, len(FRESH)
WATCHED_S = 16
"""Some refreshes of each page."""
QUIET_CORES, LIVE_CORES = 0.1, 0.3
TIMES, EPSILON = 2.0, 0.03
"""Ten tabs may take so many times what three take, and a little: the share of a core that is lost in the measuring."""
WARM = 0.4
"""The first part of a watch, in which caches and pools find their size."""
SLOPE_MIB_A_MIN = 1.0


class Written:
    """Another race each second, written beside the running dashboard."""

    def __init__(self, board: Dashboard) -> None:
        self.store = open_store(f"{board.url}/api/v1/store")
        self.number = itertools.count(50_000)

    def once(self) -> None:
        number = next(self.number)
        finding, rows = sample.race(number, f"redis://bank:6379/0/acct:{number % 40}", ("one", "two"), time.time_ns())
        sample.insert_accesses(self.store, rows)
        append_findings(self.store, [(finding, time.time_ns())])


@pytest.fixture
def board(start: Callable[..., Dashboard]) -> Dashboard:
    """A dashboard of its own, since it is measured."""
    return start("bank")


@pytest.fixture
def writes(board: Dashboard) -> Iterator[Written]:
    made = Written(board)
    yield made
    made.store.close()


def opened(visit: Callable[..., Visit], board: Dashboard, count: int) -> list[Visit]:
    tabs = []
    for path in itertools.islice(itertools.cycle(FRESH), count):
        tabs.append(visit(board))
        tabs[-1].page.goto(board.url + path, timeout=60_000)
        tabs[-1].page.wait_for_selector(".prose :is(.tiles, .dots, .empty) >> nth=0", timeout=60_000)
    return tabs


def cores(board: Dashboard, each_second: Callable[[], Any] = lambda: None) -> float:
    """The share of a core that the dashboard took, over `WATCHED_S` seconds."""
    process = psutil.Process(board.process.pid)
    begun_s, begun = sum(process.cpu_times()[:2]), time.perf_counter()
    watched(WATCHED_S, each_second)
    return float(sum(process.cpu_times()[:2]) - begun_s) / (time.perf_counter() - begun)


def watched(seconds: float, each_second: Callable[[], Any]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        each_second()
        time.sleep(1)  # a rate is measured over time


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_ten_tabs_cost_hardly_more_than_three(
    visit: Callable[..., Visit], board: Dashboard, writes: Written, record_property: Callable[[str, object], None]
) -> None:
    """While nothing is written and while something is, each second: what is shown is made once for all."""
    found: dict[str, float] = {"none": cores(board), "none, written to": cores(board, writes.once)}
    tabs: list[Visit] = []
    for name, count in (("few", FEW), ("many", TABS - FEW)):
        tabs += opened(visit, board, count)
        watched(4, writes.once)
        found[f"{name}, written to"] = cores(board, writes.once)
        watched(4, lambda: None)
        found[name] = cores(board)
    told = ", ".join(f"{name} {share:.3f}" for name, share in found.items())
    print(f"\ncores of the dashboard by tabs ({FEW} and {TABS}): {told}")
    record_property("tabs_cores", found)
    assert found["many"] - found["none"] <= QUIET_CORES
    assert found["many, written to"] - found["none, written to"] <= LIVE_CORES
    for idle in ("", ", written to"):
        few, many = (found[name + idle] - found["none" + idle] for name in ("few", "many"))
        assert many <= TIMES * max(0.0, few) + EPSILON
    assert [entry for tab in tabs for entry in tab.complaints] == []


@pytest.mark.long
@pytest.mark.timeout(5_400)
@pytest.mark.parametrize(
    "seconds", [600, pytest.param(3_600, marks=pytest.mark.exhaustive)], ids=["ten-minutes", "an-hour"]
)
def test_memory_is_flat_while_tabs_refresh(
    visit: Callable[..., Visit], board: Dashboard, writes: Written, seconds: int,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    """Ten tabs over a store that is written to each second: what only this process holds does not grow."""
    tabs, process = opened(visit, board, TABS), psutil.Process(board.process.pid)
    begun, held = time.monotonic(), []

    def turn() -> None:
        writes.once()
        held.append(((time.monotonic() - begun) / 60, process.memory_full_info().uss / 2**20))

    watched(seconds, turn)
    grows = slope([each for each in held if each[0] * 60 >= WARM * seconds])
    print(f"\nmemory of the dashboard: {held[0][1]:.0f} MiB, warm {held[int(len(held) * WARM)][1]:.0f}, "
          f"at the end {held[-1][1]:.0f}; {grows:+.2f} MiB a minute, {len(held)} races written")  # fmt: skip
    record_property("memory_slope_mib_a_min", grows)
    assert grows <= SLOPE_MIB_A_MIN
    assert [entry for tab in tabs for entry in tab.complaints] == []


def slope(samples: list[tuple[float, float]], minute: float = 0.5) -> float:
    """Of a line through the least of each half minute: merges and requests take some for a moment and give it back."""
    floors: dict[int, tuple[float, float]] = {}
    for at, mib in samples:
        key = int(at / minute)
        floors[key] = min(floors.get(key, (at, mib)), (at, mib), key=lambda each: each[1])
    return statistics.linear_regression(*zip(*floors.values(), strict=True)).slope
