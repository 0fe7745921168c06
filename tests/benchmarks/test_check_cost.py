"""What `noclobber check` costs: time, memory, and how both grow, from JSON lines on one core, start-up included.

CPU seconds and peak memory of the process itself, so that other load on the machine matters less; each time is given
as a ratio to a fixed baseline of the same run, too: a few readable lines that parse the same file and count each
span's attributes, and find nothing. The histories come from the labelled generator (`NOCLOBBER_HISTORIES`).
Run with `nox -s bench`; a million operations, which take minutes to make, with `-m "benchmark and long"`.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from bench_report import Ratio

FOLDER = os.environ.get("NOCLOBBER_HISTORIES")
pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not FOLDER, reason="NOCLOBBER_HISTORIES names no folder with the generator"),
]

SIX = ("lost_update", "fork", "dirty_read", "double_claim", "lock_violation", "write_skew")
BASELINE = """
import json, sys
spans = attributes = 0
for line in open(sys.argv[1], "rb"):
    for process in json.loads(line)["resourceSpans"]:
        for library in process["scopeSpans"]:
            for span in library["spans"]:
                spans += 1
                attributes += len({each["key"]: each["value"] for each in span["attributes"]})
print(spans, attributes)
"""
"""The yardstick of every time here."""


class Cost(NamedTuple):
    """CPU seconds, peak memory in MB, and what was printed."""

    cpu_s: float
    peak_mb: float
    out: str


LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ)
_, status, used = os.wait4(child, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status), file=sys.stderr)
"""
"""Starts a program from a process that is smaller than any: a child's peak begins at its parent's size."""


