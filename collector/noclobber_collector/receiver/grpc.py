"""OTLP over gRPC.

Requests stay bytes: what the client sent is checked and spooled as it is. A request is read as a stream of one message,
because only so can the wait for it be bounded: the library itself waits for ever for the rest of a body.

Source: OTLP specification 1.9, "OTLP/gRPC Response"; grpc, "GRPC_ARG_*" channel arguments.
"""

import asyncio
from typing import Any, Final

import grpc
import grpc.aio

from noclobber.cli import CommandError
from noclobber_collector.receiver.answers import Because, Refusal, accepted, refusal_of
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.tls import ServerTls
from noclobber_collector.receiver.token import Token
from noclobber_collector.requests import BODY_MAX

__all__ = ["serve_grpc"]

REQUESTS_MAX: Final = 2048
"""Requests under way, those whose bodies still come included."""
CONNECTIONS_MAX: Final = 4096
BODY_TIMEOUT_S: Final = 10.0
SERVICES: Final = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}
OPTIONS: Final = (
    ("grpc.max_receive_message_length", BODY_MAX),  # holds for what comes out of gzip and deflate too
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


async def serve_grpc(
    intake: Intake, host: str, port: int, token: Token, tls: ServerTls | None = None
) -> tuple[grpc.aio.Server, int]:
    """Start the server; returns it and its port.

    Raises:
        CommandError: the address is taken.
    """
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_Service(intake, token),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = (
            server.add_secure_port(address, tls.grpc_credentials())
            if tls is not None
            else server.add_insecure_port(address)
        )
    except RuntimeError as error:
        raise CommandError(
            f"can't listen on {host}:{port} for OTLP/gRPC: is it taken? Choose another --otlp-grpc-port."
        ) from error
    await server.start()
    return server, bound


class _Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types here
    def __init__(self, intake: Intake, token: Token) -> None:
        self._intake, self._token = intake, token
        self._under_way = 0

    def service(self, handler_call_details: Any) -> Any:
        signal = SERVICES.get(handler_call_details.method)
        if signal is None:
            return None
        shown = str(dict(handler_call_details.invocation_metadata or ()).get("authorization", ""))

        async def export(_messages: Any, context: Any) -> bytes:
            return await self._export(signal, shown, context)

        return grpc.stream_unary_rpc_method_handler(export)  # no deserializer: requests stay bytes

    async def _export(self, signal: str, shown: str, context: Any) -> bytes:
        self._under_way += 1
        try:
            if not self._token.admits(shown.encode()):
                raise Refusal(Because.UNKNOWN_CLIENT, "a bearer token is needed: set NOCLOBBER_TOKEN in the agent")
            if self._under_way > REQUESTS_MAX:
                raise Refusal(Because.BUSY, f"{REQUESTS_MAX} requests are under way; come again")
            rejected = await self._intake.accept(await _body(context), signal)
        except Exception as error:
            refusal = refusal_of(error)
            self._intake.refused(refusal, error)
            trailer = (("grpc-status-details-bin", refusal.status().SerializeToString()),)
            await context.abort(refusal.because.code, refusal.reason, trailer)
        finally:
            self._under_way -= 1
        data: bytes = accepted(rejected).SerializeToString() if signal == "traces" else b""
        return data


async def _body(context: Any) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            found = await context.read()
    except TimeoutError as error:
        raise Refusal(Because.TOO_SLOW, "the request did not arrive in time") from error
    if not isinstance(found, bytes):  # the client ended without a message
        raise Refusal(Because.MALFORMED, "the call holds no request")
    return found
