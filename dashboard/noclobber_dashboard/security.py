"""Who may ask, and what a browser may do with the answer.

Four checks stand in front of every page, API route and WebSocket, in one ASGI middleware: the `Host` must be one
that the dashboard is known by (a rebound DNS name is refused), a foreign page may neither open the socket nor post
to the store (`Origin`, `Sec-Fetch-Site`), the token must be shown where one is set, and every answer carries
headers that keep the page from loading, sending or being framed anywhere else.

A browser cannot put a bearer token on a page load, so there is a sign-in form. It takes the token in the body of
a POST and answers with a cookie that holds a keyed hash of it: the token itself is in no address, cookie or log.

Sources: OWASP cheat sheets on CSRF and on DNS rebinding; W3C Content Security Policy 3; W3C Fetch Metadata.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noclobber_dashboard.settings import DashboardSettings

__all__ = ["SECURITY_HEADERS", "Gate"]

COOKIE: Final = "noclobber_session"
SIGN_IN: Final = "/sign-in"
PROBES: Final = frozenset({"/live", "/ready"})
"""They tell nothing but that, and orchestrators ask them under an address of their own, without a token."""
FORM_BYTES_MAX: Final = 8_192

SECURITY_HEADERS: Final = {
    # blob: and eval: components v2 load their script as a blob, graphviz is compiled WebAssembly
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss: data: blob:; "
        "style-src 'self' 'unsafe-inline'; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
        "frame-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; "
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob: data:"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_FORM: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>noclobber: sign in</title>
<style>:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{display:grid;place-items:center;
min-height:90vh;margin:0}form{display:grid;gap:.75rem;width:min(22rem,88vw)}h1{font-size:1.25rem;margin:0}
p{margin:0;opacity:.75}input,button{font:inherit;padding:.55rem .7rem}</style></head><body>
<form method="post" action="/sign-in"><h1>noclobber</h1><p>__NOTE__</p>
<input name="token" type="password" autocomplete="current-password" aria-label="Token" autofocus required>
<button>Sign in</button></form></body></html>"""


# a form on a page without any referrer is posted with `Origin: null`, which is what a foreign page would send too
_FORM_HEADERS: Final = {"referrer-policy": "same-origin"}


class Gate:
    """ASGI middleware: host, origin and token checks in front, security headers behind.

    Args:
        app: what is guarded.
        settings: host names and token.
    """

    def __init__(self, app: ASGIApp, settings: DashboardSettings) -> None:
        self._app = app
        self._hosts = frozenset(settings.hosts)
        self._token = settings.token.encode() if settings.token else None
        self._secure_proof = self._proof() if self._token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; answer the rest here (WebSockets: close 1008 before they open)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope, receive)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, _with_headers(send))
        else:
            await receive()  # the connect event
            await send({"type": "websocket.close", "code": 1008})

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        """What to answer instead of passing on; None where all checks hold."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in PROBES:
            return None
        headers = Headers(scope=scope)
        if _host(headers.get("host", "")) not in self._hosts:
            return _refuse(
                400, "This Host is not one that the dashboard is served under; name it with --allowed-host.", scope
            )
        if not self._comes_from_here(headers, scope):
            return _refuse(403, "Requests from other sites are refused.", scope)
        if self._token is None:
            return None
        if scope["type"] == "http" and scope["path"] == SIGN_IN:
            return await self._sign_in(Request(scope, receive))
        return None if self._shows_token(headers) else _ask(scope, headers)

    def _comes_from_here(self, headers: Headers, scope: Scope) -> bool:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return False
        if headers.get("sec-fetch-site") != "cross-site":
            return True
        # a link from elsewhere may open a page; it may not read the API, post, or open the socket
        return scope["type"] == "http" and scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"

    def _shows_token(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode(), self._token)
        cookie = _cookie(headers.get("cookie", ""))
        return cookie is not None and hmac.compare_digest(cookie.encode(), self._secure_proof.encode())

    def _proof(self) -> str:
        assert self._token is not None
        return hmac.new(self._token, b"noclobber dashboard session", hashlib.sha256).hexdigest()

    async def _sign_in(self, request: Request) -> Response:
        assert self._token is not None
        if request.method != "POST":
            return _form("This dashboard asks for its token.", 200)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES_MAX:
                return _form("That is too long for a token.", 413)
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self._token):
            return _form("That is not the token. It was given with --token or NOCLOBBER_TOKEN.", 401)
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            COOKIE, self._secure_proof, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                if name not in headers or name not in _FORM_HEADERS:
                    headers[name] = value
        await send(message)

    return sending


def _host(value: str) -> str:
    """The name in a Host header, lower case, without port and brackets; empty where it is malformed."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def _cookie(header: str) -> str | None:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _refuse(status: int, message: str, scope: Scope) -> Response:
    if scope.get("path", "").startswith("/api/"):
        return JSONResponse({"error": message}, status_code=status)
    return Response(message + "\n", status_code=status, media_type="text/plain")


def _ask(scope: Scope, headers: Headers) -> Response:
    if scope["type"] == "http" and not scope["path"].startswith("/api/") and "text/html" in headers.get("accept", ""):
        return _form("This dashboard asks for its token.", 401)
    message = "A token is needed: send `Authorization: Bearer TOKEN`."
    return JSONResponse({"error": message}, status_code=401, headers={"www-authenticate": "Bearer"})


def _form(note: str, status: int) -> Response:
    return HTMLResponse(_FORM.replace("__NOTE__", note), status_code=status, headers=_FORM_HEADERS)
