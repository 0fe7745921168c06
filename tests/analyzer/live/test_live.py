"""The live analyzer's thread: told by the loader it is quick, and it survives its store."""

import logging
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from intake import Agent, Intake, encoded, wait_until
from streams import ACCOUNT, FailingStore

from noclobber_analyzer.live import LiveAnalyzer
from noclobber_collector.loader import Loader
from noclobber_collector.spool import Spool


def lost_update(resource: str, at: float) -> tuple[Agent, Agent, list[Any]]:
    """Two agents computed from one version; the second write replaced the first."""
    first, second = Agent(f"first{at}"), Agent(f"second{at}")
    return first, second, [
        first.read(resource, "1", at), second.read(resource, "1", at + 0.01),
        first.write(resource, "1", "2", at + 0.02, version__overwritten="1"),
        second.write(resource, "1", "3", at + 0.03, version__overwritten="2"),
    ]  # fmt: skip


def test_what_arrives_becomes_an_issue(intake: Intake) -> None:
    """Loader, analyzer, findings, issue: each wakes the next, and `stop` leaves a checkpoint."""
    told: list[float] = []
    analyzer = LiveAnalyzer(intake.store, on_found=lambda: told.append(time.monotonic()), dashboard="http://d:8501")
    analyzer.start()
    intake.take(lost_update(ACCOUNT, 1.0)[2], on_loaded=analyzer.wake)
    wait_until(lambda: told)
    assert [str(finding.kind) for finding in intake.findings()] == ["lost_update"]
    assert intake.store.rows("SELECT kind FROM transitions")[0] == ("issue.opened",)
    assert analyzer.stop(20.0)
    assert intake.store.rows("SELECT count() FROM cursors WHERE analyzer = 'live'")[0][0] >= 1
    health = analyzer.stats()
    assert (health["kept_accesses"], health["written"], health["last_error"]) == (4, 1, "")


def test_an_analyzer_that_never_began_stops(intake: Intake) -> None:
    """Stopping before the start does nothing."""
    assert LiveAnalyzer(intake.store).stop(1.0)


def test_a_store_that_is_away(intake: Intake, caplog: pytest.LogCaptureFixture) -> None:
    """An error of the store is said once however often it happens, and nothing that was read is lost."""
    caplog.set_level(logging.INFO)
    away = [True]
    store = FailingStore(intake.store, lambda table, _: table == "findings" and away[0])
    analyzer = LiveAnalyzer(store)
    analyzer.start()
    intake.take(lost_update(ACCOUNT, 1.0)[2], on_loaded=analyzer.wake)
    wait_until(lambda: store.inserts >= 2)
    assert "insert into findings" in str(analyzer.stats()["last_error"])
    away[0] = False
    wait_until(intake.findings)
    wait_until(lambda: analyzer.stats()["last_error"] == "")
    assert analyzer.stop(20.0)
    assert caplog.text.count("live analysis waits and tries again") == 1
    assert caplog.text.count("live analysis goes on") == 1


@pytest.mark.benchmark
@pytest.mark.timeout(300)
def test_latency_of_a_finding(intake: Intake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the second write's acknowledgement to its finding in the store, beside a steady load: below 5 s."""
    spool = Spool(tmp_path / "spool")
    analyzer = LiveAnalyzer(intake.store)
    loader = Loader(intake.store, tmp_path / "spool", on_loaded=analyzer.wake)
    analyzer.start()
    loader.start()
    worker = Agent("worker")
    took, took_waiting = [], []
    for turn in range(20):
        for n in range(50):
            body = encoded(worker.read(f"{ACCOUNT}:{n}", "1", turn + n / 1000))
            spool.put(body, 1)
        first, second, requests = lost_update(f"{ACCOUNT}:{turn}", 1000.0 + turn)
        for request in requests[:-1]:
            spool.put(encoded(request), 1).result(20)
        took.append(_seconds_until(intake, spool, requests[-1], 2 * turn + 1))
        # A verdict that waits for a frontier: both took a task, and mark a moment later.
        tasks = {"noclobber.message.id": f"t{turn}"}
        spool.put(encoded(first.access("receive", f"q:{turn}", 2000.0 + turn, tasks)), 1).result(20)
        spool.put(encoded(second.access("receive", f"q:{turn}", 2000.1 + turn, tasks)), 1).result(20)
        spool.put(encoded(first.mark(2001.0 + turn, 2001.0 + turn)), 1).result(20)
        took_waiting.append(_seconds_until(intake, spool, second.mark(2001.0 + turn, 2001.0 + turn), 2 * turn + 2))
    spool.close()
    assert loader.stop(30.0)
    assert analyzer.stop(30.0)
    with capsys.disabled():
        print(f"\nsecond write to finding: {_figures(took)}; last mark to finding: {_figures(took_waiting)}")
    assert max(took) < 5.0
    assert max(took_waiting) < 5.0


def _seconds_until(intake: Intake, spool: Spool, request: Any, findings: int) -> float:
    spool.put(encoded(request), 1).result(20)
    begun = time.monotonic()
    sql = "SELECT uniqExact(id) FROM findings"
    wait_until(lambda: intake.store.rows(sql)[0][0] >= findings, 10.0)
    return time.monotonic() - begun


def _figures(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}"
