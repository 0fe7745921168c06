"""Where somebody goes who had to sign in first: the page that they had asked for.

An alert's link leads to a finding, and often meets somebody who is not signed in. What they asked for then goes with
them: through the form as a hidden field, through a provider as a cookie that lives ten minutes and is sent to the
callback alone. Both come back from a browser, so both are anybody's text: only the path of one of our own pages is
followed, whatever stands behind its question mark.

Source: OWASP, "Unvalidated Redirects and Forwards Cheat Sheet"; WHATWG URL (a backslash is a slash, tabs are nothing).
"""

from typing import Final
from urllib.parse import quote, unquote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope, Send

from noclobber_dashboard.login import CALLBACK
from noclobber_dashboard.shell import PAGES

__all__ = ["HOME", "asked_for", "carried_by", "carry", "led_on", "own_page"]

HOME: Final = "/"
LENGTH_MAX: Final = 2_000
COOKIE: Final = "noclobber_destination"
COOKIE_S: Final = 600
_PATHS: Final = frozenset({HOME, *(f"/{name}" for name in PAGES)})


def own_page(text: str) -> str:
    """The path and query of one of our pages; of anything else, the first page's."""
    is_plain = text.isascii() and text.isprintable() and "\\" not in text and " " not in text
    if not is_plain or len(text) > LENGTH_MAX or text.partition("#")[0].partition("?")[0] not in _PATHS:
        return HOME
    return text


def asked_for(scope: Scope) -> str:
    """What a request asks for, if it is a page."""
    query = scope["query_string"].decode("latin-1")
    return own_page(f"{scope['path']}?{query}" if query else scope["path"])


def carry(answer: Response, page: str, *, secure: bool) -> None:
    """Have a browser bring the page along to the provider's callback."""
    answer.set_cookie(
        COOKIE, quote(own_page(page), safe=""), max_age=COOKIE_S, path=CALLBACK, httponly=True, samesite="lax",
        secure=secure,
    )  # fmt: skip


def carried_by(scope: Scope) -> str:
    """The page that a browser brought along."""
    return own_page(unquote(Request(scope).cookies.get(COOKIE, "")))


def led_on(send: Send, page: str) -> Send:
    """Passes an answer on; one that leads to the first page leads to this one instead."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            headers = MutableHeaders(scope=message)
            if headers.get("location") == HOME:
                headers["location"] = page
                headers.append("set-cookie", f"{COOKIE}=; Max-Age=0; Path={CALLBACK}; HttpOnly; SameSite=lax")
        await send(message)

    return sending
