"""How many spans does a core take from the wire into the store, and how many do others take?

The same requests go through the receiver (accepted, on disk, acknowledged), through the loader into the embedded store
(loaded, counted, noted; then merged), through a decoder in plain Python that only reads them, through ClickHouse's own
reader of protobuf with its flatten in SQL (the first design), and, where `NOCLOBBER_PHOENIX` names its program, through
Phoenix until its own store holds them. CPU seconds of the processes themselves, so that other load on the machine
matters less; one table at the end. Run with `nox -s peers`, or without the peer with `nox -s bench`.
"""

import contextlib
import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest
from bench_report import Ratio
from contract_spans import contract_requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import Process, Receiver, ask, wait_until
from test_pipeline import send_all

from noclobber_collector.flatten import flatten
from noclobber_collector.loader import SETTINGS, Loader
from noclobber_collector.requests import check
from noclobber_collector.segments import closed_segments, frame
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store, open_store

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

REQUESTS, SPANS = 200, 500
PEER_REQUESTS = 4
"""A peer gets the first of the same requests: it takes too long for all."""
BYTES_MAX = 110
RECEIVED_MAX, STORED_MAX = 0.3, 1.2
"""Times what decoding in plain Python takes: accepted and on disk; in the store, both processes together. Rates
are those of the machine; this is not."""
PLAIN, FIRST = "decoded in plain Python, not stored", "loaded by the first design (SQL flatten)"


def test_spans_per_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: Ratio) -> None:
    """All ways in one table; every span is in the store, and takes few bytes there."""
    monkeypatch.chdir(tmp_path)
    bodies = contract_requests(REQUESTS, SPANS)
    total = REQUESTS * SPANS
    took_us = {"protobuf's parser alone": _us(lambda: [check(body) for body in bodies], total)}
    took_us[PLAIN] = _us(lambda: [decoded(body) for body in bodies[:40]], 40 * SPANS)
    receiver_us = _receive(tmp_path, bodies) / total * 1e6
    took_us["accepted, on disk, acknowledged"] = receiver_us
    store = open_store(f"chdb://{tmp_path / 'store'}")
    loader_us, merge_us, bytes_a_span = _load(tmp_path, store, total)
    took_us["loaded, counted, noted"] = loader_us
    took_us["the whole pipeline, into the store"] = pipeline_us = receiver_us + loader_us
    took_us["... and merged into one part"] = pipeline_us + merge_us
    _first_design(store, bodies[:50], "warm too")
    took_us[FIRST] = _first_design(store, bodies[:50], "other")
    for name, load in (("this design", _load_ready), ("the first design", _load_protobuf)):
        small_ms = min(_us(lambda load=load: load(store, bodies[:2], "small"), 1) / 1e3 for _ in range(7))  # type: ignore[misc]
        print(f"\na segment of {2 * SPANS:,} spans, loaded by {name}: {small_ms:.0f} ms of CPU", end="")
    store.close()
    phoenix = os.environ.get("NOCLOBBER_PHOENIX")
    if phoenix:
        took_us["Phoenix, into its store"] = _phoenix(phoenix, tmp_path, bodies[:PEER_REQUESTS])
    print(f"\n{total:,} spans of {sum(map(len, bodies)) // total} B, 21 attributes; {bytes_a_span:.0f} B each on disk")
    for line in table(took_us, "the whole pipeline, into the store"):
        print(line)
    ours, wire = "the whole pipeline, into the store", sum(map(len, bodies)) / total
    for name in (PLAIN, FIRST, *(key for key in took_us if key.startswith("Phoenix"))):
        ratio("ingest", ours, pipeline_us, "us a span", name, took_us[name])
    ratio("disk", "in the store after merges", bytes_a_span, "B a span", "as it came, in protobuf", wire)
    assert bytes_a_span <= BYTES_MAX
    assert loader_us < took_us[FIRST]
    assert receiver_us <= RECEIVED_MAX * took_us[PLAIN]
    assert pipeline_us <= STORED_MAX * took_us[PLAIN]
    if phoenix:
        assert took_us["Phoenix, into its store"] > 20 * pipeline_us


def table(took_us: dict[str, float], ours: str) -> Iterator[str]:
    """Each way with its cost, its rate and how many times ours it costs."""
    width = max(map(len, took_us))
    yield f"{'':{width}}   us a span  spans/s a core  times ours"
    for name, us in took_us.items():
        yield f"{name:{width}}  {us:10.2f}  {1e6 / us:14,.0f}  {us / took_us[ours]:10.2f}"


def _us(work: Callable[[], object], spans: int) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) / spans * 1e6


