"""The receiver as a process: OTLP over gRPC and HTTP, by hand and by OpenTelemetry's own exporters."""

import asyncio
import gzip
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
import requests as requests_library
import uvicorn
import zstandard
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from made import accesses, as_json
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from processes import Process, Receiver, ask, free_ports, metrics_of, wait_until

from noclobber_collector.errors import SpoolBusyError
from noclobber_collector.receiver import http, intake
from noclobber_collector.receiver.connection import PatientOnlySoLong
from noclobber_collector.receiver.grpc import MESSAGE_MAX
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.process import QuietServer
from noclobber_collector.requests import BODY_MAX, count_spans
from noclobber_collector.segments import closed_segments, sound_requests
from noclobber_collector.spool import Spool

DATA = accesses(3).SerializeToString()
PROTOBUF = "application/x-protobuf"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One receiver without a token; tests look at what their own requests change."""
    with Receiver(tmp_path_factory.mktemp("receiver")) as made:
        yield made


def spooled(folder: Path) -> list[bytes]:
    """The requests in closed segments, with our own fields at their ends."""
    found = []
    for segment in closed_segments(folder):
        data = segment.path.read_bytes()
        for begin, end in sound_requests(data, segment.number):
            head = 1
            while data[begin + head - 1] & 0x80:
                head += 1
            found.append(data[begin + head : end])
    return found


def assert_taken(receiver: Receiver, data: bytes) -> None:
    """What was acknowledged lies in the spool, byte for byte."""
    wait_until(lambda: any(request.startswith(data) for request in spooled(receiver.spool)), what="the segment")


# -- HTTP ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packed", "headers"),
    [
        (DATA, {}),
        (gzip.compress(DATA), {"content_encoding": "gzip"}),
        (zstandard.compress(DATA), {"content_encoding": "zstd"}),
        (DATA, {"content_type": "application/x-protobuf; charset=utf-8"}),
    ],
    ids=["plain", "gzip", "zstd", "with a parameter"],
)
def test_protobuf_over_http(shared: Receiver, packed: bytes, headers: dict[str, str]) -> None:
    """200 with an empty response in protobuf, and the request lies on disk as it came."""
    answer = shared.send(packed, **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.body) == ExportTraceServiceResponse()
    assert_taken(shared, DATA)


def test_json_over_http(shared: Receiver) -> None:
    """OTLP/JSON is answered in JSON and lies on disk as protobuf, ids from hex and numbers from text."""
    made = accesses(2)
    answer = shared.send(gzip.compress(as_json(made)), content_type="application/json", content_encoding="gzip")
    assert (answer.status, answer.headers["content-type"], json.loads(answer.body)) == (200, "application/json", {})
    assert_taken(shared, made.SerializeToString())


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"\xff\xff\xff", {}, 400, "no OTLP trace request"),
        (DATA[:-1], {}, 400, "no OTLP trace request"),
        (DATA, {"content_encoding": "br"}, 400, "content-encoding 'br' is not known"),
        (DATA, {"content_encoding": "gzip"}, 400, "not what its content-encoding says"),
        (gzip.compress(DATA)[:-9], {"content_encoding": "gzip"}, 400, "cut off"),
        (b"{", {"content_type": "application/json"}, 400, "no JSON"),
        (b'{"resourceSpans": 1}', {"content_type": "application/json"}, 400, "must be a list"),
        (DATA, {"content_type": "text/plain"}, 415, "not OTLP"),
        (DATA, {"content_type": ""}, 415, "not OTLP"),
    ],
)
def test_what_is_no_otlp_is_refused_with_a_status_and_a_reason(
    shared: Receiver, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    """In the client's own encoding, and counted."""
    answer = shared.send(body, **headers)
    assert answer.status == status
    if answer.headers["content-type"] == PROTOBUF:
        told = Status.FromString(answer.body)
        code, message = told.code, told.message
    else:
        told = json.loads(answer.body)
        code, message = told["code"], told["message"]
    assert code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert reason in message


