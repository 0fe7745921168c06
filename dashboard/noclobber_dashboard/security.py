"""Who may ask, and what a browser may do with the answer.

Four checks stand in front of every page, API route and WebSocket, in one ASGI middleware: the `Host` must be one
that the dashboard is known by (a rebound DNS name is refused), a foreign page may neither open the socket nor post
to the store (`Origin`, `Sec-Fetch-Site`), the token must be shown where one is set, and every answer carries
headers that keep the page from loading, sending or being framed anywhere else.

A browser cannot put a bearer token on a page load, so there is a sign-in form. It takes the token in the body of
a POST and answers with a cookie that holds a keyed hash of it: the token itself is in no address, cookie or log.
A link from elsewhere, such as an alert's, opens a page signed in: the cookie is SameSite=Lax, and nothing that such a
link can ask for changes anything. Who has to sign in first goes on to the page that they asked for (`destinations`).
Where OpenID Connect is set up the form has a button for it; only the three paths of that flow are open to strangers,
no page and no WebSocket. Who asks is said by `callers`; what it takes to do something is decided here, in one place:
the raw store needs the scope `store`, whatever changes something `operate`, all else `read`.

Sources: OWASP cheat sheets on CSRF and on DNS rebinding; W3C Content Security Policy 3; W3C Fetch Metadata.
"""

from html import escape
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from noclobber_dashboard.callers import COOKIE, Callers, KnownTokens, origin_of
from noclobber_dashboard.destinations import HOME, asked_for, carried_by, carry, led_on, own_page
from noclobber_dashboard.identity import HEADER, KEY, Identity, Scope
from noclobber_dashboard.journal import Journal
from noclobber_dashboard.login import CALLBACK
from noclobber_dashboard.settings import DashboardSettings

__all__ = ["SECURITY_HEADERS", "Gate"]

