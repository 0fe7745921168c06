"""A connection to the receiver that can't be held open by sending nothing.

uvicorn waits for ever for the rest of a header. Here a connection has a deadline from its begin, and from the first
byte of each further request, until the headers are complete; the body has one of its own (`http`).

Source: alerts-and-safety.md, section 9: 3000 of 3000 half-sent headers were still open after 20 s.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEADER_TIMEOUT_S", "PatientOnlySoLong"]

HEADER_TIMEOUT_S: Final = 10.0


class PatientOnlySoLong(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a deadline for headers."""

    header_timeout_s = HEADER_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request's headers."""
        super().on_message_begin()
        if self._deadline is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(self.header_timeout_s, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
