"""Every row of the OTLP specification's response tables, in both protocols and both forms, by one table.

Source: OTLP specification 1.9, "OTLP/gRPC Response" and "OTLP/HTTP Response".
"""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvicorn
from google.protobuf.json_format import Parse
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from made import ACCESS, accesses, as_json, request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from processes import Answer, ask, free_ports, wait_until

from noclobber_collector.receiver import grpc as grpc_module
from noclobber_collector.receiver import intake as intake_module
from noclobber_collector.receiver.admission import Admission
from noclobber_collector.receiver.connection import protocol_of
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.grpc import serve_grpc
from noclobber_collector.receiver.http import HttpReceiver
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.process import QuietServer
from noclobber_collector.receiver.token import Token
from noclobber_collector.segments import bare_requests, closed_segments
from noclobber_collector.spool import Spool

JSON, PROTOBUF = "application/json", "application/x-protobuf"
SERVICE = "/opentelemetry.proto.collector.{}.v1.{}Service/Export"
AGAIN_HTTP = {429, 502, 503, 504}
AGAIN_GRPC = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}


@dataclass
class Served:
    """A receiver in this process, so that its faults can be arranged."""

    http: str
    grpc: str
    spool: Spool
    counts: Counts
    admission: Admission


@contextmanager
def served(folder: Path, token: str | None = None, bytes_max: int = 1 << 30, **more: Any) -> Iterator[Served]:
    """Both servers on one loop, on a thread."""
    spool, counts = Spool(folder / "spool", bytes_max=bytes_max, close_after_s=0.05), Counts()
    ports = free_ports(2)
    ready, ending = threading.Event(), threading.Event()
    admission = Admission(counts, **more)

    async def serve() -> None:
        intake = Intake(spool, counts)
        app = HttpReceiver(intake, Token(token))
        config = uvicorn.Config(
            app, port=ports[1], http=protocol_of(admission), ws="none", lifespan="off", log_level="error"  # type: ignore[arg-type]
        )  # fmt: skip
        server = QuietServer(config)
        grpc_server, _ = await serve_grpc(intake, "127.0.0.1", ports[0], Token(token))
        serving = asyncio.create_task(server.serve())
        await asyncio.to_thread(wait_until, lambda: server.started)
        ready.set()
        await asyncio.to_thread(ending.wait)
        server.should_exit = True
        await serving
        await grpc_server.stop(1)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield Served(f"http://127.0.0.1:{ports[1]}", f"127.0.0.1:{ports[0]}", spool, counts, admission)
    finally:
        ending.set()
        thread.join(20)
        spool.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("plain")) as made:
        yield made


def post(server: Served, data: bytes, kind: str = PROTOBUF, path: str = "/v1/traces", **headers: str) -> Answer:
    return ask(server.http + path, data, content_type=kind, **headers)


def call(server: Served, data: bytes, signal: str = "trace", **words: Any) -> tuple[str, bytes, Status]:
    """Over gRPC: the code's name, the response, the Status in the trailer."""
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            response = channel.unary_unary(SERVICE.format(signal, signal.capitalize()))(data, timeout=15, **words)
        except grpc.RpcError as caught:
            error: Any = caught
            trailer = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            return error.code().name, b"", Status.FromString(trailer)
    return "OK", response, Status()


def status_in(answer: Answer, kind: str) -> Status:
    """The Status in an HTTP answer, in the form that was asked in."""
    assert answer.headers["content-type"] == kind
    return Status.FromString(answer.body) if kind == PROTOBUF else Parse(answer.body, Status())


def detail(status: Status, kind: Any) -> Any:
    """The detail of a kind; None where there is none."""
    for each in status.details:
        found = kind()
        if each.Unpack(found):
            return found
    return None


def requests_in(server: Served) -> list[bytes]:
    folder = server.spool.folder
    return [one for each in closed_segments(folder) for one in bare_requests(each.path.read_bytes(), each.number)]


# -- Success -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [accesses(2), ExportTraceServiceRequest()], ids=["spans", "empty"])
def test_full_success(plain: Served, data: ExportTraceServiceRequest) -> None:
    """200 and OK with the response message, partial_success unset; an empty request is a success too."""
    assert post(plain, data.SerializeToString()).body == b""
    answer = post(plain, as_json(data), JSON)
    assert (answer.status, answer.headers["content-type"], json.loads(answer.body)) == (200, JSON, {})
    code, response, _ = call(plain, data.SerializeToString())
    assert (code, ExportTraceServiceResponse.FromString(response).HasField("partial_success")) == ("OK", False)


def half_good() -> ExportTraceServiceRequest:
    """Four spans, of which two have no ids."""
    made = request([{**ACCESS, "noclobber.seq": number} for number in range(4)])
    spans = made.resource_spans[0].scope_spans[0].spans
    spans[1].trace_id, spans[3].span_id = bytes(16), b"short"
    return made


