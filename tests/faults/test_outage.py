"""A collector that is away: the agent's spool rides it out, at a thousand accesses a second, with nothing lost."""

import http.server
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from results import write_result

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Op
from noclobber.settings import Settings

RATE = 1000


class Collector:
    """Takes exports, or is away (503)."""

    def __init__(self) -> None:
        self.away, self.seqs, self.marks = True, Counter[int](), 0
        mine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if not mine.away:
                    mine.take(data)
                self.send_response(503 if mine.away else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def take(self, data: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(data)
        for scoped in request.resource_spans[0].scope_spans:
            for span in scoped.spans:
                said = {each.key: each.value for each in span.attributes}
                if said["noclobber.op"].string_value == "mark":
                    self.marks += 1
                else:
                    self.seqs[said["noclobber.seq"].int_value] += 1

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def a_write(call: Call) -> list[Access]:
    """An access of the usual size."""
    said = {
        "noclobber.version.kind": "fingerprint", "noclobber.version.written": "0" * 32, "noclobber.size": 40,
        "noclobber.version.base": "1" * 32, "noclobber.version.base.source": "observed",
        "noclobber.version.base.strand": call.strand.id, "noclobber.version.base.seq": call.seq,
        "noclobber.version.base.end_ns": call.start_ns, "network.peer.address": "127.0.0.1",
        "db.operation.name": "SET",
    }  # fmt: skip
    return [Access(Op.WRITE, f"redis://cache.internal:6379/0/acct:{call.seq % 500}", "redis", attributes=said)]


def ride_out(collector: Collector, folder: Path, outage_s: float) -> tuple[recorder.Recorder, int]:
    """Record at `RATE` for so long while nobody takes anything; then let all be taken."""
    settings = Settings(
        endpoint=f"http://127.0.0.1:{collector.server.server_port}/v1/traces", spool=folder, cpu_budget=0.0
    )
    mine = recorder.Recorder(settings)
    mine.run()
    began, number = time.monotonic(), 0
    while time.monotonic() - began < outage_s or number < RATE * outage_s:
        while number < min((time.monotonic() - began) * RATE, RATE * outage_s):
            mine.end(mine.begin("redis"), a_write)
            number += 1
        time.sleep(0.005)
    collector.away = False
    assert mine.flush(120)
    mine.shutdown(10)
    return mine, number


def hold(collector: Collector, mine: recorder.Recorder, number: int) -> None:
    assert (len(collector.seqs), set(collector.seqs.values())) == (number, {1})
    assert mine.dropped == 0
    assert collector.marks > 0


def test_a_few_seconds(collector: Collector, tmp_path: Path) -> None:
    """The short form."""
    hold(collector, *ride_out(collector, tmp_path, 4.0))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_five_minutes(collector: Collector, tmp_path: Path) -> None:
    """What the goal says, 300,000 accesses; with room to spare in the default spool."""
    mine, number = ride_out(collector, tmp_path, 300.0)
    hold(collector, mine, number)
    write_result("client-outage", {"seconds": 300, "accesses": number, "lost": 0, "doubled": 0})