def test_a_request_without_any_content_type(shared: Receiver) -> None:
    """415, as the reference collector answers."""
    with socket.create_connection(("127.0.0.1", shared.http_port)) as raw:
        raw.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(DATA) + DATA)
        assert raw.recv(4096).startswith(b"HTTP/1.1 415")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("POST /v1/traces HTTP/1.1\r\ncontent-type: application/json\r\nhost: x\r\ncontent-length: 1\r\n\r\nx", 400),
        ("POST /v1/spans HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 404),
        ("PUT /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 405),
        ("POST /v1/traces HTTP/1.1\r\ncontent-type: text/plain\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 415),
        ("POST /v1/traces HTTP/1.1\r\nx-long: " + "x" * 70_000, 431),
        ("no HTTP\r\n\r\n", 400),
    ],
)
def test_malformed_requests_are_counted(shared: Receiver, sent: str, status: int) -> None:
    """Each once, whatever is wrong."""
    before = shared.metrics()["malformed_total"]
    with socket.create_connection(("127.0.0.1", shared.http_port)) as raw:
        raw.sendall(sent.encode())
        assert raw.recv(4096).startswith(f"HTTP/1.1 {status}".encode())
    assert shared.metrics()["malformed_total"] == before + 1


@pytest.mark.parametrize("way", ["urllib", "requests", "httpx"])
def test_a_body_that_is_too_large_gets_413_and_not_a_broken_connection(shared: Receiver, way: str) -> None:
    """70 MiB, sent by clients that read the answer only after they sent everything."""
    body, url = bytes(70 << 20), f"{shared.http}/v1/traces"
    begun = time.monotonic()
    match way:
        case "urllib":
            status = shared.send(body).status
        case "requests":
            status = requests_library.post(url, body, headers={"content-type": PROTOBUF}, timeout=20).status_code
        case _:
            status = httpx.post(url, content=body, headers={"content-type": PROTOBUF}, timeout=20).status_code
    assert (status, time.monotonic() - begun < 5) == (413, True)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_gets_413_fast_and_costs_little_memory(shared: Receiver, encoding: str) -> None:
    """1 GiB in 1 MiB (100 kB for zstd) is refused once 64 MiB have come out."""
    packed = gzip.compress(bytes(1 << 30), 1) if encoding == "gzip" else zstandard.compress(bytes(1 << 30))
    process = psutil.Process(shared.popen.pid)
    before = process.memory_info().rss
    begun = time.monotonic()
    answer = shared.send(packed, content_encoding=encoding)
    took_s = time.monotonic() - begun
    assert (answer.status, took_s < 3) == (413, True), took_s
    assert "more than" in Status.FromString(answer.body).message
    assert process.memory_info().rss - before < 128 << 20


def test_the_largest_body_is_taken(shared: Receiver) -> None:
    """The limit is a limit of what is above it."""
    made = accesses(1)
    pair = made.resource_spans[0].scope_spans[0].spans[0].attributes.add()
    pair.key = "pad"
    pair.value.string_value = "x" * (BODY_MAX - made.ByteSize() - 64)
    assert BODY_MAX - 100 < made.ByteSize() <= BODY_MAX
    assert shared.send(made.SerializeToString()).status == 200


@pytest.mark.parametrize(
    ("path", "counter"), [("/v1/logs", "logs_dropped_total"), ("/v1/metrics", "metrics_dropped_total")]
)
def test_logs_and_metrics_are_accepted_counted_and_dropped(shared: Receiver, path: str, counter: str) -> None:
    """So that one endpoint serves an agent that sends all three."""
    before = shared.metrics()
    assert shared.send(b"\x0a\x00", path).status == 200
    assert shared.send(b"{}", path, content_type="application/json").status == 200
    after = shared.metrics()
    assert (after[counter] - before[counter], after["spans_total"]) == (2, before["spans_total"])


@pytest.mark.parametrize(
    ("url", "status"), [("/live", 200), ("/ready", 200), ("/metrics", 200), ("/", 404), ("/v1/traces", 405)]
)
def test_pages_for_operators(shared: Receiver, url: str, status: int) -> None:
    """What is no page of ours says where OTLP goes."""
    assert ask(shared.http + url).status == status


def test_an_empty_request_is_fine(shared: Receiver) -> None:
    """It holds nothing that could be lost."""
    assert shared.send(b"").status == 200


def test_a_header_that_never_ends_is_closed(tmp_path: Path) -> None:
    """Connections that send nothing, or half a header, end at their deadline; good requests are answered meanwhile."""
    with in_process(tmp_path, header_timeout_s=0.5) as port:
        slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(100)]
        for connection in slow[:50]:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-half")
        assert ask(f"http://127.0.0.1:{port}/v1/traces", DATA, content_type=PROTOBUF).status == 200
        for connection in slow:
            assert connection.recv(4096) == b""
            connection.close()


