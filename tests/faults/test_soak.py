"""Fault test 18: memory under steady traffic: bounded, and it does not grow.

`noclobber collector` over a server within 256 MiB, `noclobber up` where the kernel gives it no more than 1 GiB, with
what it starts. Growth is the slope of a line through the floors of the time after the first 40 %: merges take tens of
MiB for a moment and give them back. It is that of memory which no file backs, after the engine's allocator was told
to give back what is free: else some minutes show nothing but the allocator's moods, which are greater than what is
looked for.

What grows on purpose is left out or waited for: the engine keeps the accesses of the last hour in memory (three
quarters of a kB each, 200,000 at most), so in the short form most of the traffic is other people's spans, and the long
form fills that before it measures. A store that is new has more parts from minute to minute, by the logarithm of their
number; so the short form allows more than the long one, and less than any leak that was ever suspected.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger import compare
from limit import MemoryLimit
from load import Load
from memory import memory_of
from processes import Up, ask, counted, wait_until
from results import write_result
from server import Between, Collector, Server, end_quietly

from noclobber_analyzer.live_limits import ACCESSES_MAX
from noclobber_collector.errors import StoreError
from noclobber_collector.store import ENGINE_PATH, open_store

MIB, GIB = 1 << 20, 1 << 30
EVERY_S = 2.0
WARM = 0.4
FLOORS = 10
SLOPE_MAX = 1.0
"""MiB a minute."""
FILL_S = 900.0
SLOPE_WARMING_MAX = 2.0
"""The same of a collector in its first minutes, while its heaps fill: 0.2 to 1.5, by how busy the machine is."""
SLOPE_NEW_MAX = 5.0
"""The same of `up` over a store that is minutes old."""


def slope(samples: list[tuple[float, float]]) -> float:
    """Of a line through (seconds, bytes), least squares, in MiB a minute."""
    count = len(samples)
    mean_s, mean = (sum(each[at] for each in samples) / count for at in (0, 1))
    across = sum((at - mean_s) * (size - mean) for at, size in samples)
    return across / sum((at - mean_s) ** 2 for at, _ in samples) * 60 / MIB


def floors(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The least of each of ten equal stretches."""
    size = max(1, len(samples) // FLOORS)
    return [min(samples[at : at + size], key=lambda each: each[1]) for at in range(0, len(samples) - size + 1, size)]


def test_a_slope_is_measured_right() -> None:
    """One MiB a minute is one."""
    grows = [(float(second), second * MIB / 60) for second in range(100)]
    assert slope(grows) == pytest.approx(1.0)
    merging = [(at, size + (at % 7) * 10 * MIB) for at, size in grows]
    assert slope(floors(merging)) == pytest.approx(1.0, abs=0.1)


def soak(seconds: float, memory: Callable[[], tuple[float, float]], *loads: Load) -> tuple[float, float]:
    """Greatest memory in MiB, and the slope of what no file backs, while loads send."""
    for load in loads:
        load.__enter__()
    samples, peak, begun = [], 0.0, time.monotonic()
    try:
        while (passed := time.monotonic() - begun) < seconds:
            whole, anonymous = memory()
            peak = max(peak, whole)
            samples.append((passed, anonymous))
            time.sleep(EVERY_S)
    finally:
        for load in loads:
            load.__exit__()
    kept = [sample for sample in samples if sample[0] > WARM * seconds]
    return peak / MIB, slope(floors(kept))


def soak_collector(folder: Path, seconds: float) -> dict[str, float]:
    server = Server(folder / "server")
    between = Between(server.port)
    collector = Collector(folder / "collector", between.url)
    try:
        load = Load(collector.ports[1], 4, pause_s=0.1)
        peak, grows = soak(seconds, lambda: memory_of(collector), load)
        collector.wait_until_loaded(120)
        assert compare(server.rows, load).is_clean
        assert collector.stop() == 0
    finally:
        between.close()
        end_quietly(collector, server)
    assert peak <= 256, peak
    return {"seconds": seconds, "spans": len(load.acknowledged), "peak_mib": round(peak, 1),
            "slope_mib_a_minute": round(grows, 3)}  # fmt: skip


def fill(up: Up) -> None:
    """Send accesses until as many are kept as ever are."""

    def is_full() -> bool:
        time.sleep(EVERY_S)  # asking costs it something, too
        told = counted(ask(f"{up.pages}/metrics").body.decode())
        return told["analyzer_kept_accesses"] >= 0.95 * ACCESSES_MAX

    with Load(up.ports[1], 4, spans=500, pause_s=0.05):
        wait_until(is_full, timeout_s=FILL_S, what="the kept history to be full")


def soak_up(folder: Path, seconds: float, *, full: bool = False, **more: object) -> dict[str, float]:
    """Nobody is killed where the kernel gives it no more than a gibibyte; returns what was found.

    The limit counts each page once, and pages of files can be taken back; what they need of it is not added up here.
    """
    try:
        limit = MemoryLimit(GIB)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    with limit, Up(folder, first=limit.enter) as up:
        up.wait_until_ready()
        engine = up.child("noclobber_sidecar.engine")
        if full:
            fill(up)
        foreign = Load(up.ports[1], 3, pause_s=0.1, more=more)
        own = Load(up.ports[1], 1, spans=1, pause_s=0.2)
        store = open_store(f"{up.pages}/{ENGINE_PATH}", prepare=False)

        def memory() -> tuple[float, float]:
            with contextlib.suppress(StoreError):  # busy; the floor is another sample's
                store.command("SYSTEM JEMALLOC PURGE")
            anonymous = memory_of(up)[1]
            return anonymous, anonymous

        peak, grows = soak(seconds, memory, foreign, own)
        store.close()
        assert up.child("noclobber_sidecar.engine") == engine, up.output
        assert up.stop() == 0
        assert limit.killed == 0
    spans = len(foreign.acknowledged) + len(own.acknowledged)
    return {"seconds": seconds, "spans": spans, "anonymous_mib": round(peak, 1), "slope_mib_a_minute": round(grows, 3)}


@pytest.mark.long
@pytest.mark.timeout(700)
def test_the_collector_for_five_minutes(tmp_path: Path) -> None:
    """Over a server, within 256 MiB."""
    found = soak_collector(tmp_path, 300)
    write_result("soak-collector", found)
    assert found["slope_mib_a_minute"] <= SLOPE_WARMING_MAX


@pytest.mark.long
@pytest.mark.timeout(700)
def test_the_whole_for_five_minutes(tmp_path: Path) -> None:
    """Within 1 GiB, and it hardly grows."""
    found = soak_up(tmp_path, 300, **{"noclobber.op": ""})
    write_result("soak-up", found)
    assert found["slope_mib_a_minute"] <= SLOPE_NEW_MAX


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(3_000)
def test_the_collector_for_half_an_hour(tmp_path: Path) -> None:
    """It does not grow."""
    found = soak_collector(tmp_path, 1_800)
    write_result("soak-collector-long", found)
    assert found["slope_mib_a_minute"] <= SLOPE_MAX


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(4_000)
def test_the_whole_for_half_an_hour(tmp_path: Path) -> None:
    """Nor does this, once as many accesses are kept as ever are."""
    found = soak_up(tmp_path, 1_800, full=True)
    write_result("soak-up-long", found)
    assert found["slope_mib_a_minute"] <= SLOPE_MAX
