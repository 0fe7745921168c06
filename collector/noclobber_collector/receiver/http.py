"""OTLP over HTTP, and what operators ask: /live, /ready, /metrics.

Answers follow the OTLP specification: 200 with an empty response, 400 with a `Status` that says why, 413 for what is
too large, 503 with Retry-After when there is no room. Never 500: clients drop what gets one.

Source: OTLP specification, "OTLP/HTTP Response"; alerts-and-safety.md, section 7 (what the stock exporter does).
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from typing import Any, Final

from noclobber_collector.errors import MalformedError, SpoolFullError
from noclobber_collector.metrics import CONTENT_TYPE
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.requests import BODY_MAX, TooLargeError, from_json, unpack

__all__ = ["HttpReceiver"]

log = logging.getLogger("noclobber.receiver")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
BODY_TIMEOUT_S: Final = 15.0
DRAIN_MAX: Final = 256 << 20
"""Of a body that is too large so many bytes are read, and thrown away, before the answer: a client that is still
sending would see a broken connection instead of 413, and send the same again for ever."""
SMALL: Final = 64 << 10
"""Bodies up to this are read on the event loop; larger ones on a thread, so that others are answered meanwhile."""
DURABLE_TIMEOUT_S: Final = 8.0
"""Exporters give up after 10 s."""
RETRY_AFTER_S: Final = "2"
CLOSING: Final = frozenset({408, 413})
GRPC_INVALID, GRPC_UNAVAILABLE, GRPC_UNAUTHENTICATED = 3, 14, 16


class HttpReceiver:
    """An ASGI application.

    Args:
        intake: takes what is well-formed.
        token: bearer token that clients must show; None: none.
    """

    def __init__(self, intake: Intake, token: str | None = None) -> None:
        self._intake, self._token = intake, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        if method == "GET" and path in _PAGES:
            await self._tell(path, send)
        elif path not in _SIGNALS:
            await _reply(send, 404, b"send OTLP to /v1/traces\n", "text/plain")
        elif method != "POST":
            await _reply(send, 405, b"OTLP is sent by POST\n", "text/plain", ((b"allow", b"POST"),))
        else:
            await self._take(_Request(scope), receive, send)

    async def _tell(self, path: str, send: Send) -> None:
        """What operators and their probes ask: alive is who answers, ready is who can take spans now."""
        if path == "/metrics":
            await _reply(send, 200, await asyncio.to_thread(self._intake.exposition), CONTENT_TYPE)
            return
        reason = self._intake.unready() if path == "/ready" else ""
        await _reply(send, 503 if reason else 200, f"{reason or 'ok'}\n".encode(), "text/plain")

    async def _take(self, request: "_Request", receive: Receive, send: Send) -> None:
        try:
            self._authorize(request)
            if request.kind not in (JSON, PROTOBUF):
                raise _Refusal(
                    415, GRPC_INVALID, f"content-type {request.kind!r} is not OTLP; use {PROTOBUF} or {JSON}"
                )
            await self._accept(request, await _body_in_time(request, receive))
        except _Refusal as refusal:
            await refusal.reply(send, request.kind)
        except TooLargeError as error:
            self._intake.count("malformed")
            await _Refusal(413, GRPC_INVALID, str(error)).reply(send, request.kind)
        except MalformedError as error:
            self._intake.count("malformed")
            await _Refusal(400, GRPC_INVALID, str(error)).reply(send, request.kind)
        except SpoolFullError as error:
            await _Refusal(503, GRPC_UNAVAILABLE, f"{error}; come again").reply(send, request.kind)
        except Exception:
            log.exception("a request could not be taken")  # never 500: clients throw away what gets one
            await _Refusal(503, GRPC_UNAVAILABLE, "the collector failed; come again").reply(send, request.kind)
        else:
            await _reply(send, 200, b"{}" if request.kind == JSON else b"", request.kind)

    def _authorize(self, request: "_Request") -> None:
        if self._token is None:
            return
        shown = request.header(b"authorization").removeprefix(b"Bearer ")
        if not hmac.compare_digest(shown, self._token.encode()):
            self._intake.count("unauthorized")
            raise _Refusal(401, GRPC_UNAUTHENTICATED, "a bearer token is needed: set NOCLOBBER_TOKEN in the agent")

    async def _accept(self, request: "_Request", body: bytes) -> None:
        if request.path != "/v1/traces":
            self._intake.count("logs_dropped" if request.path == "/v1/logs" else "metrics_dropped")
            return
        encoding = request.header(b"content-encoding").decode("latin-1")
        if len(body) <= SMALL and not encoding:
            taken = self._read(body, encoding, request.kind)
        else:
            taken = await asyncio.to_thread(self._read, body, encoding, request.kind)
        try:
            await asyncio.wait_for(asyncio.wrap_future(taken), DURABLE_TIMEOUT_S)
        except TimeoutError as error:
            raise SpoolFullError("the disk is too slow for what arrives") from error

    def _read(self, body: bytes, encoding: str, kind: str) -> "Future[None]":
        data = unpack(body, encoding)
        return self._intake.take(from_json(data) if kind == JSON else data)


_PAGES: Final = frozenset({"/live", "/ready", "/metrics"})
_SIGNALS: Final = frozenset({"/v1/traces", "/v1/logs", "/v1/metrics"})


class _Request:
    def __init__(self, scope: Scope) -> None:
        self.path = scope["path"]
        self._headers = dict(scope["headers"])
        self.kind = self.header(b"content-type").decode("latin-1").partition(";")[0].strip().lower()

    def header(self, name: bytes) -> bytes:
        value: bytes = self._headers.get(name, b"")
        return value

    @property
    def length(self) -> int:
        text = self.header(b"content-length")
        return int(text) if text.isascii() and text.isdigit() else 0


async def _body_in_time(request: _Request, receive: Receive) -> bytes:
    try:
        return await asyncio.wait_for(_body(request, receive), BODY_TIMEOUT_S)
    except TimeoutError as error:
        raise _Refusal(408, GRPC_UNAVAILABLE, "the body did not arrive in time") from error


async def _body(request: _Request, receive: Receive) -> bytes:
    """The whole body.

    Raises:
        TooLargeError: it has more than BODY_MAX bytes; enough of it was read that the client will see the answer.
    """
    parts: list[bytes] = []
    size, more = 0, True
    too_large = request.length > BODY_MAX
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedError("the connection was closed before the body's end")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        too_large = too_large or size > BODY_MAX
        if too_large:
            parts.clear()
            if size > DRAIN_MAX:
                break
        else:
            parts.append(part)
    if too_large:
        raise TooLargeError(f"the request has more than {BODY_MAX} bytes")
    return b"".join(parts)


class _Refusal(Exception):  # noqa: N818  it is an answer, not a failure
    """A request that is answered with a reason."""

    def __init__(self, status: int, code: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason

    async def reply(self, send: Send, kind: str) -> None:
        """Answer with a `google.rpc.Status` in the client's own encoding."""
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if self.status == 503:
            headers = ((b"retry-after", RETRY_AFTER_S.encode()),)
        if self.status in CLOSING:
            headers = ((b"connection", b"close"),)
        if kind != PROTOBUF:
            body = json.dumps({"code": self.code, "message": self.reason}).encode()
            await _reply(send, self.status, body, JSON, headers)
            return
        from google.rpc.status_pb2 import Status

        body = Status(code=self.code, message=self.reason).SerializeToString()
        await _reply(send, self.status, body, PROTOBUF, headers)


async def _reply(
    send: Send, status: int, body: bytes, kind: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    start = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
