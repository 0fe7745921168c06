"""OTLP over HTTP, and what operators ask: /live, /ready, /metrics.

Answers follow the OTLP specification: 200 with a response, 400 with a `Status` that says why, 413 for what is too
large, 503 with Retry-After when there is no room. Never 500: clients drop what gets one.

Source: OTLP specification 1.9, "OTLP/HTTP Response"; alerts-and-safety.md, section 7 (what the stock exporter does).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from noclobber_collector.errors import MalformedError
from noclobber_collector.metrics import CONTENT_TYPE
from noclobber_collector.receiver.answers import (
    JSON,
    PROTOBUF,
    RETRY_S,
    Because,
    Refusal,
    accepted,
    in_form,
    refusal_of,
)
from noclobber_collector.receiver.intake import Intake
from noclobber_collector.receiver.room import Held
from noclobber_collector.receiver.token import Token
from noclobber_collector.requests import BODY_MAX, TooLargeError

__all__ = ["HttpReceiver"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_TIMEOUT_S: Final = 10.0
BODY_BYTES_PER_S: Final = 64 << 10
"""A body may come as slowly as this once its first seconds are over."""
DRAIN_MAX: Final = 256 << 20
"""Of a body that is refused so many bytes are read, and thrown away, before the answer: a client that is still
sending would see a broken connection instead of 413, and send the same again for ever."""
CLOSING: Final = frozenset({Because.TOO_SLOW, Because.TOO_LARGE})
_PAGES: Final = frozenset({"/live", "/ready", "/metrics"})
_SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}


class HttpReceiver:
    """An ASGI application.

    Args:
        intake: takes what is well-formed.
        token: what clients must show.
    """

    def __init__(self, intake: Intake, token: Token | None = None) -> None:
        self._intake, self._token = intake, token or Token(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = _Request(scope)
        if request.method in ("GET", "HEAD") and request.path in _PAGES:
            await self._page(request, send)
            return
        try:
            signal = self._judge(request)
            with Held(self._intake.room) as held:
                body = await self._body_in_time(request, receive, held)
                rejected = await self._intake.accept(body, held, signal, request.kind, request.encoding)
            answer = accepted(rejected)
        except Exception as error:  # never 500: clients throw away what gets one
            refusal = refusal_of(error)
            self._intake.refused(refusal, error)
            await _refuse(refusal, request.kind, send)
        else:
            await _reply(send, 200, in_form(answer, request.kind), request.kind)

    async def _page(self, request: "_Request", send: Send) -> None:
        """What operators and their probes ask: alive is who answers, ready is who can take spans now."""
        if request.path == "/metrics":
            await _reply(send, 200, await asyncio.to_thread(self._intake.exposition), CONTENT_TYPE)
            return
        reason = self._intake.unready() if request.path == "/ready" else ""
        await _reply(send, 503 if reason else 200, f"{reason or 'ok'}\n".encode(), "text/plain")

    def _judge(self, request: "_Request") -> str:
        """Which signal a request holds, judged by its head alone."""
        signal = _SIGNALS.get(request.path)
        if signal is None:
            raise Refusal(Because.NO_SUCH_PATH, "send OTLP to /v1/traces")
        if request.method != "POST":
            raise Refusal(Because.NOT_POST, "OTLP is sent by POST")
        if not self._token.admits(request.header(b"authorization")):
            raise Refusal(Because.UNKNOWN_CLIENT, "a bearer token is needed: set NOCLOBBER_TOKEN in the agent")
        if request.kind not in (JSON, PROTOBUF):
            raise Refusal(Because.UNKNOWN_FORM, f"content-type {request.kind!r} is not OTLP; use {PROTOBUF} or {JSON}")
        return signal

    async def _body_in_time(self, request: "_Request", receive: Receive, held: Held) -> bytes:
        """The whole body, which must keep coming.

        Raises:
            TooLargeError: it has more than BODY_MAX bytes; enough of it was read that the client will see the answer.
            Refusal: it does not come in time, or too many bodies come at once.
        """
        body = _Body(request.length, held)
        deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        try:
            async with asyncio.timeout_at(deadline) as limit:
                while body.more:
                    body.take(await receive())
                    limit.reschedule(deadline + body.size / BODY_BYTES_PER_S)
        except TimeoutError as error:
            raise Refusal(Because.TOO_SLOW, "the body did not arrive in time") from error
        return body.whole()


class _Request:
    def __init__(self, scope: Scope) -> None:
        self.method, self.path = scope["method"], scope["path"]
        self._headers = dict(scope["headers"])
        self.kind = self.header(b"content-type").decode("latin-1").partition(";")[0].strip().lower()
        self.encoding = self.header(b"content-encoding").decode("latin-1")

    def header(self, name: bytes) -> bytes:
        value: bytes = self._headers.get(name, b"")
        return value

    @property
    def length(self) -> int:
        text = self.header(b"content-length")
        return int(text) if text.isascii() and text.isdigit() else 0


class _Body:
    """A body as it comes.

    Args:
        told: bytes that it is said to have; 0: unknown.
        held: gets the bytes that are kept.

    Attributes:
        size: bytes that came. more: whether more is to come.
    """

    def __init__(self, told: int, held: Held) -> None:
        self.size = 0
        self.more = True
        self._held = held
        self._too_large, self._no_room = told > BODY_MAX, False
        self._parts: list[bytes] = []

    def take(self, message: MutableMapping[str, Any]) -> None:
        """Take the next part, and keep it if there is room."""
        if message["type"] == "http.disconnect":
            raise MalformedError("the connection was closed before the body's end")
        part, self.more = message.get("body", b""), message.get("more_body", False)
        self.size += len(part)
        self._too_large = self._too_large or self.size > BODY_MAX
        self._no_room = self._no_room or self._too_large or not self._held.fits(len(part))
        if self._no_room:
            self._parts.clear()
            self._held.shrink(0)
            self.more = self.more and self.size <= DRAIN_MAX
        else:
            self._parts.append(part)

    def whole(self) -> bytes:
        if self._too_large:
            raise TooLargeError(f"the request has more than {BODY_MAX} bytes")
        if self._no_room:
            raise Refusal(Because.BUSY, "too many large requests at once; come again")
        body = b"".join(self._parts)
        self._parts.clear()
        return body


async def _refuse(refusal: Refusal, kind: str, send: Send) -> None:
    """Answer with a `google.rpc.Status` in the client's own form."""
    headers: list[tuple[bytes, bytes]] = []
    if refusal.because.again:
        headers.append((b"retry-after", str(RETRY_S).encode()))
    if refusal.because is Because.NOT_POST:
        headers.append((b"allow", b"POST"))
    if refusal.because in CLOSING:
        headers.append((b"connection", b"close"))
    form = PROTOBUF if kind == PROTOBUF else JSON
    await _reply(send, refusal.because.http, in_form(refusal.status(), form), form, headers)


async def _reply(
    send: Send, status: int, body: bytes, kind: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    start = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *(headers or ())]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
