"""requests: every request passes `HTTPAdapter.send`, once for each hop.

The adapter is given a copy; the response and the error that it makes are given the program's own request back.

Source: requests 2.34, adapters.py, sessions.py.
"""

from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping
from noclobber.transports.baggage import ANSWER, HEADER
from noclobber.transports.calls import back, out

__all__ = ["INTEGRATION"]

_wrapping = Wrapping("requests")


def install(library: ModuleType) -> None:
    """Wrap the adapter."""
    _wrapping.wrap([(library.HTTPAdapter, "send", _sending)])


def _told(request: Any) -> Any:
    """A copy of `request` that carries the strand; None where it is to go as it is."""
    with GUARD:
        url = urlsplit(request.url)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        present = request.headers.get(HEADER)
        if isinstance(present, bytes):
            present = present.decode("latin-1")
        value = out(url.hostname, port, present)
        if value is not None:
            told = request.copy()
            told.headers[HEADER] = value
            return told
    return None


def _sending(original: Any) -> Any:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        told = _told(request)
        if told is None:
            return original(self, request, *args, **kwargs)
        try:
            response = original(self, told, *args, **kwargs)
        except Exception as error:
            if getattr(error, "request", None) is told:
                error.request = request  # type: ignore[attr-defined]  # an error of requests
            raise
        if response.request is told:
            response.request = request
        back(response.headers.get(ANSWER))
        return response

    return send


INTEGRATION: Final = Integration("requests", install, _wrapping.restore)