SIGN_IN: Final = "/sign-in"
OIDC_START: Final = "/sign-in/oidc"
STORE_PATH: Final = "/api/v1/store"
LOG_OUT: Final = "/auth/logout"
OIDC_PATHS: Final = frozenset({"/auth/login", LOG_OUT, CALLBACK})
PROBES: Final = frozenset({"/live", "/ready"})
"""They tell nothing but that, and orchestrators ask them under an address of their own, without a token."""
ASKS: Final = "This dashboard asks for its token."
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
<input name="next" type="hidden" value="__NEXT__">
<input name="token" type="password" autocomplete="current-password" aria-label="Token" autofocus required>
<button>Sign in</button>__OIDC__</form></body></html>"""
_OIDC_LINK: Final = '<a href="/sign-in/oidc?next=__NEXT__">Sign in with OpenID Connect</a>'


# a form on a page without any referrer is posted with `Origin: null`, which is what a foreign page would send too
_FORM_HEADERS: Final = {"referrer-policy": "same-origin"}


class Gate:
    """ASGI middleware: host, origin and token checks in front, security headers behind.

    Args:
        app: what is guarded.
        settings: host names, token, login.
        tokens: API tokens; None: there are none.
        journal: where it is noted who came in; None: nowhere.
    """

    def __init__(
        self, app: ASGIApp, settings: DashboardSettings, tokens: KnownTokens | None = None,
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._app = app
        self._hosts = frozenset(settings.hosts)
        self._login = settings.login
        self._has_oidc = settings.login is not None and settings.login.oidc is not None
        self._callers = Callers(settings, tokens)
        self._journal = journal

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; answer the rest here (WebSockets: close 1008 before they open)."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        found = await self._judged(scope, receive)
        if isinstance(found, Identity):
            answering = _with_headers(send)
            if self._has_oidc and scope["path"] == CALLBACK:
                answering = led_on(answering, carried_by(scope))
            await self._app(_told(scope, found), receive, answering)
        elif scope["type"] == "http":
            await found(scope, receive, _with_headers(send))
        else:
            await receive()  # the connect event
            await send({"type": "websocket.close", "code": 1008})

    async def _judged(self, scope: AsgiScope, receive: Receive) -> Identity | Response:
        """Who asks, where that may be done; else what to answer instead."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in PROBES:
            return NOBODY
        headers = Headers(scope=scope)
        if _host(headers.get("host", "")) not in self._hosts:
            return _refuse(
                400, "This Host is not one that the dashboard is served under; name it with --allowed-host.", scope
            )
        if not self._comes_from_here(headers, scope):
            return _refuse(403, "Requests from other sites are refused.", scope)
        if scope["type"] == "http" and self._callers.is_asked and scope["path"] == SIGN_IN:
            return await self._sign_in(Request(scope, receive))
        if self._has_oidc and scope["type"] == "http" and scope["method"] == "GET":
            if scope["path"] in OIDC_PATHS:
                return NOBODY
            if scope["path"] == OIDC_START:
                return self._to_provider(Request(scope))
        return await self._permitted(scope, headers)

    async def _permitted(self, scope: AsgiScope, headers: Headers) -> Identity | Response:
        identity = await self._callers.identify(scope, headers)
        if identity is None:
            await self._note_refusal(scope, headers)
            return self._ask(scope, headers)
        await self._note(identity)
        needed = _needed(scope)
        if not identity.may(needed):
            return _refuse(403, f"{identity.name or 'You'} may not do this: it needs the scope `{needed}`.", scope)
        return identity

    async def _note(self, identity: Identity) -> None:
        if self._journal is not None:
            await anyio.to_thread.run_sync(self._journal.came, identity)

    async def _note_refusal(self, scope: AsgiScope, headers: Headers) -> None:
        shown = headers.get("authorization") or COOKIE in headers.get("cookie", "")
        if self._journal is not None and shown:  # whoever shows nothing has only not signed in yet
            await anyio.to_thread.run_sync(self._journal.refused, self._origin(scope, headers), scope["path"])

    def _origin(self, scope: AsgiScope, headers: Headers) -> str:
        return origin_of(scope, headers, self._login)

    def _comes_from_here(self, headers: Headers, scope: AsgiScope) -> bool:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return False
        if headers.get("sec-fetch-site") != "cross-site":
            return True
        # a link from elsewhere may open a page; it may not reach the store, sign out, post, or open the socket
        is_link = scope["type"] == "http" and scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        return is_link and scope["path"] != LOG_OUT and not scope["path"].startswith(STORE_PATH)

    async def _sign_in(self, request: Request) -> Response:
        if request.method != "POST":
            return self._form(ASKS, 200, HOME)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_BYTES_MAX:
                return self._form("That is too long for a token.", 413, HOME)
        fields = parse_qs(body.decode("utf-8", "replace"))
        given, page = fields.get("token", [""])[0], own_page(fields.get("next", [HOME])[0])
        origin = self._origin(request.scope, request.headers)
        identity = await self._callers.shows(given, origin)
        if identity is None:
            if self._journal is not None:
                await anyio.to_thread.run_sync(self._journal.refused, origin, SIGN_IN)
            return self._form("That is not the token. It was given with --token or NOCLOBBER_TOKEN.", 401, page)
        await self._note(identity)
        answer = RedirectResponse(page, status_code=303)
        # behind a proxy that ends TLS only the browser knows that the page came over it
        is_secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
        proof = await self._callers.cookie_for(given)
        answer.set_cookie(COOKIE, proof, httponly=True, samesite="lax", secure=is_secure)
        return answer

    def _form(self, note: str, status: int, page: str) -> Response:
        link = _OIDC_LINK.replace("__NEXT__", quote(page, safe="")) if self._has_oidc else ""
        text = _FORM.replace("__NOTE__", note).replace("__OIDC__", link).replace("__NEXT__", escape(page))
        return HTMLResponse(text, status_code=status, headers=_FORM_HEADERS)

    def _to_provider(self, request: Request) -> Response:
        """On to Streamlit's own login route, with what `st.login` would give it."""
        from streamlit.auth_util import encode_provider_token

        answer = RedirectResponse(f"/auth/login?provider={encode_provider_token('default')}", status_code=303)
        is_secure = self._login is not None and self._login.oidc is not None and self._login.oidc.is_secure
        carry(answer, own_page(request.query_params.get("next", HOME)), secure=is_secure)
        return answer

    def _ask(self, scope: AsgiScope, headers: Headers) -> Response:
        is_page = scope["type"] == "http" and not scope["path"].startswith("/api/")
        if is_page and "text/html" in headers.get("accept", ""):
            return self._form(ASKS, 401, asked_for(scope))
        message = "A token is needed: send `Authorization: Bearer TOKEN`."
        return JSONResponse({"error": message}, status_code=401, headers={"www-authenticate": "Bearer"})


NOBODY: Final = Identity("", frozenset(), "none")


def _needed(scope: AsgiScope) -> Scope:
    if scope["path"].startswith(STORE_PATH):
        return Scope.STORE
    reads = scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD", "OPTIONS")
    return Scope.READ if reads or not scope["path"].startswith("/api/") else Scope.OPERATE


def _told(scope: AsgiScope, identity: Identity) -> AsgiScope:
    """The scope with who asks in it; what somebody outside put there is gone."""
    name = HEADER.encode()
    headers = [(key, value) for key, value in scope["headers"] if key.lower() != name]
    return {**scope, KEY: identity, "headers": [*headers, (name, identity.to_header().encode())]}


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


def _refuse(status: int, message: str, scope: AsgiScope) -> Response:
    if scope.get("path", "").startswith("/api/"):
        return JSONResponse({"error": message}, status_code=status)
    return Response(message + "\n", status_code=status, media_type="text/plain")