def test_partial_success(tmp_path: Path) -> None:
    """200 and OK with how many spans were rejected and why; the others are on disk."""
    made = half_good()
    with served(tmp_path) as server:
        over_http = ExportTraceServiceResponse.FromString(post(server, made.SerializeToString()).body)
        over_json = Parse(post(server, as_json(made), JSON).body, ExportTraceServiceResponse())
        code, response, _ = call(server, made.SerializeToString())
        assert code == "OK"
        for found in (over_http, over_json, ExportTraceServiceResponse.FromString(response)):
            assert found.partial_success.rejected_spans == 2
            assert "trace id of 16 bytes" in found.partial_success.error_message
        assert (server.counts["rejected_spans"], server.counts["spans"]) == (6, 6)
        wait_until(lambda: len(requests_in(server)) == 3, what="the segments")
        spans = made.resource_spans[0].scope_spans[0].spans
        for each in requests_in(server):
            kept = ExportTraceServiceRequest.FromString(each).resource_spans[0].scope_spans[0].spans
            assert list(kept) == [spans[0], spans[2]]


def test_a_request_of_which_nothing_is_left(plain: Served) -> None:
    """Still a success, of none."""
    made = request([ACCESS])
    made.resource_spans[0].scope_spans[0].spans[0].trace_id = b""
    answer = post(plain, made.SerializeToString())
    assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 1


# -- Failures that are final ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_bad_data(plain: Served, kind: str) -> None:
    """400 with a BadRequest that describes it, in the client's own form; INVALID_ARGUMENT over gRPC."""
    answer = post(plain, b"\xff{", kind)
    status = status_in(answer, kind)
    assert (answer.status, status.code) == (400, 3)
    assert status.message == detail(status, BadRequest).field_violations[0].description
    if kind == PROTOBUF:
        code, _, over_grpc = call(plain, b"\xff{")
        assert (code, over_grpc) == ("INVALID_ARGUMENT", status)


FINAL: dict[str, Callable[[Served], Answer]] = {
    "another path": lambda server: post(server, b"", path="/v1/profiles"),
    "another method": lambda server: ask(server.http + "/v1/traces"),
    "another form": lambda server: post(server, b"", "text/xml"),
    "too large": lambda server: post(server, bytes((64 << 20) + 1)),
}
STATUSES = {"another path": 404, "another method": 405, "another form": 415, "too large": 413}


@pytest.mark.parametrize("what", FINAL)
def test_other_failures_are_not_tried_again(plain: Served, what: str) -> None:
    """Their status is none that clients retry, and the body is a Status."""
    answer = FINAL[what](plain)
    kind = PROTOBUF if what in ("another path", "too large") else JSON
    assert answer.status == STATUSES[what]
    assert answer.status not in AGAIN_HTTP
    assert status_in(answer, kind).message
    assert "retry-after" not in answer.headers


def test_too_large_over_grpc_has_no_retry_info(plain: Served) -> None:
    """RESOURCE_EXHAUSTED without it is final."""
    code, _, status = call(plain, bytes((64 << 20) + 1))
    assert (code, detail(status, RetryInfo)) == ("RESOURCE_EXHAUSTED", None)


def test_a_service_that_is_none_of_ours(plain: Served) -> None:
    """UNIMPLEMENTED, which is final."""
    assert call(plain, b"", "profiles")[0] == "UNIMPLEMENTED"


def test_a_wrong_token(tmp_path: Path) -> None:
    """401 and UNAUTHENTICATED, which are final."""
    with served(tmp_path, token="right") as server:
        for kind in (PROTOBUF, JSON):
            answer = post(server, b"", kind, authorization="Bearer wrong")
            assert (answer.status, status_in(answer, kind).code) == (401, 16)
        assert call(server, b"")[0] == "UNAUTHENTICATED"
        assert call(server, b"", metadata=(("authorization", "bearer right"),))[0] == "OK"


# -- Failures that pass --------------------------------------------------------------------------------------------


def assert_come_again(server: Served, data: bytes, code: str) -> None:
    """503 with Retry-After, and a code with RetryInfo: after 1 to 3 s, which every exporter waits for."""
    for kind in (PROTOBUF, JSON):
        answer = post(server, data if kind == PROTOBUF else as_json(accesses(2)), kind)
        assert (answer.status, 1 <= int(answer.headers["retry-after"]) <= 3) == (503, True)
        assert 1 <= detail(status_in(answer, kind), RetryInfo).retry_delay.seconds <= 3
    found, _, status = call(server, data)
    assert found == code
    assert 1 <= detail(status, RetryInfo).retry_delay.seconds <= 3


def test_no_room(tmp_path: Path) -> None:
    """The spool has its limit."""
    with served(tmp_path, bytes_max=100) as server:
        assert_come_again(server, accesses(2).SerializeToString(), "RESOURCE_EXHAUSTED")
        assert server.counts["refused"] == 3


def test_a_disk_that_is_too_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before exporters give up by themselves."""
    monkeypatch.setattr(intake_module, "DURABLE_TIMEOUT_S", 0.2)
    slow, real = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: (slow.wait(20), real(file)))
    with served(tmp_path) as server:
        assert_come_again(server, accesses(2).SerializeToString(), "RESOURCE_EXHAUSTED")
        slow.set()
        wait_until(lambda: post(server, accesses(2).SerializeToString()).status == 200, what="the disk")


def test_a_failure_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Never 500 nor UNKNOWN, which clients take as final: 503 and UNAVAILABLE, and a trace in the log."""
    monkeypatch.setattr(Intake, "take", lambda *_: 1 / 0)
    with served(tmp_path) as server:
        assert_come_again(server, accesses(2).SerializeToString(), "UNAVAILABLE")
        assert server.counts["failed"] == 3
    assert "ZeroDivisionError" in caplog.text