def test_a_connection_outlives_the_deadline_of_its_headers(tmp_path: Path) -> None:
    """A good connection serves request after request, also after a pause longer than the deadline."""
    with in_process(tmp_path, header_timeout_s=0.2) as port, httpx.Client() as client:
        url = f"http://127.0.0.1:{port}/v1/traces"
        for _ in range(3):
            assert client.post(url, content=DATA, headers={"content-type": PROTOBUF}).status_code == 200
            time.sleep(0.3)  # longer than the deadline: nothing else can be waited for
        assert len(client._transport._pool.connections) == 1  # type: ignore[attr-defined]


def test_a_body_that_never_ends_gets_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the connection is closed."""
    monkeypatch.setattr(http, "BODY_TIMEOUT_S", 0.3)
    with in_process(tmp_path) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {PROTOBUF}\r\ncontent-length: 900\r\n\r\n"
        slow.sendall(head.encode() + DATA[:10])
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk that hangs until this is set, and a receiver that soon refuses for it."""
    monkeypatch.setattr(intake, "DURABLE_TIMEOUT_S", 0.2)
    slow, real = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (slow.wait(10), real(file)))
    return slow


def test_a_stuck_disk_is_503_and_a_late_commit_harms_nobody(
    tmp_path: Path, slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is asked to come again before it gives up by itself; the spool's thread survives its going away."""
    with in_process(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        assert ask(f"{url}/v1/traces", DATA, content_type=PROTOBUF).status == 503
        monkeypatch.setattr(intake, "REFUSED_S", 0.0)  # not ready by what the disk does, not only by who was refused
        ready = ask(f"{url}/ready")
        assert (ready.status, b"the disk is too slow" in ready.body) == (503, True)
        metrics = metrics_of(url)
        assert (metrics["refused_total"], metrics["received_spans_total"]) == (1, metrics["refused_spans_total"])
        slow.set()
        assert ask(f"{url}/v1/traces", DATA, content_type=PROTOBUF).status == 200
        assert ask(f"{url}/ready").status == 200
        metrics = metrics_of(url)
        assert metrics["received_spans_total"] == metrics["spans_total"] + metrics["refused_spans_total"]
        assert metrics["spans_total"] == metrics["refused_spans_total"] > 0


def test_whoever_was_refused_for_time_is_why_it_is_not_ready(tmp_path: Path, slow: threading.Event) -> None:
    """Also once the disk has answered, until something is taken again."""
    with in_process(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        assert ask(f"{url}/v1/traces", DATA, content_type=PROTOBUF).status == 503
        slow.set()
        wait_until(lambda: metrics_of(url)["spool_commits_total"] == 1, what="the commit")
        assert ask(f"{url}/ready").status == 503
        assert ask(f"{url}/v1/traces", DATA, content_type=PROTOBUF).status == 200
        assert ask(f"{url}/ready").status == 200


def test_a_failure_of_ours_is_503_never_500(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients throw away what gets a 500."""
    monkeypatch.setattr(Intake, "take", lambda *_: 1 / 0)
    with in_process(tmp_path) as port:
        answer = ask(f"http://127.0.0.1:{port}/v1/traces", DATA, content_type=PROTOBUF)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "ZeroDivisionError" in caplog.text


@contextmanager
def in_process(folder: Path, header_timeout_s: float = 10.0) -> Iterator[int]:
    """The receiver's HTTP half in a thread of this process; gives its port."""
    spool = Spool(folder / "spool")
    protocol = type("Protocol", (PatientOnlySoLong,), {"header_timeout_s": header_timeout_s})
    app = http.HttpReceiver(Intake(spool))
    server = QuietServer(uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_level="warning"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        spool.close()


# -- gRPC ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def channel(shared: Receiver) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{shared.grpc_port}") as made:
        yield made


def raw(channel: grpc.Channel, service: str = "trace.v1.TraceService") -> Any:
    """A method of OTLP that takes and gives bytes."""
    return channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_protobuf_over_grpc(shared: Receiver, channel: grpc.Channel, compression: grpc.Compression) -> None:
    """An empty response, and the request lies on disk as it came."""
    made = accesses(4)
    assert TraceServiceStub(channel).Export(made, timeout=10, compression=compression) == ExportTraceServiceResponse()
    assert_taken(shared, made.SerializeToString())


def test_malformed_over_grpc(channel: grpc.Channel) -> None:
    """INVALID_ARGUMENT with a reason, and the same in a Status."""
    with pytest.raises(grpc.RpcError) as caught:
        raw(channel)(b"\xff\xff", timeout=10)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no OTLP trace request" in error.details()
    assert _status(error).message == error.details()


def _status(error: Any) -> Status:
    return Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])


def test_too_large_over_grpc(channel: grpc.Channel) -> None:
    """The library's own limit answers."""
    with pytest.raises(grpc.RpcError) as caught:
        raw(channel)(bytes(MESSAGE_MAX + 1), timeout=20)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # type: ignore[attr-defined]


def test_logs_and_metrics_over_grpc(shared: Receiver, channel: grpc.Channel) -> None:
    """Accepted, counted, dropped; a service that is none of OTLP's is not implemented."""
    before = shared.metrics()
    assert raw(channel, "logs.v1.LogsService")(b"", timeout=10) == b""
    assert raw(channel, "metrics.v1.MetricsService")(b"", timeout=10) == b""
    after = shared.metrics()
    assert after["logs_dropped_total"] - before["logs_dropped_total"] == 1
    assert after["metrics_dropped_total"] - before["metrics_dropped_total"] == 1
    with pytest.raises(grpc.RpcError) as caught:
        raw(channel, "odd.v1.OddService")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


# -- OpenTelemetry's own exporters ---------------------------------------------------------------------------------


def exporter_of(receiver: Receiver, way: str, token: str = "") -> SpanExporter:
    headers = {"authorization": f"Bearer {token}"} if token else None
    if way == "grpc":
        return GrpcExporter(f"127.0.0.1:{receiver.grpc_port}", insecure=True, headers=headers, timeout=10)
    compression = Compression.Gzip if way == "http+gzip" else Compression.NoCompression
    return HttpExporter(f"{receiver.http}/v1/traces", headers=headers, timeout=10, compression=compression)


class _Results(SpanExporter):
    """Passes spans on and keeps what the exporter said."""

    def __init__(self, inner: SpanExporter) -> None:
        self.inner = inner
        self.results: list[SpanExportResult] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.results.append(self.inner.export(spans))
        return self.results[-1]

    def shutdown(self) -> None:
        self.inner.shutdown()


def export_one(exporter: SpanExporter, name: str) -> list[SpanExportResult]:
    results = _Results(exporter)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(results))
    with provider.get_tracer("test").start_as_current_span(name) as span:
        span.set_attribute("list", ["a", "b"])
    provider.shutdown()
    return results.results


@pytest.mark.parametrize("way", ["grpc", "http", "http+gzip"])
def test_the_stock_exporters_are_clients(shared: Receiver, way: str) -> None:
    """Their spans arrive and they are content."""
    assert export_one(exporter_of(shared, way), f"by {way}") == [SpanExportResult.SUCCESS]

    wait_until(lambda: any(f"by {way}".encode() in data for data in spooled(shared.spool)), what="the span")


# -- Tokens --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that asks for a token."""
    with Receiver(tmp_path_factory.mktemp("guarded"), token="tok-secret") as made:
        yield made


@pytest.mark.parametrize("shown", ["", "tok-secre", "tok-secret2", "TOK-SECRET", "Bearer", "ünïcode"])
def test_a_wrong_token_is_refused_over_http(guarded: Receiver, shown: str) -> None:
    """401 with a Status, for every signal, and nothing is taken."""
    before = guarded.metrics()
    header = {"authorization": f"Bearer {shown}".encode().decode("latin-1")} if shown else {}
    for path in ("/v1/traces", "/v1/logs", "/v1/metrics"):
        answer = guarded.send(DATA, path, **header)
        assert (answer.status, Status.FromString(answer.body).code) == (401, 16)
    after = guarded.metrics()
    assert (after["unauthorized_total"] - before["unauthorized_total"], after["spans_total"]) == (
        3,
        before["spans_total"],
    )


def test_a_token_in_the_address_is_no_token(guarded: Receiver) -> None:
    """It would stand in logs."""
    assert guarded.send(DATA, "/v1/traces?token=tok-secret").status == 401


@pytest.mark.parametrize("way", ["grpc", "http"])
def test_the_right_token_is_enough_for_the_stock_exporters(guarded: Receiver, way: str) -> None:
    """Sent as OTEL_EXPORTER_OTLP_HEADERS would; a wrong one is a failure that is not retried for long."""
    assert export_one(exporter_of(guarded, way, "tok-secret"), "good") == [SpanExportResult.SUCCESS]
    assert export_one(exporter_of(guarded, way, "nonsense"), "bad") == [SpanExportResult.FAILURE]


def test_a_wrong_token_is_refused_over_grpc(guarded: Receiver) -> None:
    """UNAUTHENTICATED."""
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            raw(channel)(DATA, timeout=10, metadata=(("authorization", "Bearer no"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]


def test_the_token_is_in_no_log(guarded: Receiver) -> None:
    """Whatever was asked before."""
    assert "tok-secret" not in guarded.output


# -- Room and the end ----------------------------------------------------------------------------------------------


def test_a_full_spool_asks_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After of 1 to 3 s, RESOURCE_EXHAUSTED with RetryInfo, never 500; nothing is acknowledged."""
    with Receiver(tmp_path, "--spool-bytes-max", "4000") as receiver:
        while (answer := receiver.send(DATA)).status == 200:
            pass
        assert (answer.status, 1 <= int(answer.headers["retry-after"]) <= 3) == (503, True)
        assert "its limit of 4000 bytes" in Status.FromString(answer.body).message
        with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                raw(channel)(DATA, timeout=10)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            retry = RetryInfo()
            assert _status(error).details[0].Unpack(retry)
            assert 1 <= retry.retry_delay.seconds <= 3
        metrics = receiver.metrics()
        assert metrics["refused_total"] == 2
        receiver.stop()
        assert sum(count_spans(data) for data in spooled(receiver.spool)) == metrics["spans_total"]


def test_sigterm_answers_what_is_under_way_and_closes_the_segment(tmp_path: Path) -> None:
    """After an orderly end no segment is open and all that was acknowledged is closed."""
    with Receiver(tmp_path) as receiver:
        acknowledged = sum(receiver.send(DATA).status == 200 for _ in range(20))
        assert receiver.stop() == 0
        assert list(receiver.spool.glob("*.open")) == []
        assert sum(segment.spans for segment in closed_segments(receiver.spool)) == 3 * acknowledged == 60


def test_a_busy_port_is_one_sentence(tmp_path: Path, shared: Receiver) -> None:
    """No traceback, exit code 1."""
    words = [sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(tmp_path / "spool"),
             "--otlp-grpc-port", str(shared.grpc_port), "--otlp-http-port", str(free_ports(1)[0])]  # fmt: skip
    with Process(words, tmp_path / "log") as process:
        assert process.popen.wait(20) == 1
        assert "can't listen on" in process.output
        assert "Traceback" not in process.output


def test_a_second_receiver_on_one_spool_gives_up(
    tmp_path: Path, shared: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would cut each other's segments."""
    from noclobber_collector import spool

    monkeypatch.setattr(spool, "LOCK_WAIT_S", 0.1)
    with pytest.raises(SpoolBusyError, match=f"process {shared.popen.pid}"):
        spool.Spool(shared.spool)
