"""What a span costs on its way: accepted and spooled, then loaded; and how long until it can be read.

CPU seconds of the processes themselves, so that other load on the machine matters less; each figure is printed beside a
baseline of the same run (the parser alone, over the same bytes), and the answer is checked. Run with `nox -s bench`.
"""

import http.client
import statistics
import threading
import time
from pathlib import Path

import psutil
import pytest
from bench_report import Ratio, plain_loop_ms
from made import ACCESS, accesses, request
from processes import Receiver, Up, wait_until

from noclobber_collector.loader import Loader
from noclobber_collector.requests import check
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import open_store

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

PARSER = "the protobuf parser alone"
FULL = {
    **ACCESS,
    "noclobber.run": "run-1",
    "noclobber.step": "step-1",
    "noclobber.unit": "step-1",
    "noclobber.unit.kind": "step",
    "noclobber.version.kind": "fingerprint",
    "noclobber.version.base": "0123456789abcdef",
    "noclobber.version.base.source": "observed",
    "noclobber.version.base.strand": "s1",
    "noclobber.version.base.seq": 1,
    "noclobber.version.base.end_ns": 1_790_000_000_000_000_000,
    "noclobber.version.written": "fedcba9876543210",
    "noclobber.version.weak": False,
    "noclobber.size": 12,
    "code.function.name": "withdraw",
    "code.file.path": "bank.py",
    "code.line.number": 31,
    "network.peer.address": "127.0.0.1",
}
"""24 attributes, as a write carries them."""


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def baseline_us(data: bytes, spans: int) -> float:
    """CPU of the protobuf parser alone, microseconds a span."""
    begun = time.process_time()
    for _ in range(50):
        check(data)
    return (time.process_time() - begun) / (50 * spans) * 1e6


def send_all(port: int, bodies: list[bytes], connections: int = 4) -> None:
    """Send every body once, over a few connections; a full spool is waited for."""
    left = list(bodies)

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while left:
            try:
                body = left.pop()
            except IndexError:
                return
            connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("size", [50, 500])
def test_accept_and_spool(tmp_path: Path, size: int, ratio: Ratio) -> None:
    """Spans a second and core that the receiver checks and makes durable."""
    made = request([FULL] * size)
    data = made.SerializeToString()
    count = 100_000 // size
    with Receiver(tmp_path) as receiver:
        send_all(receiver.http_port, [data] * 20)
        begun = cpu_s(receiver.popen.pid)
        send_all(receiver.http_port, [data] * count)
        spent_s = cpu_s(receiver.popen.pid) - begun
        assert receiver.metrics()["spans_total"] == (count + 20) * size
    per_s, base = count * size / spent_s, baseline_us(data, size)
    us = spent_s / (count * size) * 1e6
    print(f"\nreceiver, {size} spans of {len(data) // size} B a request: {per_s:,.0f} spans/s per core")
    print(f"{us:.2f} us a span, {us / base:.1f} times the parser alone")
    ratio("ingest", f"accepted and on disk, {size} spans a request", us, "us a span", PARSER, base)


def test_the_whole_pipeline(tmp_path: Path, ratio: Ratio) -> None:
    """CPU of receiver and engine for each span, until it is loaded, counted, and seen by the analyzer."""
    bodies = [request([{**FULL, "noclobber.strand": f"s{n}", "noclobber.seq": i + 1,
                        "noclobber.resource": f"redis://h/0/{n % 500}"} for i in range(500)]).SerializeToString()
              for n in range(200)]  # fmt: skip
    with Up(tmp_path) as up:
        up.wait_until_ready()
        pids = [up.child("noclobber_collector.receiver"), up.child("noclobber_sidecar.engine")]
        send_all(up.ports[1], [accesses(500).SerializeToString()] * 4)
        wait_until(lambda: not waiting(up), 60, "the first load")
        begun = [cpu_s(pid) for pid in pids]
        send_all(up.ports[1], bodies)
        wait_until(lambda: not waiting(up), 200, "the load")
        spent = [cpu_s(pid) - before for pid, before in zip(pids, begun, strict=True)]
        assert up.rows("SELECT count() FROM accesses") == [(102_000,)]
    receiver_us, engine_us = (each / 100_000 * 1e6 for each in spent)
    per_s, base = 1e6 / (receiver_us + engine_us), baseline_us(bodies[0], 500)
    print(f"\nwhole pipeline: {per_s:,.0f} spans/s per core, analysis of what was loaded so far included")
    print(f"receiver {receiver_us:.1f} us a span, engine {engine_us:.1f} us; the parser alone {base:.2f} us")
    ratio("ingest", "receiver and engine, analysis included", receiver_us + engine_us, "us a span", PARSER, base)


