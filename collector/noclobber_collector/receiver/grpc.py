"""OTLP over gRPC.

Requests stay bytes: what the client sent is checked and spooled as it is. Refusals carry the codes that clients act
on: INVALID_ARGUMENT is never sent again, RESOURCE_EXHAUSTED with RetryInfo is.

Source: OTLP specification, "OTLP/gRPC Response".
"""

import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from noclobber.cli import CommandError
from noclobber_collector.errors import MalformedError, SpoolFullError
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.requests import BODY_MAX

__all__ = ["serve_grpc"]

THREADS: Final = 16
REQUESTS_MAX: Final = 256
"""Requests under way; the library answers RESOURCE_EXHAUSTED to what is beyond."""
DURABLE_TIMEOUT_S: Final = 8.0
"""Exporters give up after 10 s."""
RETRY_S: Final = 2
SERVICES: Final = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs_dropped",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics_dropped",
}


def serve_grpc(intake: Intake, host: str, port: int, token: str | None = None) -> tuple[grpc.Server, int]:
    """Start the server; returns it and its port.

    Raises:
        CommandError: the address is taken.
    """
    server = grpc.server(
        ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
        maximum_concurrent_rpcs=REQUESTS_MAX,
        options=[
            ("grpc.max_receive_message_length", BODY_MAX),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    server.add_generic_rpc_handlers((_Service(intake, token),))
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise CommandError(
            f"can't listen on {host}:{port} for OTLP/gRPC: is it taken? Choose another --otlp-grpc-port."
        )
    server.start()
    return server, bound


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types here
    def __init__(self, intake: Intake, token: str | None) -> None:
        self._intake, self._token = intake, token

    def service(self, handler_call_details: Any) -> Any:
        signal = SERVICES.get(handler_call_details.method)
        if signal is None:
            return None
        answer: Callable[[bytes, Any], bytes] = self._export if signal == "traces" else self._dropped(signal)
        return grpc.unary_unary_rpc_method_handler(answer)  # no deserializer: requests stay bytes

    def _dropped(self, signal: str) -> Callable[[bytes, Any], bytes]:
        def drop(_request: bytes, context: Any) -> bytes:
            self._authorize(context)
            self._intake.count(signal)
            return b""

        return drop

    def _export(self, request: bytes, context: Any) -> bytes:
        self._authorize(context)
        try:
            self._intake.take(request).result(DURABLE_TIMEOUT_S)
        except MalformedError as error:
            self._intake.count("malformed")
            context.abort_with_status(_status(grpc.StatusCode.INVALID_ARGUMENT, str(error)))
        except SpoolFullError as error:
            context.abort_with_status(_exhausted(f"{error}; come again"))
        except TimeoutError:
            context.abort_with_status(_exhausted("the disk is too slow for what arrives; come again"))
        return b""

    def _authorize(self, context: Any) -> None:
        if self._token is None:
            return
        shown = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(str(shown).removeprefix("Bearer ").encode(), self._token.encode()):
            self._intake.count("unauthorized")
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is needed: set NOCLOBBER_TOKEN in the agent")


class _Answer(grpc.Status):  # type: ignore[misc]  # grpc has no types here
    """A refusal with a protobuf `Status` in its trailer, as the OTLP specification asks."""

    def __init__(self, code: Any, reason: str, details: list[Packed]) -> None:
        self.code, self.details = code, reason
        status = Status(code=code.value[0], message=reason, details=details)
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


def _status(code: Any, reason: str) -> _Answer:
    return _Answer(code, reason, [])


def _exhausted(reason: str) -> _Answer:
    """Come again, and when: without RetryInfo clients may not."""
    retry = Packed()
    retry.Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_S)))
    return _Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, reason, [retry])