def test_an_orderly_end(tmp_path: Path) -> None:
    """What comes while the spool is closing may come again."""
    with served(tmp_path) as server:
        server.spool.close()
        assert_come_again(server, accesses(2).SerializeToString(), "RESOURCE_EXHAUSTED")


# -- Signals that are not kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_logs_and_metrics(plain: Served, signal: str) -> None:
    """Accepted in every form, counted, dropped: an exporter that is shared does not fail."""
    before = plain.counts[f"{signal}_dropped"]
    assert post(plain, b"\x0a\x00", path=f"/v1/{signal}").status == 200
    assert post(plain, b"{}", JSON, path=f"/v1/{signal}").status == 200
    assert call(plain, b"\x0a\x00", signal)[:2] == ("OK", b"")
    assert plain.counts[f"{signal}_dropped"] - before == 3


# -- Connections ---------------------------------------------------------------------------------------------------


def test_too_many_connections(tmp_path: Path) -> None:
    """The one that waited longest makes room; where all are busy, the new one is asked to come again."""
    closed: list[str] = []
    counts = Counts()
    admission = Admission(counts, most=3, most_of_one=2)
    assert admission.enter("a", "10.0.0.1", lambda: closed.append("a"))
    assert admission.enter("b", "10.0.0.1", lambda: closed.append("b"))
    assert admission.enter("c", "10.0.0.1", lambda: closed.append("c"))
    assert closed == ["a"]
    admission.works("b")
    assert admission.enter("d", "10.0.0.1", lambda: closed.append("d"))
    assert closed == ["a", "c"]
    admission.works("d")
    assert not admission.enter("e", "10.0.0.1", lambda: closed.append("e"))
    assert admission.enter("f", "10.0.0.2", lambda: closed.append("f"))
    assert admission.enter("g", "10.0.0.3", lambda: closed.append("g"))
    assert closed == ["a", "c", "f"]
    admission.waits("b", lambda: closed.append("b"))
    for each in ("b", "b", "d", "g"):
        admission.leave(each)
    assert len(admission) == 0
    assert (counts["evicted"], counts["connections_refused"]) == (3, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("2001:db8::1", "2001:db8::ffff:2", True), ("2001:db8::1", "2001:db8:0:1::1", False),
     ("::ffff:10.0.0.1", "10.0.0.1", True), ("10.0.0.1", "10.0.0.2", False), ("", "", True)],
)  # fmt: skip
def test_addresses_of_one_network_count_together(one: str, other: str, same: bool) -> None:
    """A host has as many addresses of IPv6 as it likes, all in one network."""
    admission = Admission(Counts(), most=10, most_of_one=1)
    assert admission.enter(1, one, lambda: None)
    admission.works(1)
    assert admission.enter(2, other, lambda: None) is not same


def test_a_connection_too_many_is_told_so(tmp_path: Path) -> None:
    """503 with Retry-After, in JSON, before it has sent anything."""
    with served(tmp_path, most=1) as server:
        port = int(server.http.rsplit(":", 1)[1])
        head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as busy:
            busy.sendall(head)
            wait_until(lambda: len(server.admission) == 1 and not server.admission._waiting, what="the head")
            wait_until(lambda: refused_at_once(port), what="the refusal")
            busy.sendall(b"{       }")
            assert busy.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.counts["connections_refused"] >= 1


def refused_at_once(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one_more:
        answer = one_more.recv(4096)
        return answer.startswith(b"HTTP/1.1 503") and b"retry-after: 2" in answer


def test_a_call_that_never_sends_its_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEADLINE_EXCEEDED after as long as a body may take: the library itself would wait for ever."""
    monkeypatch.setattr(grpc_module, "BODY_TIMEOUT_S", 0.3)
    ending = threading.Event()

    def nothing() -> Iterator[bytes]:
        ending.wait(20)
        yield from ()

    with served(tmp_path) as server, grpc.insecure_channel(server.grpc) as channel:
        export = channel.stream_unary(SERVICE.format("trace", "Trace"))
        with pytest.raises(grpc.RpcError) as caught:
            export(nothing(), timeout=15)
        ending.set()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[attr-defined]
        assert server.counts["slow_closed"] == 1
        assert call(server, accesses(1).SerializeToString())[0] == "OK"


def test_more_calls_than_may_be_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNAVAILABLE with RetryInfo, where the library's own limit would be final."""
    monkeypatch.setattr(grpc_module, "REQUESTS_MAX", 0)
    with served(tmp_path) as server:
        code, _, status = call(server, accesses(1).SerializeToString())
        assert (code, detail(status, RetryInfo).retry_delay.seconds) == ("UNAVAILABLE", 2)
        assert server.counts["refused"] == 1
