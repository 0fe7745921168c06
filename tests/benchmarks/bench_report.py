"""What a run of benchmarks measured, in one report: each figure beside a baseline of the same run, and their ratio.

A time says little of another machine; how often it holds a baseline that was taken beside it says more. Tests hand over
their figures by the fixture `ratio`; where NOCLOBBER_BENCH_REPORT names a folder, `bench.json` and `bench.md` are
written there when the run ends, with the machine's facts and the load at both ends.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

__all__ = ["AREAS", "Figure", "Ratio", "as_markdown", "machine", "plain_loop_ms", "ratio"]

AREAS: Final = ("capture", "ingest", "disk", "queries", "detection", "live latency", "dashboard")
LOOPS: Final = 300_000
_found: list["Figure"] = []
_load_at_begin = os.getloadavg()[0]


class Figure(NamedTuple):
    """One figure.

    Attributes:
        area, what: where it belongs, and what was measured. value, unit: what was found.
        baseline, base: what it is held against, and what that took in the same unit.
    """

    area: str
    what: str
    value: float
    unit: str
    baseline: str
    base: float

    @property
    def ratio(self) -> float:
        """How often the baseline goes into it."""
        return self.value / self.base


Ratio = Callable[[str, str, float, str, str, float], None]


@pytest.fixture
def ratio(record_property: Callable[[str, object], None]) -> Ratio:
    """Hands a figure to the report: area, what, value, unit, baseline, what that took."""

    def keep(*told: Any) -> None:
        figure = Figure(*told)
        assert figure.area in AREAS
        record_property("figure", figure)

    return keep


def plain_loop_ms() -> float:
    """Wall time of a fixed loop of plain Python, the least of three: the yardstick of what people wait for."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        for number in range(LOOPS):
            str(number)
        took.append((time.perf_counter() - begun) * 1e3)
    return min(took)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take the figures of a test that has ended."""
    if report.when == "call":
        _found.extend(value for name, value in report.user_properties if name == "figure" and isinstance(value, Figure))


def pytest_sessionfinish() -> None:
    """Write the report, where one is asked for."""
    folder = os.environ.get("NOCLOBBER_BENCH_REPORT")
    if not folder or not _found:
        return
    place, told = Path(folder), machine()
    place.mkdir(parents=True, exist_ok=True)
    rows = [{**figure._asdict(), "ratio": figure.ratio} for figure in _found]
    (place / "bench.json").write_text(json.dumps({"machine": told, "figures": rows}, indent=1) + "\n")
    (place / "bench.md").write_text("\n".join(as_markdown(told, _found)) + "\n")


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    described = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "commit": described.stdout.strip() or "unknown",
        "load": f"{_load_at_begin:.1f} when it began, {os.getloadavg()[0]:.1f} when it ended",
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def as_markdown(told: dict[str, str], figures: Iterable[Figure]) -> Iterator[str]:
    """The report for people, by area."""
    yield "# Benchmarks"
    yield ""
    yield "Each figure stands beside a baseline that was measured in the same run. The ratio is what compares."
    yield ""
    yield from (f"- {name}: {value}" for name, value in told.items())
    kept = list(figures)
    for area in AREAS:
        rows = [figure for figure in kept if figure.area == area]
        if rows:
            yield from ("", f"## {area[0].upper()}{area[1:]}", "", "| what | figure | baseline | its figure | ratio |")
            yield "|---|---|---|---|---|"
        for figure in rows:
            yield (
                f"| {figure.what} | {figure.value:,.4g} {figure.unit} | {figure.baseline} | {figure.base:,.4g} "
                f"{figure.unit} | {figure.ratio:.3g} |"
            )
