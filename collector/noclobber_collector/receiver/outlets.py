"""Sends requests to another OTLP endpoint, over HTTP or gRPC, and reads its answer by the specification's table.

Source: OTLP specification 1.9: which answers may be tried again, Retry-After, RetryInfo, partial success.
"""

import gzip
import http.client
import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from noclobber_collector.receiver.answers import PROTOBUF

__all__ = ["Answer", "Endpoint", "Outlet", "Verdict", "outlet"]

TIMEOUT_S: Final = 10.0
ANSWER_MAX: Final = 4 << 20
PATH: Final = "/v1/traces"
METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
AGAIN_HTTP: Final = frozenset({429, 502, 503, 504})
AGAIN_GRPC: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
OURS: Final = frozenset({401, 403, 404, 405, 407, 415, "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"})
"""Refusals that the same sender gets whatever it sends."""
SIZE: Final = frozenset({413, "RESOURCE_EXHAUSTED"})
"""Refusals that less might not get."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to, and how.

    Attributes:
        url: `http(s)://host:port`, with a path if the other end wants one, or `grpc(s)://host:port`.
        headers: sent with each request; may hold secrets.
        ca: PEM file to trust in place of the system's. cert, key: what we show (mTLS).
        compress: with gzip.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    compress: bool = True


class Verdict(Enum):
    """What became of a request."""

    SENT = "sent"
    AGAIN = "again"
    NEVER = "never"
    TOO_LARGE = "too large"
    NEVER_US = "never from us"


class Answer(NamedTuple):
    """What the other end said.

    Attributes:
        after_s: when to come again; None: it did not say. rejected: spans it did not take of those it was sent.
    """

    verdict: Verdict
    reason: str = ""
    after_s: float | None = None
    rejected: int = 0


class Outlet(Protocol):
    """A way to the other end."""

    def send(self, request: bytes) -> Answer:
        """Send one request; never raises."""

    def close(self) -> None:
        """Close the connection."""


def outlet(endpoint: Endpoint) -> Outlet:
    """The way that the URL's scheme names.

    Raises:
        ValueError: it names none, or files of TLS can't be used.
    """
    parts = urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.hostname:
        raise ValueError(f"{endpoint.url!r} is no OTLP endpoint: write http(s)://host:4318 or grpc(s)://host:4317")
    try:
        return _Http(endpoint) if parts.scheme.startswith("http") else _Grpc(endpoint)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"the certificates for {endpoint.url} can't be used: {error}") from error


class _Http:
    def __init__(self, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        base = parts.path.rstrip("/")
        self._path = (base if base.endswith(PATH) else base + PATH) + (f"?{parts.query}" if parts.query else "")
        self._headers = {"content-type": PROTOBUF, "user-agent": "noclobber", **endpoint.headers}
        if endpoint.compress:
            self._headers["content-encoding"] = "gzip"
        host = parts.hostname or ""
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=str(endpoint.ca) if endpoint.ca else None)
            if endpoint.cert is not None:
                context.load_cert_chain(endpoint.cert, endpoint.key)
            self._connection = http.client.HTTPSConnection(host, parts.port or 443, timeout=TIMEOUT_S, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, parts.port or 80, timeout=TIMEOUT_S)
        self._compress = endpoint.compress

    def send(self, request: bytes) -> Answer:
        body = gzip.compress(request, 1) if self._compress else request
        try:
            self._connection.request("POST", self._path, body, self._headers)
            answer = self._connection.getresponse()
            told = answer.read(ANSWER_MAX)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            return Answer(Verdict.AGAIN, f"{type(error).__name__}: {error}")
        if answer.will_close or answer.length:
            self._connection.close()
        if answer.status == 200:
            return _accepted(told)
        reason = f"HTTP {answer.status} {answer.reason}"
        if answer.status in AGAIN_HTTP:
            return Answer(Verdict.AGAIN, reason, _retry_after_s(answer.headers.get("retry-after")))
        return Answer(_never(answer.status), reason)

    def close(self) -> None:
        self._connection.close()


def _never(code: int | str) -> Verdict:
    """What a code says that forbids to send the same again."""
    return Verdict.NEVER_US if code in OURS else Verdict.TOO_LARGE if code in SIZE else Verdict.NEVER


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, from a number of them or from a date; None where it is neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _accepted(told: bytes) -> Answer:
    """A success, whole or in part: what was rejected must not be sent again."""
    try:
        partial = ExportTraceServiceResponse.FromString(told).partial_success
    except DecodeError:
        return Answer(Verdict.SENT)
    return Answer(Verdict.SENT, partial.error_message, rejected=max(0, partial.rejected_spans))


class _Grpc:
    def __init__(self, endpoint: Endpoint) -> None:
        parts = urlsplit(endpoint.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        target = f"{host}:{parts.port or 4317}"
        compression = grpc.Compression.Gzip if endpoint.compress else grpc.Compression.NoCompression
        options = [("grpc.max_receive_message_length", ANSWER_MAX), ("grpc.use_local_subchannel_pool", 1)]
        if parts.scheme == "grpcs":
            ca, key, cert = (
                path.read_bytes() if path is not None else None for path in (endpoint.ca, endpoint.key, endpoint.cert)
            )
            credentials = grpc.ssl_channel_credentials(ca, key, cert)
            self._channel = grpc.secure_channel(target, credentials, options, compression)
        else:
            self._channel = grpc.insecure_channel(target, options, compression)
        self._metadata = tuple((name.lower(), value) for name, value in endpoint.headers.items())
        self._export = self._channel.unary_unary(METHOD)

    def send(self, request: bytes) -> Answer:
        try:
            return _accepted(self._export(request, timeout=TIMEOUT_S, metadata=self._metadata))
        except grpc.RpcError as caught:
            error: Any = caught
            name = error.code().name
            reason = f"gRPC {name}: {error.details()}"
            after_s = _retry_info_s(error)
            if name in AGAIN_GRPC or (name == "RESOURCE_EXHAUSTED" and after_s is not None):
                return Answer(Verdict.AGAIN, reason, after_s)
            return Answer(_never(name), reason)

    def close(self) -> None:
        self._channel.close()


def _retry_info_s(error: Any) -> float | None:
    """The delay in the status's RetryInfo; None where it has none."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            try:
                for detail in Status.FromString(value).details:
                    found = RetryInfo()
                    if detail.Unpack(found):
                        return max(0.0, float(found.retry_delay.seconds) + float(found.retry_delay.nanos) / 1e9)
            except DecodeError:
                return None
    return None
