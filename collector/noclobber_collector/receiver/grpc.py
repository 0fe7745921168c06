"""OTLP over gRPC.

Requests stay bytes: what the client sent is checked and spooled as it is. A request is read as a stream of one message,
because only so can the wait for it be bounded: the library itself waits for ever for the rest of a body. And only so
is room taken before it comes: how large it is the library tells when it has all of it, unpacked, so the room is that of
the largest one until then. Whoever reads for long while others wait for that room makes room.

Source: OTLP specification 1.9, "OTLP/gRPC Request" (4 MiB), "OTLP/gRPC Response"; grpc, "GRPC_ARG_*" channel arguments.
"""

import asyncio
from typing import Any, Final

import grpc
import grpc.aio

from noclobber.cli import CommandError
from noclobber_collector.receiver.answers import Because, Refusal, accepted, refusal_of
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.room import Held
from noclobber_collector.receiver.tls import ServerTls
from noclobber_collector.receiver.token import Token

__all__ = ["serve_grpc"]

REQUESTS_MAX: Final = 2048
"""Requests under way, those whose bodies still come included."""
CONNECTIONS_MAX: Final = 4096
BODY_TIMEOUT_S: Final = 10.0
MESSAGE_MAX: Final = 4 << 20
"""Most bytes of a request, as the specification has it and as gRPC servers have it of old."""
READING: Final = 2 * MESSAGE_MAX
"""Room for one that is being read: packed and unpacked."""
PATIENCE_S: Final = 1.0
"""So long one may be read while others wait for its room."""
ROOM_TIMEOUT_S: Final = 3.0
"""So long they wait."""
SERVICES: Final = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_MAX),  # holds for what comes out of gzip and deflate too
    ("grpc.http2.bdp_probe", 0),  # else as much comes of a request that nobody reads yet as the network can carry
    ("grpc.http2.lookahead_bytes", 64 << 10),
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
        self._reading: dict[asyncio.Timeout, float] = {}  # and when they began, the oldest first

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
            with Held(self._intake.room) as held:
                rejected = await self._intake.accept(await self._body(context, held), held, signal)
        except Exception as error:
            refusal = refusal_of(error)
            self._intake.refused(refusal, error)
            trailer = (("grpc-status-details-bin", refusal.status().SerializeToString()),)
            await context.abort(refusal.because.code, refusal.reason, trailer)
        finally:
            self._under_way -= 1
        data: bytes = accepted(rejected).SerializeToString() if signal == "traces" else b""
        return data

    async def _body(self, context: Any, held: Held) -> bytes:
        """The request; it is all that is held then."""
        await self._make_room(held)
        limit = asyncio.timeout(BODY_TIMEOUT_S)
        self._reading[limit] = asyncio.get_running_loop().time()
        try:
            async with limit:
                found = await context.read()
        except TimeoutError as error:
            if limit not in self._reading:
                raise Refusal(Because.BUSY, "the request came slowly, and others waited; come again") from error
            raise Refusal(Because.TOO_SLOW, "the request did not arrive in time") from error
        finally:
            self._reading.pop(limit, None)
        if not isinstance(found, bytes):  # the client ended without a message
            raise Refusal(Because.MALFORMED, "the call holds no request")
        held.shrink(len(found))
        return found

    async def _make_room(self, held: Held) -> None:
        """Wait for room to read in, and make those end that have been at it for long.

        Raises:
            Refusal: there is none.
        """
        try:
            async with asyncio.timeout(ROOM_TIMEOUT_S):
                while not held.fits(READING):
                    self._end_the_slow()
                    await self._intake.room.wait(PATIENCE_S / 4)
        except TimeoutError as error:
            raise Refusal(Because.BUSY, "too many large requests at once; come again") from error

    def _end_the_slow(self) -> None:
        """End the reading of whoever has been at it for longest, if that is long."""
        now = asyncio.get_running_loop().time()
        for limit, begun in self._reading.items():
            if now - begun > PATIENCE_S:
                del self._reading[limit]
                limit.reschedule(now)
            return
