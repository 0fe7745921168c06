"""Sends exports to a collector, one after the other, for as long as it takes.

Its answers decide: 2xx and it is done; 429, 502, 503, 504 and a broken connection mean again, after the time that the
collector asks for or a pause that doubles; other errors of the server mean again too, for a while, since one bad
moment of it should lose nothing and one bad export should not stop the rest for ever. Anything else means that it will
never take these bytes, which is counted and logged once. Exports leave in order, so a mark never overtakes what it
vouches for.

It speaks HTTP with the standard library on a thread of its own: no instrumented client, nothing of the agent's.

Source: OTLP specification, "OTLP/HTTP Response" and "Failures"; gRPC codes from the same.
"""

import gzip
import http.client
import logging
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from noclobber.outbox import Export, Outbox
from noclobber.own_thread import OwnThread
from noclobber.settings import Settings

__all__ = ["Answer", "Sender", "Transport", "transport_for"]

log = logging.getLogger("noclobber")
PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 5.0
RETRY_AFTER_MAX_S: Final = 60.0
"""Longest pause that a collector may ask for."""
FAULTS_MAX: Final = 8
"""Tries for one export that the server answers with an error of its own (500): about 20 seconds."""
ADOPT_EVERY_S: Final = 30.0
"""How often what other processes left behind is looked for, while the collector answers."""
RETRYABLE_HTTP: Final = frozenset({408, 429, 502, 503, 504})
RETRYABLE_GRPC: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
FAULTS_GRPC: Final = frozenset({"UNKNOWN", "INTERNAL"})
EXPORT_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        done: acknowledged. again: worth another try. fault: of the server, so the tries are counted.
        after_s: pause asked for by the collector. reason: for the log.
    """

    done: bool
    again: bool = False
    fault: bool = False
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
        return Answer(done=False, again=status >= 500, fault=status >= 500, reason=reason)
    after = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdigit() else None
    return Answer(
        done=False, again=True, after_s=None if after is None else min(after, RETRY_AFTER_MAX_S), reason=reason
    )


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
            fault = code in FAULTS_GRPC
            again = fault or code in RETRYABLE_GRPC
            return Answer(done=False, again=again, fault=fault, reason=f"gRPC {code}: {error.details()}")
        return Answer(done=True)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = self._call = None


class Sender:
    """Empties an outbox into a transport, on a daemon thread of its own.

    Attributes:
        cpu_ns: CPU that its thread took so far.
        refused: accesses that the collector will never take. outages: how often it could not be reached.
    """

    def __init__(self, outbox: Outbox, transport: Transport) -> None:
        self._outbox, self._transport = outbox, transport
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._logged: set[str] = set()
        self._faults = 0
        self._pause_s = PAUSE_FIRST_S
        self._adopted_at: float | None = None
        self.refused = 0
        self.outages = 0
        self.cpu_ns = 0
        self._thread = OwnThread(target=self._run, name="noclobber sender", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Send what is queued, for at most `timeout_s` and for as long as the collector answers, then end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)
        self._transport.close()

    def _run(self) -> None:
        """Until the outbox is empty at the end, or the collector can't be reached then."""
        while True:
            ending = self._stopping.is_set()
            export = self._outbox.first(0.0 if ending else 0.2)
            if export is None:
                if ending:
                    return
                continue
            answer = self._sent(export)
            self.cpu_ns = time.thread_time_ns()
            if answer.again and not (answer.fault and self._is_hopeless()):
                if ending and self._outbox.keeps:
                    self._note(answer.reason)
                    return  # it stays on disk, for another process
                self._pause(answer)
                continue
            self._faults, self._pause_s = 0, PAUSE_FIRST_S
            if not answer.done:
                self.refused += export.spans
                self._note(f"it will not be sent again: {answer.reason}")
            self._outbox.done(export)
            if answer.done and not ending:
                self._adopt()

    def _sent(self, export: Export) -> Answer:
        try:
            data = export.load()
            return self._transport.send(data) if data else Answer(done=True)
        except Exception as error:
            return Answer(done=False, again=True, fault=True, reason=f"{type(error).__name__}: {error}")

    def _is_hopeless(self) -> bool:
        self._faults += 1
        return self._faults >= FAULTS_MAX

    def _pause(self, answer: Answer) -> None:
        self._note(answer.reason)
        self.outages += self._pause_s == PAUSE_FIRST_S
        self._wake.wait(answer.after_s if answer.after_s is not None else self._pause_s)
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)

    def _adopt(self) -> None:
        """Take over what other processes could not send, now that somebody takes it."""
        now = time.monotonic()
        if self._adopted_at is None or now - self._adopted_at >= ADOPT_EVERY_S:
            self._adopted_at = now
            self._outbox.adopt()

    def _note(self, reason: str) -> None:
        cause = reason.partition(":")[0]
        if cause not in self._logged and len(self._logged) < 100:
            self._logged.add(cause)
            log.warning("noclobber can't hand its spans to the collector (%s); it keeps them and tries again", reason)
