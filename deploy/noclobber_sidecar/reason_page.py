"""What answers where the dashboard should be while there is none: one sentence that says why.

The socket is the dashboard's own, bound by the supervisor. Both use this page: the supervisor where the engine can't
run at all, the engine while its store does not answer.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["answering", "serve_reason"]


def serve_reason(pages: socket.socket, reason: Callable[[], str]) -> ThreadingHTTPServer:
    """Answer every request on a listening socket with 503 and the reason, until the server is shut down."""

    class Reason(BaseHTTPRequestHandler):
        timeout = 10  # nobody holds a thread for longer

        def do_GET(self) -> None:
            body = f"{reason()}\n".encode()
            self.send_response(503)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.send_header("retry-after", "2")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        do_POST = do_HEAD = do_GET  # noqa: N815  the base class's names

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(pages.getsockname()[:2], Reason, bind_and_activate=False)
    server.socket.close()
    server.socket = pages
    threading.Thread(target=server.serve_forever, args=(0.05,), name="reason", daemon=True).start()
    return server


@contextlib.contextmanager
def answering(pages: socket.socket, reason: Callable[[], str]) -> Iterator[None]:
    """Answer with the reason meanwhile; the socket goes on listening afterwards."""
    server = serve_reason(pages, reason)
    try:
        yield
    finally:
        server.shutdown()
