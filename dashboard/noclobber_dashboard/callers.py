"""Who asks: by the sidecar's token, an API token, the session of either, a trusted proxy's header, or OpenID Connect.

Each way is believed only as far as it can be checked. A proxy's header counts from the proxy's own addresses and is
nothing from elsewhere. A session cookie holds a keyed hash, never a token; that of an API token ends when the token
is revoked. Streamlit's cookie after an OpenID Connect login is signed by it, and read with its own functions.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from noclobber_dashboard.identity import ALL, EVERYBODY, Identity
from noclobber_dashboard.login import Login, is_address
from noclobber_dashboard.settings import DashboardSettings
from noclobber_dashboard.tokens import Token

__all__ = ["COOKIE", "Callers", "KnownTokens", "origin_of"]

COOKIE: Final = "noclobber_session"
_SESSION: Final = b"noclobber dashboard session"
MASTER: Final = "token"
"""Name of whoever shows the sidecar's own token, which says nothing of who it is."""


class KnownTokens(Protocol):
    """API tokens (`tokens.Tokens`)."""

    def shown(self, text: str) -> Token | None:
        """The token whose text somebody shows."""
        ...

    def valid(self, token_id: str) -> Token | None:
        """The token of an id, if it is taken."""
        ...


class Callers:
    """Says who asks.

    Args:
        settings: token, login.
        tokens: API tokens; None: there are none.
    """

    def __init__(self, settings: DashboardSettings, tokens: KnownTokens | None = None) -> None:
        self._token = settings.token.encode() if settings.token else None
        self._login = settings.login or Login()
        self._tokens = tokens
        self.is_asked = self._token is not None or settings.login is not None

    async def identify(self, scope: AsgiScope, headers: Headers) -> Identity | None:
        """Who asks; None: nobody who may."""
        origin = origin_of(scope, headers, self._login)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self.shows(given.strip(), origin)
        found = self._by_proxy(scope, headers, origin) or self._by_oidc(headers, origin)
        found = found or await self._by_cookie(headers, origin)
        if found is None and not self.is_asked:
            return Identity(EVERYBODY.name, EVERYBODY.scopes, EVERYBODY.way, origin)
        return found

    async def shows(self, text: str, origin: str) -> Identity | None:
        """Who shows this token; None: it is none."""
        if self._token is not None and hmac.compare_digest(text.encode(), self._token):
            return Identity(MASTER, ALL, "token", origin)
        if self._tokens is None or not text:
            return None
        token = await anyio.to_thread.run_sync(self._tokens.shown, text)
        return _of_token(token, origin) if token else None

    async def cookie_for(self, text: str) -> str:
        """What a session's cookie holds for a token that was shown: nothing of the token."""
        if self._token is not None and hmac.compare_digest(text.encode(), self._token):
            return _proof(self._token)
        token = await anyio.to_thread.run_sync(self._tokens.shown, text) if self._tokens else None
        assert token is not None, "only for a token that is taken"
        return f"{token.id}.{_proof(token.digest.encode())}"

    async def _by_cookie(self, headers: Headers, origin: str) -> Identity | None:
        cookie = _cookies(headers).get(COOKIE, "")
        if self._token is not None and cookie and hmac.compare_digest(cookie.encode(), _proof(self._token).encode()):
            return Identity(MASTER, ALL, "token", origin)
        token_id, dot, proof = cookie.partition(".")
        if not dot or self._tokens is None:
            return None
        token = await anyio.to_thread.run_sync(self._tokens.valid, token_id)
        if token is None or not hmac.compare_digest(proof.encode(), _proof(token.digest.encode()).encode()):
            return None
        return _of_token(token, origin)

    def _by_proxy(self, scope: AsgiScope, headers: Headers, origin: str) -> Identity | None:
        proxy = self._login.proxy
        if proxy is None or not proxy.trusts(_peer(scope)):
            return None
        names = headers.getlist(proxy.header)
        return self._named(names[0], "proxy", origin) if len(names) == 1 else None

    def _by_oidc(self, headers: Headers, origin: str) -> Identity | None:
        oidc = self._login.oidc
        if oidc is None:
            return None
        user = _oidc_user(_cookies(headers), oidc.redirect_uri)
        return self._named(oidc.name_of(user), "oidc", origin) if user.get("is_logged_in") is True else None

    def _named(self, name: str, way: str, origin: str) -> Identity | None:
        plain = name.strip()
        scopes = self._login.scopes_of(plain) if plain and len(plain) <= 200 and plain.isprintable() else frozenset()
        return Identity(plain, scopes, way, origin) if scopes else None


def _of_token(token: Token, origin: str) -> Identity:
    return Identity(token.name, token.scopes, "api token", origin)


def _proof(key: bytes) -> str:
    return hmac.new(key, _SESSION, hashlib.sha256).hexdigest()


def _peer(scope: AsgiScope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def origin_of(scope: AsgiScope, headers: Headers, login: Login | None) -> str:
    """From where: the peer's address; behind a trusted proxy, the last one that it does not trust itself."""
    peer = _peer(scope)
    if login is None or login.proxy is None or not login.proxy.trusts(peer):
        return peer
    hops = [hop.strip() for hop in ",".join(headers.getlist("x-forwarded-for")).split(",") if hop.strip()]
    outer = next((hop for hop in reversed(hops) if is_address(hop) and not login.proxy.trusts(hop)), "")
    return outer or peer


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _oidc_user(cookies: dict[str, str], redirect_uri: str) -> dict[str, Any]:
    """What Streamlit's signed cookie says; empty where there is none, or none of its own."""
    from streamlit.web.server.starlette import starlette_websocket as streamlit_cookies
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    if USER_COOKIE_NAME not in cookies:
        return {}
    parts = urlsplit(redirect_uri)
    try:
        signed = streamlit_cookies._get_signed_cookie_with_chunks(cookies, USER_COOKIE_NAME)
        own = f"{parts.scheme}://{parts.netloc}"
        return dict(streamlit_cookies._parse_decoded_user_cookie(signed, own)) if signed else {}
    except Exception:  # a cookie is anybody's text: whatever breaks in it, it is nobody's login
        return {}
