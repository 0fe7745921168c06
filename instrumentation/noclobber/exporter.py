"""Sends exports to a collector, one after the other, for as long as it takes.

Its answers decide: 2xx and it is done; 429, 502, 503, 504 and a broken connection mean again, after the time that the
collector asks for or a pause that doubles; anything else means that it will never take these bytes, which is counted
and logged once. Exports leave in order, so a mark never overtakes what it vouches for.

It speaks HTTP with the standard library on a thread of its own: no instrumented client, nothing of the agent's.

Source: OTLP specification, "OTLP/HTTP Response" and "Failures"; gRPC codes from the same.
"""

import gzip
import http.client
import logging
import ssl
import threading
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from noclobber.outbox import Outbox
from noclobber.settings import Settings

__all__ = ["Answer", "Sender", "Transport", "transport_for"]

log = logging.getLogger("noclobber")
PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0
RETRYABLE_HTTP: Final = frozenset({408, 429, 502, 503, 504})
RETRYABLE_GRPC: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
EXPORT_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        done: acknowledged. again: worth another try. after_s: asked for by the collector. reason: for the log.
    """

    done: bool
    again: bool = False
    after_s: float | None = None
    reason: str = ""


class Transport(Protocol):
    """Carries one request."""

    def send(self, data: bytes) -> Answer:
        """Send an encoded ExportTraceServiceRequest; never raises."""
        ...

    def close(self) -> None:
        """Drop the connection."""
        ...


def transport_for(settings: Settings) -> Transport:
    """The transport that the settings ask for."""
    return _Grpc(settings) if settings.protocol == "grpc" else _Http(settings)


class _Http:
    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.endpoint)
        self._host, self._port, self._path = url.hostname or "127.0.0.1", url.port, url.path or "/"
        self._tls = url.scheme == "https"
        self._timeout_s, self._gzip = settings.timeout_s, settings.gzip
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "noclobber", **settings.headers}
        if self._gzip:
            self._headers["content-encoding"] = "gzip"
        self._connection: http.client.HTTPConnection | None = None

    def send(self, data: bytes) -> Answer:
        body = gzip.compress(data, 1) if self._gzip else data
        fresh = self._connection is None
        answer = self._try(body)
        return answer if fresh or answer.done or answer.after_s is not None or self._connection else self._try(body)

    def _try(self, body: bytes) -> Answer:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            text = response.read(4096)
            return _judge(response.status, response.headers.get("retry-after"), text)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(done=False, again=True, reason=f"{type(error).__name__}: {error}")

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _judge(status: int, retry_after: str | None, text: bytes) -> Answer:
    if 200 <= status < 300:
        return Answer(done=True)
    reason = f"HTTP {status} {text[:200].decode(errors='replace')}".strip()
    if status not in RETRYABLE_HTTP:
        return Answer(done=False, reason=reason)
    after = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
    return Answer(done=False, again=True, after_s=after, reason=reason)


class _Grpc:
    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.endpoint if "//" in settings.endpoint else f"//{settings.endpoint}")
        self._target, self._tls = url.netloc, url.scheme == "https"
        self._timeout_s = settings.timeout_s
        self._metadata = tuple((name.lower(), value) for name, value in settings.headers.items())
        self._call: Any = None
        self._channel: Any = None

    def send(self, data: bytes) -> Answer:
        import grpc

        try:
            if self._call is None:
                self._channel = (
                    grpc.secure_channel(self._target, grpc.ssl_channel_credentials())
                    if self._tls
                    else grpc.insecure_channel(self._target)
                )
                self._call = self._channel.unary_unary(
                    EXPORT_METHOD, request_serializer=lambda each: each, response_deserializer=lambda each: each
                )
            self._call(data, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            code = error.code().name
            return Answer(done=False, again=code in RETRYABLE_GRPC, reason=f"gRPC {code}: {error.details()}")
        return Answer(done=True)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = self._call = None


class Sender:
    """Empties an outbox into a transport, on a daemon thread of its own.

    Attributes:
        refused: accesses that the collector will never take. outages: how often it could not be reached.
    """

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox, self._transport = outbox, transport
        self._stopping = threading.Event()
        self._logged: set[str] = set()
        self.refused = 0
        self.outages = 0
        self._thread = threading.Thread(target=self._run, name="noclobber sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Send what is queued for at most `timeout_s`, then end."""
        self._outbox.wait_empty(timeout_s)
        self._stopping.set()
        self._thread.join(1.0)
        self._transport.close()

    def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while not self._stopping.is_set():
            export = self._outbox.first(0.2)
            if export is None:
                continue
            data = export.load()
            answer = self._transport.send(data) if data else Answer(done=True)
            if answer.again:
                self._note(answer.reason)
                self.outages += pause_s == PAUSE_FIRST_S
                self._stopping.wait(answer.after_s if answer.after_s is not None else pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
                continue
            if not answer.done:
                self.refused += export.spans
                self._note(f"it will not be sent again: {answer.reason}")
            pause_s = PAUSE_FIRST_S
            self._outbox.done(export)

    def _note(self, reason: str) -> None:
        cause = reason.partition(":")[0]
        if cause not in self._logged and len(self._logged) < 100:
            self._logged.add(cause)
            log.warning("noclobber can't hand its spans to the collector (%s); it keeps them and tries again", reason)
