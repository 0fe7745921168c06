"""An OTLP backend for tests: takes spans over HTTP or gRPC, and answers as it is told to."""

import gzip
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Told(NamedTuple):
    """An answer: an HTTP status or a gRPC code's name; seconds for Retry-After or RetryInfo; spans rejected."""

    code: int | str = 200
    after: str | float | None = None
    rejected: int = 0


class Came(NamedTuple):
    """A request as it came: when, its headers, its bytes unpacked."""

    at: float
    headers: dict[str, str]
    data: bytes

    @property
    def spans(self) -> list[str]:
        """Span ids."""
        made = ExportTraceServiceRequest.FromString(self.data)
        return [s.span_id.hex() for r in made.resource_spans for each in r.scope_spans for s in each.spans]


class Backend:
    """Remembers what came.

    Args:
        answers: what the first requests get; all further ones get `then`.
        judge: decides on the answer by the request, in their place.

    Attributes:
        came: every request. taken: span ids of requests that were answered with success, in order.
    """

    def __init__(
        self, answers: Sequence[Told] = (), then: Told | None = None, judge: Callable[[Came], Told] | None = None
    ) -> None:
        self.came: list[Came] = []
        self.taken: list[str] = []
        self._answers, self._then, self._judge = list(answers), then, judge
        self._lock = threading.Lock()
        self.hang_s = 0.0

    def answer(self, came: Came, good: int | str) -> Told:
        time.sleep(self.hang_s)
        with self._lock:
            self.came.append(came)
            if self._judge is not None:
                told = self._judge(came)
            else:
                told = self._answers.pop(0) if self._answers else self._then or Told(good)
            if told.code == good:
                self.taken += came.spans
            return told


def _response(told: Told) -> bytes:
    response = ExportTraceServiceResponse()
    if told.rejected:
        response.partial_success.rejected_spans = told.rejected
        response.partial_success.error_message = "too old"
    data: bytes = response.SerializeToString()
    return data


class HttpBackend(Backend):
    """OTLP over HTTP.

    Attributes:
        url: where it listens. port: of it.
    """

    def __init__(self, *words: Any, port: int = 0, context: ssl.SSLContext | None = None, **more: Any) -> None:
        super().__init__(*words, **more)
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                names = {name.lower(): value for name, value in self.headers.items()} | {":path": self.path}
                told = backend.answer(Came(time.monotonic(), names, body), 200)
                data = _response(told) if told.code == 200 else b""
                self.send_response(int(told.code))
                if told.after is not None:
                    self.send_header("retry-after", str(told.after))
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class GrpcBackend(Backend):
    """OTLP over gRPC."""

    def __init__(self, *words: Any, credentials: Any = None, **more: Any) -> None:
        super().__init__(*words, **more)
        backend = self

        class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types here
            def service(self, details: Any) -> Any:
                headers = {name: str(value) for name, value in details.invocation_metadata}

                def export(request: bytes, context: Any) -> bytes:
                    told = backend.answer(Came(time.monotonic(), headers, request), "OK")
                    if told.code != "OK":
                        context.set_trailing_metadata((("grpc-status-details-bin", _status(told)),))
                        context.abort(getattr(grpc.StatusCode, str(told.code)), "as told")
                    return _response(told)

                return grpc.unary_unary_rpc_method_handler(export) if details.method == METHOD else None

        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((Service(),))
        if credentials is not None:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        else:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.url = f"grpc{'s' if credentials is not None else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0.2).wait(5)


def _status(told: Told) -> bytes:
    status = Status(message="as told")
    if told.after is not None:
        packed = Packed()
        nanos = int(float(told.after) * 1e9)
        packed.Pack(RetryInfo(retry_delay=Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)))
        status.details.append(packed)
    data: bytes = status.SerializeToString()
    return data