def test_load_and_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: Ratio) -> None:
    """CPU of reading segments into the store and counting them, without analysis, in segments as under load."""
    monkeypatch.chdir(tmp_path)
    data = request([FULL] * 500).SerializeToString()
    spool = Spool(tmp_path / "spool")
    for _ in range(200):
        spool.put(data, 500).result(10)
    spool.close()
    store = open_store(f"chdb://{tmp_path / 'store'}")
    loader = Loader(store, tmp_path / "spool")
    begun = time.process_time()
    loader.start()
    assert loader.stop(120)
    spent_s = time.process_time() - begun
    assert store.rows("SELECT count() FROM accesses") == [(100_000,)]
    store.close()
    print(f"\nload and count: {100_000 / spent_s:,.0f} spans/s per core, {spent_s * 10:.1f} us a span")
    ratio("ingest", "loaded and counted", spent_s * 10, "us a span", PARSER, baseline_us(data, 500))


def waiting(up: Up) -> bool:
    folder = up.data / "spool"
    return bool(closed_segments(folder) or list(folder.glob("*.open")))


@pytest.mark.parametrize("per_s", [1_000, 5_000])
def test_acknowledged_until_loaded(tmp_path: Path, per_s: int, ratio: Ratio) -> None:
    """At so many spans a second: from the acknowledgement until the segment was noted as counted."""
    with Up(tmp_path) as up:
        up.wait_until_ready()
        engine = up.child("noclobber_sidecar.engine")
        up.send(accesses(50).SerializeToString())
        wait_until(lambda: not waiting(up), 60, "the first load")
        acknowledged: dict[str, int] = {}
        first, spent = time.monotonic(), cpu_s(engine)
        for tick in range(200):
            made = accesses(per_s // 20, **{"noclobber.strand": f"s{tick}"})
            time.sleep(max(0.0, first + tick / 20 - time.monotonic()))
            assert up.send(made.SerializeToString()).status == 200
            acknowledged[made.resource_spans[0].scope_spans[0].spans[0].trace_id.hex()] = time.time_ns()
        share = (cpu_s(engine) - spent) / (time.monotonic() - first)
        wait_until(lambda: not waiting(up), 60, "the load")
        waits_ms = sorted(_waits_ms(up, acknowledged))
    p50, p99 = statistics.median(waits_ms), waits_ms[int(len(waits_ms) * 0.99)]
    print(
        f"\nacknowledged -> loaded at {per_s:,} spans/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms ({len(waits_ms)} requests)"
    )
    print(f"engine, analysis included: {share:.0%} of a core")
    for name, value in (("p50", p50), ("p99", p99)):
        what = f"acknowledged to loaded at {per_s:,} spans/s, {name}"
        ratio("live latency", what, value, "ms", "a loop of plain Python", plain_loop_ms())
    assert len(waits_ms) == len(acknowledged)


def _waits_ms(up: Up, acknowledged: dict[str, int]) -> list[float]:
    rows = up.rows(
        "SELECT lower(hex(a.trace_id)), i.noted_ns FROM accesses AS a INNER JOIN "
        "(SELECT segment, min(loaded_ns) AS noted_ns FROM ingest GROUP BY segment) AS i ON a.segment = i.segment "
        "WHERE lower(hex(a.trace_id)) IN {ids:Array(String)}",
        {"ids": list(acknowledged)},
    )
    return [(noted_ns - acknowledged[trace]) / 1e6 for trace, noted_ns in rows]
