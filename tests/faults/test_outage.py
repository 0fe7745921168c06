"""Fault test 2: the collector is away for longer than the stock exporter waits; the agent's own spool loses nothing.

A real agent at a thousand accesses a second, a real receiver that is killed and comes back. What a call costs the agent
does not change meanwhile.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Receiver, wait_until

from noclobber_collector.segments import CLOSED, OPEN, sound_requests

CALLER = Path(__file__).parent / "caller.py"
RATE = 1_000
AROUND_S = 3.0
"""How long the agent works before and after the outage."""


def arrived(spool: Path) -> list[tuple[str, int]]:
    """Strand and number of each access in a receiver's spool."""
    found = []
    for path in sorted(each for each in spool.iterdir() if each.suffix in (CLOSED, OPEN)):
        data = path.read_bytes()
        for begin, end in sound_requests(data):
            at = next(number + 1 for number in range(begin, end) if data[number] < 0x80)
            for group in ExportTraceServiceRequest.FromString(data[at:end]).resource_spans:
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    told = {pair.key: pair.value for pair in span.attributes}
                    if "noclobber.seq" in told:
                        found.append((told["noclobber.strand"].string_value, told["noclobber.seq"].int_value))
    return found


def away_for(folder: Path, seconds: float) -> None:
    calls = int(RATE * (seconds + 2 * AROUND_S))
    receiver = Receiver(folder)
    environment = {
        **os.environ, "NOCLOBBER_ENDPOINT": receiver.http, "NOCLOBBER_SPOOL": str(folder / "agent"),
        "NOCLOBBER_KEY": "k",
    }  # fmt: skip
    words = [sys.executable, str(CALLER), str(calls), str(RATE)]
    caller = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: receiver.metrics()["spans_total"] > RATE, 30, "the agent's first accesses")
        receiver.kill()
        down_at = time.time()
        time.sleep(seconds)
        receiver = Receiver(folder, ports=[receiver.grpc_port, receiver.http_port])
        up_at = time.time()
        told = json.loads(caller.communicate(timeout=120 + 3 * seconds)[0])
        assert caller.returncode == 0
        wait_until(lambda: len(set(arrived(receiver.spool))) >= told["made"], 60, "all accesses")
        found = set(arrived(receiver.spool))
        assert len(found) == told["made"] == calls
        assert {number for _, number in found} == set(range(1, calls + 1))
        assert receiver.stop() == 0
    finally:
        caller.kill()
        caller.wait()
        receiver.stop()
    before = [cost for at, cost in told["costs"] if at < down_at][100:]
    during = [cost for at, cost in told["costs"] if down_at <= at < up_at]
    assert statistics.median(during) <= 1.5 * statistics.median(before)


def test_an_outage_of_some_seconds_loses_nothing(tmp_path: Path) -> None:
    """Every access arrives, in the end."""
    away_for(tmp_path, 4)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_outage_of_half_a_minute_loses_nothing(tmp_path: Path) -> None:
    """The stock exporter would have dropped its batches after ten seconds."""
    away_for(tmp_path, 30)


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(1_500)
def test_an_outage_of_five_minutes_loses_nothing(tmp_path: Path) -> None:
    """Three hundred thousand accesses wait on the agent's own disk."""
    away_for(tmp_path, 300)
