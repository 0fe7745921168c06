"""Fault test 11: a machine's clock an hour off, set back in the middle, or telling microseconds beside nanoseconds.

What versions prove does not change by it: the same findings of the same accesses, as sure as before. What rests on
times is at most as sure as it was, also where a clock was set back and a strand's numbers tell so.
`tests/analyzer/test_clock_shift.py` holds the same over all kinds and small stories. Our own instrumentation tells
times of the monotonic clock, which nobody sets back.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from test_clock_shift import history_of, surer

from noclobber.contract import Certainty
from noclobber_analyzer.access import Access
from noclobber_analyzer.evaluate import Evaluation, evaluate
from noclobber_analyzer.forms import changed
from noclobber_analyzer.history import HistoryBuilder

pytestmark = pytest.mark.skipif(
    not os.environ.get("NOCLOBBER_HISTORIES"), reason="NOCLOBBER_HISTORIES names no folder with the generator"
)

HOUR_NS, STEP_NS = 3_600_000_000_000, 600_000_000_000
PROVEN = ("lost_update", "fork", "stale_write", "dirty_read", "intermediate_read")
Clock = Callable[[int], int]
SET_BACK = "set back ten minutes"


def clocks(middle_ns: int) -> dict[str, Clock]:
    """What a machine's clock may tell of a time."""
    return {
        "an hour ahead": lambda ns: ns + HOUR_NS,
        "an hour behind": lambda ns: ns - HOUR_NS,
        SET_BACK: lambda ns: ns - STEP_NS if ns >= middle_ns else ns,
        "whole microseconds": lambda ns: ns // 1_000 * 1_000,
    }


def told_by(accesses: list[Access], host: str, clock: Clock) -> Evaluation:
    """What is made of accesses of which one host's are told by another clock; a call never ends before it begins."""
    builder = HistoryBuilder()
    for access in accesses:
        start_ns, end_ns = access.start_ns, access.end_ns
        if access.process.host == host:
            start_ns, end_ns = clock(start_ns), clock(end_ns)
        moved = changed(access, start_ns=start_ns, end_ns=max(start_ns, end_ns))
        builder.add(moved, moved.name)
    return evaluate(builder.finish(ended=True))


def proven(found: Evaluation) -> Counter[tuple[str, frozenset[str]]]:
    """Certain findings of kinds that versions prove, each by its accesses."""
    return Counter(
        (str(each.kind), frozenset(access.span_id for access in each.accesses))
        for each in found.findings
        if each.kind in PROVEN and each.certainty is Certainty.CERTAIN
    )


@pytest.fixture
def accesses(request: pytest.FixtureRequest, tmp_path: Path) -> list[Access]:
    """A history of three hosts with injected races, of the seed that the test names."""
    kinds = ("lost_update", "dirty_read", "fork", "stale_read")
    injected = [word for kind in kinds for word in ("--inject", f"{kind}=3")]
    words = (*injected, "--versions", "counter", "--hosts", "3", "--skew", "20")
    return list(history_of(tmp_path, request.param, *words)[0].accesses)


LATER = [pytest.param(seed, marks=pytest.mark.long) for seed in range(12, 32)]


@pytest.mark.parametrize("accesses", [11, *LATER], indirect=True)
def test_what_versions_prove_hangs_on_no_clock(accesses: list[Access]) -> None:
    """Four clocks gone wrong on a host: 0 changed findings, and none is surer."""
    middle_ns = sorted(access.start_ns for access in accesses)[len(accesses) // 2]
    hosts = sorted({str(access.process.host) for access in accesses})
    before = told_by(accesses, "none", lambda ns: ns)
    assert len(hosts) == 3
    assert len(proven(before)) >= 3
    for host in hosts[:1]:
        for name, clock in clocks(middle_ns).items():
            after = told_by(accesses, host, clock)
            assert proven(after) == proven(before), (host, name)
            assert surer(after, before) == [], (host, name)


@pytest.mark.parametrize("accesses", [11, *LATER], indirect=True)
def test_a_clock_that_was_set_back_makes_nothing_surer(accesses: list[Access]) -> None:
    """A strand's later call that ended before its earlier one began tells that the clock was set: doubt its times."""
    middle_ns = sorted(access.start_ns for access in accesses)[len(accesses) // 2]
    before = told_by(accesses, "none", lambda ns: ns)
    for host in ("host-0", "host-1", "host-2"):
        assert surer(told_by(accesses, host, clocks(middle_ns)[SET_BACK]), before) == []
