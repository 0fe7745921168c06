"""A connection to the receiver that can't be held open, or filled, by sending what is no request.

uvicorn waits for ever for the rest of a header, and takes headers of any size. Here a connection has a deadline from
its begin, and from the first byte of each further request, until the headers are complete; the body has one of its own
(`http`). Headers have a limit, each and all that are held together, and so has what chunked bodies may add around their
content. Whatever is no HTTP gets a 400 with a `Status`, and no line in the log: strangers must not be able to fill it.

Source: alerts-and-safety.md, section 9: 3000 of 3000 half-sent headers were still open after 20 s; RFC 9112.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from noclobber_collector.receiver.admission import Admission
from noclobber_collector.receiver.answers import JSON, RETRY_S, Because, Refusal, in_form
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.room import Held, Room
from noclobber_collector.receiver.tls import ServerTls

__all__ = ["HEADER_TIMEOUT_S", "PatientOnlySoLong", "protocol_of"]

HEADER_TIMEOUT_S: Final = 10.0
HANDSHAKE_TIMEOUT_S: Final = 10.0
HEADER_BYTES_MAX: Final = 64 << 10
HEADERS_MAX: Final = 128
HEADER_BYTES_FREE: Final = 4 << 10
HEADS_BYTES_MAX: Final = 8 << 20
"""Of the headers of all connections that have more than HEADER_BYTES_FREE of them: clients have a tenth of that."""
FRAMING_MAX: Final = 64 << 10
"""Bytes of a body's chunked framing, beyond eight times its content: chunks of one byte need six."""
_REASONS: Final = {400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class PatientOnlySoLong(HttpToolsProtocol):
    """uvicorn's HTTP protocol with deadlines and limits.

    Attributes:
        admission: decides on new connections; shared by all. heads: what long headers need; shared by all.
        header_timeout_s: until a request's headers must be complete.
    """

    admission = Admission(Counts())
    heads = Room(HEADS_BYTES_MAX, HEADS_BYTES_MAX)
    header_timeout_s = HEADER_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _head_begun = _ended_here = False
    _head_bytes = _raw_bytes = _body_bytes = 0
    entered = False
    _unanswered: tuple[Any, ...] = ()
    """Requests, the last of them is `cycle`: who sends several at once has others under way."""

    def enter(self, transport: Any) -> bool:
        """Ask for admission, before a TLS handshake where there is one."""
        peer = transport.get_extra_info("peername")
        self.entered = self.admission.enter(self, str(peer[0]) if peer else "", transport.abort)
        return self.entered

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        admitted = self.entered or self.enter(transport)
        self._head = Held(self.heads)
        super().connection_made(transport)
        self._in_head = True
        self._wait()
        if not admitted:
            self._refuse(Refusal(Because.BUSY, "too many connections; come again"))

    def data_received(self, data: bytes) -> None:
        """Feed the parser, within limits."""
        self._unset_keepalive_if_required()
        if self._deadline is None and (self._in_head or self.cycle.response_complete):
            self._wait()  # also for the rest of a body that was refused by its head
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._raw_bytes += len(data)
        self._ended_here = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Refusal(Because.MALFORMED, "OTLP needs no upgrade of the connection"))
        except httptools.HttpParserError:
            self._refuse(Refusal(Because.MALFORMED, "this is no HTTP request"))
        came = len(data)
        if self._ended_here and self._head_begun:  # how much of it is the next head is not told
            came = self._head_bytes = min(len(data), HEADER_BYTES_MAX // 2)
        if self._in_head and self._head_bytes > HEADER_BYTES_MAX:
            self._refuse(Refusal(Because.LONG_HEADER, f"the headers have more than {HEADER_BYTES_MAX} bytes"))
        elif self._in_head and self._head_bytes > HEADER_BYTES_FREE and not self._head.fits(came):
            self._refuse(Refusal(Because.BUSY, "too many long headers at once; come again"))
        elif self._raw_bytes > 8 * self._body_bytes + FRAMING_MAX:
            self._refuse(Refusal(Because.MALFORMED, "the body is nearly all framing"))

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request's headers."""
        super().on_message_begin()
        self._in_head = self._head_begun = True
        if self._deadline is None:
            self._wait()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; also one after a chunked body, which is why they are counted.

        Raises:
            ValueError: there are too many.
        """
        if len(self.headers) >= HEADERS_MAX:
            raise ValueError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._wait_no_more()
        self._in_head = self._head_begun = False
        self._head_bytes = self._raw_bytes = self._body_bytes = 0
        self.admission.works(self)
        super().on_headers_complete()
        if self.cycle is not None:
            self._unanswered = (*(each for each in self._unanswered if not each.response_complete), self.cycle)

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes now belongs to another request."""
        self._in_head = self._ended_here = True
        self._head_bytes = self._raw_bytes = self._body_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            if not self._head_begun:
                self._head.shrink(0)
            self.admission.waits(self, self.transport.abort)

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn always closes
        """The client sends no more, but may still wait for its answer."""
        cycle = self.cycle
        if self.scheme == "https" or cycle is None or cycle.response_complete or cycle.more_body:
            return None
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        self.admission.leave(self)
        self._head.shrink(0)
        self._answer_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_timeout_s, self._too_slow)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self.admission.counts.add("slow_closed")
        self._answer_no_more()
        self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer by hand, since there is no request that an application could answer, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            status = refusal.because.http
            body = in_form(refusal.status(), JSON)
            again = f"retry-after: {RETRY_S}\r\n" if refusal.because.again else ""
            head = (
                f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
                f"{again}connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            if not refusal.because.again:
                self.admission.counts.add("malformed")
        self._answer_no_more()
        self.transport.close()

    def _answer_no_more(self) -> None:
        """Tell whoever works on a request of this connection that nobody waits for it."""
        for each in self._unanswered:
            each.disconnected = True
            each.message_event.set()


class _Handshake(SSLProtocol):
    """TLS around a connection, which is admitted before its handshake costs anything."""

    def __init__(self, inner: PatientOnlySoLong, context: ssl.SSLContext) -> None:
        nobody: Any = None  # waits for the handshake
        timeout: Any = HANDSHAKE_TIMEOUT_S
        super().__init__(
            asyncio.get_running_loop(), inner, context, nobody, server_side=True, ssl_handshake_timeout=timeout
        )
        self._inner = inner

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake, if there is room."""
        if self._inner.enter(transport):
            super().connection_made(transport)
        else:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave; the connection inside does not hear of a handshake that failed."""
        self._inner.admission.leave(self._inner)
        super().connection_lost(exc)


def protocol_of(admission: Admission, tls: ServerTls | None = None) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of each connection, for uvicorn's `http`."""
    heads = Room(HEADS_BYTES_MAX, HEADS_BYTES_MAX)
    made = type("Connection", (PatientOnlySoLong,), {"admission": admission, "heads": heads})
    if tls is None:
        return made

    def over_tls(**words: Any) -> Any:
        return _Handshake(made(**words), tls.context())

    return over_tls