def decoded(body: bytes) -> list[dict[str, object]]:
    """What anybody would write first: the library's parser, and a dictionary for each span."""
    return [
        {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in span.attributes}
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    spent = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            spent += times.user + times.system
    return spent


def _receive(folder: Path, bodies: Sequence[bytes]) -> float:
    """CPU seconds of the receiver."""
    with Receiver(folder) as receiver:
        begun = _cpu_s(receiver.popen.pid)
        send_all(receiver.http_port, list(bodies))
        spent = _cpu_s(receiver.popen.pid) - begun
        assert receiver.metrics()["spans_total"] == len(bodies) * SPANS
    return spent


def _load(folder: Path, store: Store, total: int) -> tuple[float, float, float]:
    """Microseconds a span of loading, and of merging all into one part; bytes a span then."""
    _warm_up(folder / "warm", store)
    loader = Loader(store, folder / "spool")
    begun = time.process_time()
    loader.start()
    wait_until(lambda: not closed_segments(folder / "spool"), 200, "the load")
    loaded = time.process_time()
    loader.stop(10)
    mine = "SELECT count(), uniqExact(span_id) FROM accesses WHERE collector = 'local'"
    assert store.rows(mine) == [(total, total)]
    merging = time.process_time()
    store.command("OPTIMIZE TABLE accesses FINAL")
    merged = time.process_time()
    (size,) = store.rows(
        "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = currentDatabase() "
        "AND table = 'accesses'"
    )
    return (loaded - begun) / total * 1e6, (merged - merging) / total * 1e6, float(size[0])


def _warm_up(folder: Path, store: Store) -> None:
    """Load as much as one insert takes: the first one pays for imports and memory."""
    spool = Spool(folder, "warm")
    for body in contract_requests(50, SPANS, seed=6):
        spool.put(body, SPANS).result(30)
    spool.close()
    loader = Loader(store, folder, "warm")
    loader.start()
    assert loader.stop(60)


def _first_design(store: Store, bodies: Sequence[bytes], name: str) -> float:
    """Microseconds a span where ClickHouse reads the protobuf and flattens it itself."""
    spans = len(bodies) * SPANS
    took_us = _us(lambda: _load_protobuf(store, bodies, name), spans)
    assert store.rows("SELECT count() FROM accesses WHERE collector = {c:String}", {"c": name}) == [(spans,)]
    return took_us


def _load_protobuf(store: Store, bodies: Sequence[bytes], name: str) -> None:
    data, settings = segment(bodies, name)
    schema = files("noclobber_collector.schema").joinpath("otlp.proto").read_text()
    settings |= {"format_schema_source": "string", "format_schema_message_name": "Request", "format_schema": schema}
    store.load("incoming", data, "Protobuf", settings)


def _load_ready(store: Store, bodies: Sequence[bytes], name: str) -> None:
    data, settings = segment(bodies, name)
    store.load("accesses", flatten([data]), "ArrowStream", settings)


def segment(bodies: Sequence[bytes], name: str) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a new segment, and what an insert of it is told."""
    number = int(time.time() * 1000) << 16
    data = b"".join(frame(body, number, at, name.encode()) for at, body in enumerate(bodies))
    return data, {**SETTINGS, "insert_deduplication_token": str(time.time_ns())}


def _phoenix(program: str, folder: Path, bodies: Sequence[bytes]) -> float:
    """Microseconds a span until Phoenix's own database holds the rows."""
    home = folder / "phoenix"
    home.mkdir()
    port, grpc_port = _calm_ports(2)
    settings = {"PHOENIX_WORKING_DIR": str(home), "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc_port),
                "PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false"}  # fmt: skip
    with Process([program, "serve"], folder / "phoenix.log", settings) as server:
        server.wait_for(f"http://127.0.0.1:{port}/healthz", 120)
        begun = _cpu_s(server.popen.pid)
        for body in bodies:
            answer = ask(f"http://127.0.0.1:{port}/v1/traces", body, content_type="application/x-protobuf")
            assert answer.status == 200
        spans = len(bodies) * SPANS
        with contextlib.closing(sqlite3.connect(f"file:{home / 'phoenix.db'}?mode=ro", uri=True)) as database:
            wait_until(lambda: _count(database) == spans, 300, "Phoenix's rows")
        return (_cpu_s(server.popen.pid) - begun) / spans * 1e6


def _calm_ports(count: int) -> list[int]:
    """Free ports that no outgoing connection takes meanwhile: Phoenix binds its own long after its start."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found[:count]


def _count(database: sqlite3.Connection) -> int:
    (count,) = database.execute("SELECT count(*) FROM spans").fetchone()
    return int(count)
