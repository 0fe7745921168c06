"""Fault test 10: each batch arrives three times, shuffled, late, a trace's spans apart: the findings are the same.

Through receiver, spool, store and live analyzer. What is sent again is what OTLP allows clients to do; a call that was
sent open and comes once more after its end never opens again.
"""

import random
import time
from pathlib import Path

import pytest
from ledger import is_written_once, open_findings
from made import PROCESS, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Up, wait_until
from races import found_by_check, requests_of_races, send_until_taken
from results import write_result

from noclobber.contract import Attr

RACES = 5


def waited(end_ns: int) -> tuple[bytes, bytes]:
    """A lock that was waited for: sent open, and closed at its end, by one id."""
    lock = {
        Attr.OP: "lock", Attr.RESOURCE: "redis://h/0/lock", Attr.SYSTEM: "redis", Attr.AGENT: "waiter",
        Attr.STRAND: "waiter", Attr.SEQ: 1, Attr.LOCK_OWNER: "waiter",
    }  # fmt: skip
    process = {**PROCESS, "noclobber.process": "0123456789abcdef"}
    opened = request([{**lock, Attr.OUTCOME: "unknown", Attr.OPEN: True}], process)
    closed = request([{**lock, Attr.OUTCOME: "ok"}], process)
    first = opened.resource_spans[0].scope_spans[0].spans[0]
    last = closed.resource_spans[0].scope_spans[0].spans[0]
    last.trace_id, last.span_id = first.trace_id, first.span_id
    first.start_time_unix_nano = last.start_time_unix_nano = end_ns - 7_000_000_000
    first.end_time_unix_nano, last.end_time_unix_nano = end_ns - 2_000_000_000, end_ns
    return opened.SerializeToString(), closed.SerializeToString()


LATE_S = 600
"""Ten minutes."""


def resent(folder: Path, late_s: float) -> None:
    """Send everything but one race's first request; later that one, and everything twice more, shuffled."""
    requests = requests_of_races(RACES)
    opened, closed = waited(time.time_ns())
    expected = found_by_check(folder, *requests, closed)
    assert len(expected) >= RACES
    assert found_by_check(folder, *requests[::-1], closed, opened, *requests) == expected
    chance = random.Random(7)
    held, *first = requests
    again = [*requests, *requests, closed, opened]
    chance.shuffle(again)
    with Up(folder) as up:
        up.wait_until_ready()
        for data in (*first, opened, closed):
            send_until_taken(up.http, data)
        late_at = time.monotonic() + late_s
        wait_until(lambda: len(open_findings(up.rows)) >= RACES - 1, 60, "the races that are whole")
        time.sleep(max(0.0, late_at - time.monotonic()))
        for data in (held, *again, opened):
            send_until_taken(up.http, data)
        wait_until(lambda: open_findings(up.rows) == expected, 60, "the findings of the clean run")
        spans = sum(count_of(data) for data in (*requests, closed))
        visible = "SELECT count() FROM (SELECT 1 FROM accesses LIMIT 1 BY trace_id, span_id)"
        wait_until(lambda: up.rows(visible) == [(spans,)], 60, "every span")
        assert is_written_once(up.rows)
        newest = up.rows(
            "SELECT open, outcome FROM accesses WHERE strand = 'waiter' ORDER BY open, end_ns DESC LIMIT 1 "
            "BY trace_id, span_id"
        )
        assert [(int(is_open or 0), outcome) for is_open, outcome in newest] == [(0, "ok")]
        assert open_findings(up.rows) == expected


def count_of(data: bytes) -> int:
    """Spans of a request."""
    found = ExportTraceServiceRequest.FromString(data).resource_spans
    return sum(len(scope.spans) for group in found for scope in group.scope_spans)


@pytest.mark.parametrize(
    "late_s",
    [
        2,
        pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(400)]),
        pytest.param(LATE_S, marks=[pytest.mark.long, pytest.mark.exhaustive, pytest.mark.timeout(1_200)]),
    ],
)
def test_what_is_sent_again_shuffled_and_late_changes_no_finding(tmp_path: Path, late_s: int) -> None:
    """Each batch three times, in any order, all of it late."""
    resent(tmp_path, late_s)
    if late_s >= LATE_S:
        write_result("resend", {"times": 3, "late_s": late_s, "findings_changed": 0})
