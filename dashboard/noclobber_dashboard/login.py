"""How people prove who they are: an OpenID Connect provider, or a reverse proxy that has asked already.

Both are settings of the file's `[login]` table. Names (an e-mail address, or what the proxy says) are compared with
the patterns of operators and readers; who fits neither is refused, so a provider that knows half the world lets in
only whom the owner named. The OIDC flow itself is Streamlit's own (the routes behind `st.login`, by Authlib).
"""

import ipaddress
import secrets as randomness
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber_dashboard.identity import OPERATOR, READER, Scope

__all__ = ["CALLBACK", "Login", "LoginError", "Oidc", "Proxy", "login_from"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_OIDC: Final = frozenset({"client_id", "client_secret", "server_metadata_url", "redirect_uri", "cookie_secret"})
CALLBACK: Final = "/oauth2callback"


class LoginError(ValueError):
    """A `[login]` table that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Oidc:
    """One provider, as Streamlit's `[auth]` has it. What is secret is not shown in the representation.

    Attributes:
        claim: by which people are named; empty: their e-mail address if the provider has verified it, else `sub`.
    """

    client_id: str
    client_secret: str = field(repr=False)
    server_metadata_url: str
    redirect_uri: str
    cookie_secret: str = field(repr=False)
    claim: str = ""

    def name_of(self, user: Mapping[str, Any]) -> str:
        """Who somebody is by the provider's claims; empty: nobody.

        Many a provider lets people choose their address or `preferred_username` themselves, and whoever chooses an
        operator's would be one: unless the owner names such a claim, only what is verified or fixed counts.
        """
        verified = user.get("email_verified")
        if self.claim:
            return "" if self.claim == "email" and verified is False else str(user.get(self.claim) or "")
        return str((user.get("email") if verified is True else "") or user.get("sub") or "")

    @property
    def is_secure(self) -> bool:
        """Whether people come back over TLS."""
        return self.redirect_uri.startswith("https://")

    def for_streamlit(self) -> dict[str, str]:
        """The section `auth` of its secrets."""
        return {name: getattr(self, name) for name in sorted(_OIDC)}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A reverse proxy that puts the name of whom it let in into a header.

    Attributes:
        header: lower case. trusted: only from these addresses is it believed.
    """

    header: str
    trusted: tuple[Network, ...]

    def trusts(self, address: str) -> bool:
        """Whether an address is one of the proxy's."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped.version == network.version and mapped in network for network in self.trusted)


@dataclass(frozen=True, slots=True)
class Login:
    """Who may come in, and how; patterns are shell patterns, lower case."""

    operators: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    oidc: Oidc | None = None
    proxy: Proxy | None = None

    def scopes_of(self, name: str) -> frozenset[Scope]:
        """What somebody of this name may do; empty: nothing."""
        plain = name.lower()
        if any(fnmatchcase(plain, pattern) for pattern in self.operators):
            return OPERATOR
        return READER if any(fnmatchcase(plain, pattern) for pattern in self.readers) else frozenset()


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def login_from(table: Mapping[str, Any] | None, environ: Mapping[str, str]) -> Login | None:
    """The `[login]` table of the TOML file; None: there is none.

    Args:
        table: as read.
        environ: `NOCLOBBER_OIDC_CLIENT_SECRET` and `NOCLOBBER_COOKIE_SECRET` keep secrets out of the file.

    Raises:
        LoginError: it cannot be used.
    """
    if table is None:
        return None
    _known(table, frozenset({"operators", "readers", "oidc", "proxy"}), "[login]")
    login = Login(
        _patterns(table.get("operators", [])),
        _patterns(table.get("readers", [])),
        _oidc(table["oidc"], environ) if "oidc" in table else None,
        _proxy(table["proxy"]) if "proxy" in table else None,
    )
    if login.oidc is None and login.proxy is None:
        raise LoginError("[login] needs [login.oidc] or [login.proxy]: it says how people prove who they are")
    if not login.operators and not login.readers:
        raise LoginError('[login] needs `operators` or `readers`, such as ["*@example.com"]: else nobody may come in')
    return login


def _known(table: Mapping[str, Any], names: frozenset[str], where: str) -> None:
    unknown = sorted(set(table) - names)
    if unknown:
        raise LoginError(f"{where}: unknown setting '{unknown[0]}'. Known: {', '.join(sorted(names))}")


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise LoginError('[login]: `operators` and `readers` are lists of patterns, such as ["*@example.com"]')
    return tuple(each.lower() for each in value)


def _oidc(table: Mapping[str, Any], environ: Mapping[str, str]) -> Oidc:
    _known(table, _OIDC | {"claim"}, "[login.oidc]")
    words = {name: str(table.get(name) or "") for name in _OIDC}
    words["client_secret"] = words["client_secret"] or environ.get("NOCLOBBER_OIDC_CLIENT_SECRET", "")
    words["cookie_secret"] = (
        words["cookie_secret"] or environ.get("NOCLOBBER_COOKIE_SECRET", "") or randomness.token_urlsafe(32)
    )
    missing = sorted(name for name, text in words.items() if not text)
    if missing:
        raise LoginError(f"[login.oidc] needs `{missing[0]}`")
    if urlsplit(words["redirect_uri"]).path != CALLBACK:
        raise LoginError(f"[login.oidc]: `redirect_uri` is the dashboard's own address with {CALLBACK} behind it")
    return Oidc(**words, claim=str(table.get("claim") or ""))


def _proxy(table: Mapping[str, Any]) -> Proxy:
    _known(table, frozenset({"header", "trusted"}), "[login.proxy]")
    header, trusted = str(table.get("header") or "").strip().lower(), table.get("trusted")
    if not header or not all(letter.isalnum() or letter == "-" for letter in header):
        raise LoginError("[login.proxy] needs the `header` in which the proxy puts a name, such as X-Forwarded-User")
    if not isinstance(trusted, list) or not trusted:
        raise LoginError("[login.proxy] needs `trusted`: the addresses of the proxy, since anybody can send a header")
    try:
        return Proxy(header, tuple(ipaddress.ip_network(str(each)) for each in trusted))
    except ValueError as error:
        raise LoginError(f"[login.proxy]: {error}") from error
