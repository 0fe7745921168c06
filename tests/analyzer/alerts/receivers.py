"""A real HTTP receiver that verifies signatures with the reference library and misbehaves as told."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from noclobber_analyzer.alerts.routes import Route, route_from
from noclobber_analyzer.alerts.signing import new_secret

WAIT_S = 20.0
arriving_s = [0.0]
"""When the message that is being verified says that it was sent."""


def wait_until(holds: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait for a condition, with a bound."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        time.sleep(0.005)


@dataclass
class Answer:
    """What the receiver does with a request: a status, headers, a body, or something worse."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    hold: threading.Event | None = None
    drip: bool = False


@dataclass
class Receiver:
    """What arrived, and what is to be answered next (then what the rule says, or 204 for ever)."""

    port: int
    secret: str
    rule: Callable[[str], Answer] | None = None
    tls: ssl.SSLContext | None = None
    answers: list[Answer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    unverified: int = 0
    in_flight: int = 0
    in_flight_max: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ids(self) -> list[str]:
        return [request["id"] for request in self.requests]

    def route(self, **words: object) -> Route:
        scheme = "https" if self.tls else "http"
        table = {"url": f"{scheme}://127.0.0.1:{self.port}/hook", "secrets": [self.secret], "allow": ["127.0.0.0/8"]}
        return route_from({"name": f"r{self.port}", **table, **words})


@contextlib.contextmanager
def receiving() -> Iterator[Callable[..., Receiver]]:
    """Starts receivers on free ports, each with a rule and perhaps TLS; a client that hangs up on one is expected."""
    servers = []

    def started(rule: Callable[[str], Answer] | None = None, tls: ssl.SSLContext | None = None) -> Receiver:
        receiver = Receiver(0, new_secret(), rule, tls)
        server = serve(receiver)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        receiver.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return receiver

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def serve(receiver: Receiver) -> ThreadingHTTPServer:
    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with receiver.lock:
                receiver.in_flight += 1
                receiver.in_flight_max = max(receiver.in_flight_max, receiver.in_flight)
                answer = self._chosen()
                self._note(body)
                if 200 <= answer.status < 300 and not answer.cut:
                    receiver.taken.append(self.headers["webhook-id"])
            try:
                self._answer(answer)
            finally:
                with receiver.lock:
                    receiver.in_flight -= 1

        def _chosen(self) -> Answer:
            if receiver.answers:
                return receiver.answers.pop(0)
            return receiver.rule(self.headers["webhook-id"]) if receiver.rule else Answer()

        def _note(self, body: bytes) -> None:
            arriving_s[0] = float(self.headers.get("webhook-timestamp", 0))
            try:
                Webhook(receiver.secret).verify(body, dict(self.headers))
            except (WebhookVerificationError, UnicodeDecodeError):
                receiver.unverified += 1
            headers = dict(self.headers)
            receiver.requests.append(
                {
                    "id": headers["webhook-id"],
                    "body": body,
                    "json": json.loads(body) if "json" in headers.get("content-type", "json") else None,
                    "headers": headers,
                    "path": self.path,
                    "at": time.time(),
                }
            )

        def _answer(self, answer: Answer) -> None:
            if answer.hold is not None:
                answer.hold.wait(WAIT_S)
            if answer.cut:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            if answer.drip:
                self._drip()
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def _drip(self) -> None:
            try:
                for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 10_000:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.02)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", receiver.port), Endpoint)
    if receiver.tls:
        server.socket = receiver.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server
