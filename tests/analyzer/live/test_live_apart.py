"""Live analysis in a process of its own: it does what it does in a thread, comes again, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from intake import Agent, Intake, Request, wait_until
from streams import ACCOUNT

from noclobber_analyzer.finding import Finding
from noclobber_analyzer.live_apart import ApartAnalyzer


def lost_update(resource: str, at: float) -> list[Request]:
    """Two agents computed from one version; the second write replaced the first."""
    first, second = Agent(f"first{at}"), Agent(f"second{at}")
    return [
        first.read(resource, "1", at), second.read(resource, "1", at + 0.01),
        first.write(resource, "1", "2", at + 0.02, version__overwritten="1"),
        second.write(resource, "1", "3", at + 0.03, version__overwritten="2"),
    ]  # fmt: skip


@pytest.fixture
def analyzer(intake: Intake) -> Iterator[ApartAnalyzer]:
    made = ApartAnalyzer(intake.store)
    yield made
    made.stop(30.0)


def found(intake: Intake, many: int) -> list[Finding]:
    """So many findings, as soon as they are there."""
    wait_until(lambda: len(intake.findings()) == many, 60.0)
    return intake.findings()


def test_what_arrives_becomes_an_issue(intake: Intake, tmp_path: Path) -> None:
    """Findings, issue, declarations, wake-ups, what operators ask; the end leaves a checkpoint and no process."""
    config = tmp_path / "noclobber.toml"
    config.write_text(f'[[resource]]\npattern = "{ACCOUNT}:mine"\npolicy = "last_writer_wins"\n')
    told: list[int] = []
    analyzer = ApartAnalyzer(intake.store, on_found=lambda: told.append(1), words=["--config", str(config)])
    assert analyzer.stats()["accesses"] == 0
    analyzer.start()
    intake.take(lost_update(ACCOUNT, 1.0) + lost_update(f"{ACCOUNT}:mine", 2.0), on_loaded=analyzer.wake)
    assert [str(finding.kind) for finding in found(intake, 1)] == ["lost_update"]
    wait_until(lambda: told)
    wait_until(lambda: analyzer.stats()["accesses"] == 8)
    pid = analyzer.pid
    assert pid is not None
    assert analyzer.alive
    assert analyzer.stop(30.0)
    assert not analyzer.alive
    assert not psutil.pid_exists(pid)
    assert analyzer.stats()["written"] == 1
    assert intake.store.rows("SELECT count() FROM cursors WHERE analyzer = 'live'")[0][0] >= 1


def test_one_that_was_killed_comes_again(intake: Intake, analyzer: ApartAnalyzer) -> None:
    """Another process goes on where it was: nothing is found twice, nothing is missed."""
    analyzer.start()
    intake.take(lost_update(ACCOUNT, 1.0), on_loaded=analyzer.wake)
    found(intake, 1)
    pid = wait_until(lambda: analyzer.pid)
    os.kill(pid, signal.SIGKILL)
    intake.take(lost_update(f"{ACCOUNT}:other", 2.0), on_loaded=analyzer.wake)
    found(intake, 2)
    assert analyzer.pid != pid
    assert intake.store.rows("SELECT max(revision) FROM findings") == [(1,)]


def test_signals_of_the_terminal_are_not_for_it(intake: Intake, analyzer: ApartAnalyzer) -> None:
    """The engine decides when it ends: it has to be asked for its last checkpoint."""
    analyzer.start()
    intake.take(lost_update(ACCOUNT, 1.0), on_loaded=analyzer.wake)
    found(intake, 1)
    pid = wait_until(lambda: analyzer.pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    intake.take(lost_update(f"{ACCOUNT}:other", 2.0), on_loaded=analyzer.wake)
    found(intake, 2)
    assert analyzer.pid == pid


def test_it_ends_with_its_engine() -> None:
    """An engine that was killed leaves nobody behind, and nobody complains."""
    loan, lent = socket.socketpair()
    talk, talked = socket.socketpair()
    with loan, talk:
        process = subprocess.Popen(
            [sys.executable, "-m", "noclobber_analyzer.live_process", "--loan-fd", str(lent.fileno()),
             "--talk-fd", str(talked.fileno())],
            pass_fds=(lent.fileno(), talked.fileno()), stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        lent.close()
        talked.close()
        assert b"behind_seconds" in talk.recv(65_536)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 70
    assert "Traceback" not in said


def test_one_that_never_began_stops(intake: Intake) -> None:
    """Stopping before the start does nothing."""
    assert ApartAnalyzer(intake.store).stop(1.0)
