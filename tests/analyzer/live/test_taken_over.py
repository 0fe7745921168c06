"""Real analyzers in processes of their own share one store; one is killed, and nothing is lost or stands twice."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn
from intake import Intake, generated, one_by_one, wait_until, written
from starlette.applications import Starlette
from test_live_equals_offline import INJECTED, but_for_kept_kinds

from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_collector.store_route import store_route


@pytest.fixture
def url(intake: Intake) -> Iterator[str]:
    """The embedded store, over HTTP as a running engine offers it: chdb itself lets one process in."""
    config = uvicorn.Config(Starlette(routes=[store_route(intake.store)]), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/v1/store"
    server.should_exit = True
    thread.join(10)


def an_analyzer(url: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "noclobber.cli", "analyzer", "--store", url]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def held(intake: Intake) -> list[int]:
    """How many ranges each holds, by the newest beat of those that beat in the last seconds."""
    sql = (
        "SELECT length(ranges) FROM leases WHERE leaving = 0 AND at_ns > toUnixTimestamp64Nano(now64(9)) - 10000000000 "
        "ORDER BY beat DESC LIMIT 1 BY owner"
    )
    return sorted(int(row[0]) for row in intake.store.rows(sql))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_killed_owner(intake: Intake, url: str, tmp_path: Path) -> None:
    """Of three that share the ranges one is killed with -9 in the middle; the others take its ranges over."""
    requests = one_by_one(generated(tmp_path, "--ops", "900", "--mode", "txn", "--guarded", "0.2", *INJECTED))
    expected = evaluate(read_otlp([written(tmp_path, requests)]))
    analyzers = [an_analyzer(url) for _ in range(3)]
    try:
        wait_until(lambda: held(intake) == [21, 21, 22], 90)
        half = len(requests) // 2
        intake.take(requests[:half])
        wait_until(lambda: intake.counts()[0] > 0, 60)
        analyzers[1].send_signal(signal.SIGKILL)
        intake.take(requests[half:])
        wait_until(lambda: held(intake) == [32, 32], 60)
        wait_until(lambda: {f.id for f in intake.findings()} == {f.id for f in expected.findings}, 60)
        for analyzer in (analyzers[0], analyzers[2]):
            analyzer.send_signal(signal.SIGTERM)
            assert analyzer.wait(60) == 0
    finally:
        for analyzer in analyzers:
            analyzer.kill()
            analyzer.wait(10)
    found = [msgspec.structs.replace(finding, revision=1) for finding in intake.findings()]
    assert but_for_kept_kinds(found, expected.findings) == expected.findings
    rows = intake.store.rows("SELECT id, revision FROM findings")
    assert len(rows) == len(set(rows))
    opened = intake.store.rows("SELECT issue, count() FROM transitions WHERE kind = 'issue.opened' GROUP BY issue")
    assert {int(count) for _, count in opened} == {1}
    assert {str(issue) for issue, _ in opened} == {finding.issue for finding in found if finding.manifest}