def measured(*words: str) -> Cost:
    """Run a program to its end; what it cost, children excluded."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *words], capture_output=True, text=True, check=True
    )
    cpu_s, peak_kb, code = done.stderr.splitlines()[-1].split()
    assert int(code) in (0, 1), done.stderr
    return Cost(float(cpu_s), int(peak_kb) / 1024, done.stdout)


def check(path: Path) -> Cost:
    """`noclobber check --format json` of one file."""
    return measured("-m", "noclobber.cli", "check", "--format", "json", str(path))


def history(folder: Path, operations: int, *words: str) -> Path:
    """A generated history, strands and resources in proportion; the labels lie beside it."""
    base = folder / f"h{operations}{''.join(words)}"
    subprocess.run(
        [sys.executable, str(Path(str(FOLDER)) / "generate.py"), "--out", str(base), "--ops", str(operations), *words],
        check=True, capture_output=True, timeout=1200,
    )  # fmt: skip
    return Path(f"{base}.otlp.jsonl")


def with_six_kinds(folder: Path, operations: int) -> Path:
    """The shape that the targets speak of: a hundred strands, a resource for twenty operations, six kinds injected."""
    injected = [word for kind in SIX for word in ("--inject", f"{kind}=20")]
    resources = max(200, operations // 20)
    return history(folder, operations, "--strands", "100", "--resources", str(resources), "--seed", "5", *injected)


RANK = {"possible": 0, "likely": 1, "certain": 2}


def assert_found(path: Path, out: str) -> int:
    """Each injected race is found as surely as its label says, and no other is likely; returns the accesses."""
    *findings, last = (json.loads(line) for line in out.splitlines())
    labels = [json.loads(line) for line in Path(str(path).replace(".otlp.", ".labels.")).read_text().splitlines()]
    told = [({access["span_id"] for access in f["accesses"]}, f) for f in findings]
    injected = {span for label in labels for span in label["spans"]}
    assert [f for spans, f in told if f["certainty"] != "possible" and not spans & injected] == []
    for label in labels:
        named = {label["kind"], *label["accept"]}
        fits = [f for spans, f in told if spans & set(label["spans"]) and named & {f["kind"], *f["also"]}]
        assert any(RANK[f["certainty"]] >= RANK[label["certainty"]] for f in fits), label
    return int(last["summary"]["accesses"])


def idle(folder: Path) -> Cost:
    """What it costs to find nothing in nothing."""
    nothing = folder / "nothing.jsonl"
    nothing.write_text('{"resourceSpans": []}\n')
    return min(check(nothing) for _ in range(3))


def bytes_each(cost: Cost, start: Cost, accesses: int) -> float:
    """Peak memory for an access, start-up taken out."""
    return (cost.peak_mb - start.peak_mb) * 2**20 / accesses


def say(ratio: Ratio, name: str, cost: Cost, base: Cost, accesses: int) -> None:
    """One line of the report."""
    ratio("detection", name, cost.cpu_s, "s of CPU", "the same file parsed and counted", base.cpu_s)
    print(
        f"\n{name}: {cost.cpu_s:.2f} s CPU ({cost.cpu_s / accesses * 1e6:.1f} us an access), "
        f"{cost.cpu_s / base.cpu_s:.2f} x the baseline's {base.cpu_s:.2f} s; "
        f"{cost.peak_mb:.0f} MB ({cost.peak_mb * 2**20 / accesses:.0f} B an access)"
    )


def test_hundred_thousand(tmp_path: Path, ratio: Ratio) -> None:
    """100,000 operations with six kinds injected: target 3 s and 300 MB; here no more than 3.6 baselines and 150 MB."""
    path = with_six_kinds(tmp_path, 100_000)
    base, cost = min(measured("-c", BASELINE, str(path)) for _ in range(3)), min(check(path) for _ in range(3))
    accesses = assert_found(path, cost.out)
    say(ratio, "check, 100,000 operations", cost, base, accesses)
    assert cost.peak_mb < 150
    assert cost.cpu_s < 3.6 * base.cpu_s


def test_growth(tmp_path: Path) -> None:
    """From ten thousand to a hundred thousand operations time grows as n^1.1 at most, start-up taken out."""
    small, large = (with_six_kinds(tmp_path, operations) for operations in (10_000, 100_000))
    start = idle(tmp_path).cpu_s
    times = [min(check(path).cpu_s for _ in range(3)) - start for path in (small, large)]
    exponent = math.log10(times[1] / times[0])
    print(f"\ncheck grows as n^{exponent:.2f} ({times[0]:.2f} s, {times[1]:.2f} s; start-up {start:.2f} s)")
    assert exponent <= 1.1


@pytest.mark.long
def test_million(tmp_path: Path, ratio: Ratio) -> None:
    """1,000,000 operations: target 25 s, 600 B an access at its peak, exponent 1.1 over the last decade."""
    start = idle(tmp_path)
    part, third, whole = (with_six_kinds(tmp_path, operations) for operations in (100_000, 300_000, 1_000_000))
    base, one, cost = measured("-c", BASELINE, str(whole)), check(part), check(whole)
    accesses = assert_found(whole, cost.out)
    say(ratio, "check, 1,000,000 operations", cost, base, accesses)
    exponent = math.log10((cost.cpu_s - start.cpu_s) / (one.cpu_s - start.cpu_s))
    middle = check(third)
    each = [bytes_each(middle, start, assert_found(third, middle.out)), bytes_each(cost, start, accesses)]
    print(f"grows as n^{exponent:.2f}; {each[0]:.0f} B an access at 300,000, {each[1]:.0f} B at 1,000,000")
    assert exponent <= 1.1
    assert cost.cpu_s < 3.6 * base.cpu_s
    assert max(each) <= 600


def test_one_hot_resource(tmp_path: Path, ratio: Ratio) -> None:
    """One resource, all strands overlapping, one stale read: named, in time that does not depend on the strands."""
    times = {}
    for strands in (5, 12, 50, 200):
        path = history(tmp_path, 20_000, "--strands", str(strands), "--seed", "3", "--hot")
        base, cost = measured("-c", BASELINE, str(path)), min(check(path) for _ in range(2))
        *findings, last = (json.loads(line) for line in cost.out.splitlines())
        say(ratio, f"check, one hot resource, {strands} strands", cost, base, int(last["summary"]["accesses"]))
        label = json.loads(Path(str(path).replace(".otlp.", ".labels.")).read_text().splitlines()[0])
        sure = [f for f in findings if f["certainty"] != "possible"]
        assert [f["kind"] for f in sure] == ["stale_read"]
        assert set(label["spans"]) <= {access["span_id"] for access in sure[0]["accesses"]}
        times[strands] = cost.cpu_s / base.cpu_s
    assert max(times.values()) < 1.5 * min(times.values())
