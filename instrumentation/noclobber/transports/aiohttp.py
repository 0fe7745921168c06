"""aiohttp's client: each hop is a `ClientRequest`, which writes its headers at once when it is sent.

They are put back as they were then, since the response shows them. The answer is there when the response has started.

Source: aiohttp 3.14, client.py, client_reqrep.py.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping
from noclobber.transports.baggage import ANSWER, HEADER
from noclobber.transports.calls import back, out

__all__ = ["INTEGRATION"]

_wrapping = Wrapping("aiohttp")
_TOLD: Final = "_noclobber_told"


def install(library: ModuleType) -> None:
    """Wrap what sends a request and what reads the head of its answer."""
    _wrapping.wrap([(library.ClientRequest, "send", _sending), (library.ClientResponse, "start", _starting)])


def _sending(original: Any) -> Any:
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        value, present = None, []
        with GUARD:
            present = self.headers.getall(HEADER, [])
            value = out(self.url.host, self.url.port, ",".join(present) or None)
            if value is not None:
                self.headers[HEADER] = value
        try:
            response = await original(self, *args, **kwargs)
        finally:
            with GUARD:
                if value is not None:
                    self.headers.popall(HEADER, None)
                    self.headers.extend((HEADER, each) for each in present)
        with GUARD:
            if value is not None:
                setattr(response, _TOLD, True)
        return response

    return send


def _starting(original: Any) -> Any:
    async def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = await original(self, *args, **kwargs)
        with GUARD:
            if getattr(self, _TOLD, False):
                back(self.headers.get(ANSWER))
        return response

    return start


INTEGRATION: Final = Integration("aiohttp", install, _wrapping.restore)
