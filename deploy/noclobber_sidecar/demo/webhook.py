"""A small receiver of webhooks, as a user would write one: verifies the signature, then believes the body."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Alerts", "WebhookReceiver"]

BODY_MAX = 1 << 20


class Alerts:
    """Webhooks as they came in, verified."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, str]] = []
        self._changed = threading.Condition()

    def received(self, kind: str, data: dict[str, Any]) -> None:
        """Keep what a message is about."""
        with self._changed:
            self._seen.append((str(data.get("issue")), kind))
            self._changed.notify_all()

    def wait_for(self, issue: str, timeout_s: float) -> str | None:
        """The type of the newest message about `issue`, None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for about, kind in reversed(self._seen):
                    if about == issue:
                        return kind
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)


class WebhookReceiver:
    """Listens on 127.0.0.1 and hands on what was verified.

    Args:
        received: called with each verified message's `type` and `data`, in the receiver's thread.

    Attributes:
        url: where it listens.
        secret: what the sender has to sign with, in the form of Standard Webhooks (`whsec_...`).
        refused: how many messages were not signed rightly.
    """

    def __init__(self, received: Callable[[str, dict[str, Any]], None]) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.refused = 0
        self._received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._answerer())
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook receiver", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/noclobber"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answerer(self) -> type[BaseHTTPRequestHandler]:
        from standardwebhooks.webhooks import Webhook, WebhookVerificationError

        receiver, verifier = self, Webhook(self.secret)

        class Answerer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("content-length", 0)), BODY_MAX))
                try:
                    message = verifier.verify(body, {key.lower(): value for key, value in self.headers.items()})
                except (WebhookVerificationError, ValueError):
                    receiver.refused += 1
                    self.send_error(401, "the signature does not fit")
                    return
                message = message if isinstance(message, dict) else json.loads(body)
                receiver._received(str(message["type"]), message["data"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing: the demo prints what matters."""

        return Answerer
