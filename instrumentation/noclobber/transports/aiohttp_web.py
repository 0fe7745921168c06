"""aiohttp's server: an application handles each request, and every response starts once, inside it or after.

Source: aiohttp 3.14, web_app.py, web_protocol.py, web_response.py.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping
from noclobber.transports.baggage import ANSWER, HEADER
from noclobber.transports.visits import handled, received

__all__ = ["INTEGRATION"]

_wrapping = Wrapping("aiohttp-web")
_VISIT: Final = "_noclobber_visit"


def install(library: ModuleType) -> None:
    """Wrap the handling of a request and the start of a response."""
    _wrapping.wrap([(library.Application, "_handle", _handling), (library.StreamResponse, "_start", _starting)])


def _handling(original: Any) -> Any:
    async def handle(self: Any, request: Any) -> Any:
        header = None
        with GUARD:
            header = ",".join(request.headers.getall(HEADER, ()))
        with received(header) as visit, handled():
            with GUARD:
                if visit is not None:
                    object.__setattr__(request, _VISIT, visit)  # its own warns of attributes that it doesn't know
            return await original(self, request)

    return handle


def _starting(original: Any) -> Any:
    async def start(self: Any, request: Any) -> Any:
        with GUARD:
            visit = getattr(request, _VISIT, None)
            value = visit.answer() if visit is not None else None
            if value is not None:
                self.headers[ANSWER] = value
        return await original(self, request)

    return start


INTEGRATION: Final = Integration("aiohttp-web", install, _wrapping.restore)
