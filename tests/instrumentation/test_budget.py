"""Recording switches itself off above its share of a processor, for good, and nothing false follows from it."""

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reachability import touch

import noclobber
from noclobber import recorder
from noclobber.budget import HOOK_NS, Budget
from noclobber.cli import main
from noclobber.otlp import json_line
from noclobber.settings import Settings
from noclobber.testing import Captured, capture

S = 1_000_000_000


def wait_until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a condition, bounded."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("share", "accesses", "spent"),
    [(0.3, 1_000_000, True), (0.3, 100_000, False), (0.0, 10_000_000, False)],
)
def test_the_share_is_judged_over_a_window(share: float, accesses: int, spent: bool) -> None:
    """What hooks take is reckoned by the number of accesses; no share is no limit."""
    budget = Budget(share)
    assert not budget.is_spent(0, 0, 0)
    assert not budget.is_spent(29 * S, accesses, 0)
    assert budget.is_spent(30 * S, accesses, 0) is spent
    if spent:
        assert budget.taken == pytest.approx(accesses * HOOK_NS / (30 * S), rel=0.5)


def test_a_burst_passes() -> None:
    """Ten seconds of twice the share are less than half a minute's worth, and a new window begins anew."""
    budget = Budget(0.3)
    assert not budget.is_spent(0, 0, 0)
    for minute in range(3):
        assert not budget.is_spent((30 + 30 * minute) * S, 600_000 * (minute + 1), 0)
    assert budget.is_spent(120 * S, 600_000 * 3 + 1_000_000, 0)


def test_what_other_threads_took_counts() -> None:
    """The sender's thread has a clock of its own."""
    budget = Budget(0.3)
    budget.is_spent(0, 0, 0)
    assert budget.is_spent(30 * S, 0, 12 * S)


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Captured]:
    """A recorder that has made two accesses and then found that it takes too much."""
    monkeypatch.setattr(recorder, "Budget", functools.partial(Budget, window_ns=1))
    with (
        caplog.at_level(logging.WARNING, "noclobber"),
        capture(fixed=False, background=True, flush_interval_s=0.002, cpu_budget=1e-12) as captured,
    ):
        touch("a")
        wait_until(lambda: recorder.active() is None)
        yield captured


def marks(captured: Captured) -> list[dict[str, object]]:
    """The marks that were sent so far."""
    return [span.attributes for export in captured._sink.exports for span in export if span.name == "mark noclobber"]


def dropped_last(captured: Captured) -> int:
    """How many accesses the last mark says were dropped."""
    said = marks(captured)[-1:]
    return int(str(said[0]["noclobber.dropped"])) if said else 0


def test_it_says_so_in_the_log_and_in_its_marks(spent: Captured, caplog: pytest.LogCaptureFixture) -> None:
    """One line; from then on marks are partial, and count what passes."""
    (line,) = [each.message for each in caplog.get_records("setup") if "switched itself off" in each.message]
    assert "NOCLOBBER_CPU_BUDGET" in line
    dropped = spent.recorder.passed
    for _ in range(10):
        touch("b")
    assert spent.recorder.passed >= dropped + 10
    wait_until(lambda: dropped_last(spent) >= dropped + 10)
    assert marks(spent)[-1]["noclobber.partial"] is True
    sent = [span.attributes["noclobber.resource"] for export in spent._sink.exports for span in export]
    assert "x://b" not in sent


def test_it_stays_off_and_ends_in_order(spent: Captured) -> None:
    """Another `instrument` changes nothing, the last mark is sent at the end, and the program's calls are as ever."""
    assert recorder.start(Settings(send=False)) is spent.recorder
    assert recorder.active() is None
    with noclobber.access("x://c", "write") as access:
        access.written(version=1)
    recorder.stop(5)
    assert marks(spent)[-1]["noclobber.frontier_ns"] == 2**63 - 1
    assert marks(spent)[-1]["noclobber.partial"] is True


def test_a_forked_child_begins_anew(spent: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a busy parent has a budget of its own."""
    monkeypatch.setattr(recorder, "Budget", Budget)  # with the parent's window the child's is spent at once, too
    child = os.fork()
    if not child:  # pragma: no cover  the child's lines are not counted
        os._exit(0 if recorder.active() is not None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert recorder.active() is None


def test_nothing_certain_rests_on_what_was_not_seen(
    spent: Captured, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The analyzer knows that accesses are missing."""
    touch("b")
    recorder.stop(5)
    file = tmp_path / "spans.jsonl"
    exports = spent._sink.exports
    file.write_text("".join(json_line(spent._sink.resource, export) + "\n" for export in exports))
    assert main(["check", "--format", "json", str(file)]) == 0
    coverage = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["coverage"]
    assert coverage["lost_spans"] >= 1
