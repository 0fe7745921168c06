"""Fault test 18: memory under steady traffic: bounded, and it does not grow.

`noclobber collector` over a server within 256 MiB, `noclobber up` within 1 GiB, each with what it starts. Growth is the
slope of a line through the floors of the time after the first 40 %: merges take tens of MiB for a moment and give them
back. The engine keeps the accesses of the last minutes in memory on purpose, so in the short form most of the traffic
is other people's spans; the long form measures once that is full.
"""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from ledger import compare
from load import Load
from processes import Process, Up
from results import write_result
from server import Between, Collector, Server, end_quietly

MIB = 1 << 20
EVERY_S = 2.0
WARM = 0.4
FLOORS = 10
SLOPE_MAX = 1.0
"""MiB a minute."""


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


def memory_of(process: Process) -> float:
    """Bytes of a process and of what it started."""
    own = psutil.Process(process.popen.pid)
    return float(sum(each.memory_info().rss for each in [own, *own.children(recursive=True)]))


def soak(seconds: float, memory: Callable[[], float], *loads: Load) -> tuple[float, float]:
    """Greatest memory in MiB, and its slope, while loads send."""
    for load in loads:
        load.__enter__()
    samples, begun = [], time.monotonic()
    try:
        while (passed := time.monotonic() - begun) < seconds:
            samples.append((passed, memory()))
            time.sleep(EVERY_S)
    finally:
        for load in loads:
            load.__exit__()
    kept = [sample for sample in samples if sample[0] > WARM * seconds]
    return max(size for _, size in samples) / MIB, slope(floors(kept))


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
    assert grows <= SLOPE_MAX, grows
    return {"seconds": seconds, "spans": len(load.acknowledged), "peak_mib": round(peak, 1),
            "slope_mib_a_minute": round(grows, 3)}  # fmt: skip


def soak_up(folder: Path, seconds: float, **more: object) -> dict[str, float]:
    with Up(folder) as up:
        up.wait_until_ready()
        foreign = Load(up.ports[1], 3, pause_s=0.1, more=more)
        own = Load(up.ports[1], 1, spans=1, pause_s=0.2)
        peak, grows = soak(seconds, lambda: memory_of(up), foreign, own)
        assert up.stop() == 0
    spans = len(foreign.acknowledged) + len(own.acknowledged)
    assert peak <= 1024, peak
    return {"seconds": seconds, "spans": spans, "peak_mib": round(peak, 1), "slope_mib_a_minute": round(grows, 3)}


@pytest.mark.long
@pytest.mark.timeout(700)
def test_the_collector_for_five_minutes(tmp_path: Path) -> None:
    """Over a server, within 256 MiB."""
    write_result("soak-collector", soak_collector(tmp_path, 300))


@pytest.mark.long
@pytest.mark.timeout(700)
def test_the_whole_for_five_minutes(tmp_path: Path) -> None:
    """Within 1 GiB; whether it grows is seen in half an hour only, since merges come and go."""
    write_result("soak-up", soak_up(tmp_path, 300, **{"noclobber.op": ""}))


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(5_400)
def test_both_for_half_an_hour(tmp_path: Path) -> None:
    """One after the other; neither grows."""
    found = {"collector": soak_collector(tmp_path / "collector", 1_800), "up": soak_up(tmp_path / "up", 1_800)}
    write_result("soak", found)
    assert found["up"]["slope_mib_a_minute"] <= SLOPE_MAX
