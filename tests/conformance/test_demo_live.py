"""The demo's verdict on the live path: right both ways, and within five seconds of the second write."""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rounds import ACTS, strong

from noclobber_analyzer.finding import Finding
from noclobber_sidecar.demo.sidecar import Sidecar
from noclobber_sidecar.demo.stage import perform

ROUNDS = 50
OUTCOMES_MIN = 5
SOON_S = 5.0
FINDING_TIMEOUT_S = 30.0
QUIET_S = 5.0


@dataclass(frozen=True, slots=True)
class Lived:
    """One round on the live path; `waited_s` is from the second write to the finding, None where none came."""

    key: str
    lost: bool
    waited_s: float | None


def about(sidecar: Sidecar, key: str) -> tuple[Finding, ...]:
    """Strong findings on the account of one round."""
    found = strong([each for each in sidecar.findings() if each.status == "open"])
    return tuple(each for each in found if each.resource.endswith(f"/{key}"))


def waited_s(sidecar: Sidecar, key: str) -> float | None:
    """Wait for a finding; how long after its last access it could be read, in seconds."""
    until = time.monotonic() + FINDING_TIMEOUT_S
    while time.monotonic() < until:
        for finding in about(sidecar, key):
            return (time.time_ns() - finding.last_ns) / 1e9
        time.sleep(0.05)
    return None


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_live_findings_come_if_and_only_if_something_was_lost(tmp_path: Path) -> None:
    """Fifty rounds of the account on one running sidecar: each loss is found, soon; nothing else ever is."""
    played: list[Lived] = []
    pids: tuple[int, ...] = ()
    stage = tmp_path / "stage"
    stage.mkdir()
    with Sidecar(tmp_path) as sidecar, ACTS["account"].open(stage) as opened:
        environment = {**os.environ, "NOCLOBBER_ENDPOINT": sidecar.otlp, "NOCLOBBER_KEY": "a key"}
        for number in range(1, ROUNDS + 1):
            opened.observer.prepare(number)
            performance = perform(opened.programs(number, False), environment=environment)
            lost, key = opened.observer.judge(number, performance.lines).lost, opened.observer.key(number)
            played.append(Lived(key, lost, waited_s(sidecar, key) if lost else None))
            pids = performance.pids
        until = time.monotonic() + FINDING_TIMEOUT_S
        while not sidecar.has_heard_out(pids) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(QUIET_S)  # an absence can't be waited for
        reported = {each.key for each in played if about(sidecar, each.key)}
    assert reported == {each.key for each in played if each.lost}
    assert OUTCOMES_MIN <= len(reported) <= ROUNDS - OUTCOMES_MIN
    waits = sorted(each.waited_s for each in played if each.waited_s is not None)
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    print(f"second write to finding: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, {len(waits)} findings")
    assert len(waits) == len(reported)
    assert cuts[49] < SOON_S
