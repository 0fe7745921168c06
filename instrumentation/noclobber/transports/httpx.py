"""httpx: every request of a client passes its transport, sync or async, once for each hop.

The transport is given a copy of the request, so that the program's own, which its response shows, stays as it was.

Source: httpx 0.28, _transports/default.py.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping
from noclobber.transports.baggage import ANSWER, HEADER
from noclobber.transports.calls import back, out

__all__ = ["INTEGRATION"]

_wrapping = Wrapping("httpx")


def install(library: ModuleType) -> None:
    """Wrap both transports."""
    _wrapping.wrap(
        [
            (library.HTTPTransport, "handle_request", _handling),
            (library.AsyncHTTPTransport, "handle_async_request", _handling_async),
        ]
    )


def _told(request: Any) -> Any:
    """A copy of `request` that carries the strand; None where it is to go as it is."""
    with GUARD:
        value = out(request.url.host, _port(request.url), request.headers.get(HEADER))
        if value is not None:
            headers = request.headers.copy()
            headers[HEADER] = value
            return type(request)(
                request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
            )
    return None


def _port(url: Any) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _handling(original: Any) -> Any:
    def handle_request(self: Any, request: Any) -> Any:
        told = _told(request)
        if told is None:
            return original(self, request)
        response = original(self, told)
        back(response.headers.get(ANSWER))
        return response

    return handle_request


def _handling_async(original: Any) -> Any:
    async def handle_async_request(self: Any, request: Any) -> Any:
        told = _told(request)
        if told is None:
            return await original(self, request)
        response = await original(self, told)
        back(response.headers.get(ANSWER))
        return response

    return handle_async_request


INTEGRATION: Final = Integration("httpx", install, _wrapping.restore)
