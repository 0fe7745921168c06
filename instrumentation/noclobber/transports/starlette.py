"""Starlette, and FastAPI with it: the application is outside of every middleware, the handling of exceptions inside.

A middleware of `BaseHTTPMiddleware` runs what is inside it in another task, so the start of the answer is noted there
and told outside.

Source: Starlette 1.x, applications.py, middleware/base.py, middleware/exceptions.py; ASGI, HTTP message format.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping
from noclobber.transports.baggage import ANSWER, HEADER
from noclobber.transports.visits import Visit, handled, received

__all__ = ["INTEGRATION"]

_wrapping = Wrapping("starlette")
_NAME: Final = HEADER.encode()
_VISIT: Final = "noclobber.visit"


def install(library: ModuleType) -> None:
    """Wrap the application and the innermost middleware."""
    from starlette.middleware.exceptions import ExceptionMiddleware

    _wrapping.wrap([(library.Starlette, "__call__", _serving), (ExceptionMiddleware, "__call__", _inside)])


def _serving(original: Any) -> Any:
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        header, asks = None, False
        with GUARD:
            asks = scope["type"] == "http"
            if asks and _VISIT not in scope:
                values = [value for name, value in scope["headers"] if name.lower() == _NAME]
                header = b",".join(values).decode("latin-1")
        if not asks:
            await original(self, scope, receive, send)
            return
        with received(header) as visit, handled():
            if visit is not None:
                scope, send = {**scope, _VISIT: visit}, _telling(visit, send)
            await original(self, scope, receive, send)

    return call


def _telling(visit: Visit, send: Any) -> Any:
    async def told(message: Any) -> None:
        with GUARD:
            value = visit.answer() if message["type"] == "http.response.start" else None
            if value is not None:
                headers = [*message.get("headers", ()), (ANSWER.encode(), value.encode())]
                message = {**message, "headers": headers}
        await send(message)

    return told


def _inside(original: Any) -> Any:
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        visit = scope.get(_VISIT)
        await original(self, scope, receive, send if visit is None else _noting(visit, send))

    return call


def _noting(visit: Visit, send: Any) -> Any:
    async def noted(message: Any) -> None:
        with GUARD:
            if message["type"] == "http.response.start":
                visit.note()
        await send(message)

    return noted


INTEGRATION: Final = Integration("starlette", install, _wrapping.restore)
