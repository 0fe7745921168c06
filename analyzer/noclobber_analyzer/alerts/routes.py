"""Who wants to be told what: routes, each one endpoint with its secrets and its matchers.

Routes come from `[[alert]]` tables of the TOML file, from `--webhook` and its companions, and from
`NOCLOBBER_WEBHOOK` and `NOCLOBBER_WEBHOOK_SECRET`. A route's name is its identity in the log of deliveries, so it
outlives a changed URL or secret; without a name it is made from the URL's host and a hash, since the rest of a URL
may be a secret by itself. What a route does not say follows `noclobber check`: `likely` and better, no latent
findings, no `unknown_writer` and no `blind_overwrite` unless they are named.

This module decides who is told, not when (`schedule`) nor whether the address is allowed (`addresses`).
"""

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.alerts.signing import check_secret, new_secret

__all__ = ["Network", "Route", "RouteError", "route_from", "routes_from", "wants"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ONLY_WHEN_NAMED = frozenset({Kind.UNKNOWN_WRITER, Kind.BLIND_OVERWRITE})
ROUTES_MAX = 64
"""Endpoints, each with a thread of its own."""


class RouteError(ValueError):
    """A route that cannot be used; the message says which, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Attributes:
        name: its identity in the log.
        url: http or https. Not shown in the representation: it may hold a token.
        secrets: `whsec_...`, newest first; each signs.
        min_severity, min_certainty: least that is told.
        kinds: only these; empty: all but `unknown_writer` and `blind_overwrite`.
        resources, agents: shell patterns, one of which has to match; empty: any.
        latent: whether findings that luck prevented are told.
        allow: networks inside which an address may lie although it is not public.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    min_severity: Severity = Severity.LOW
    min_certainty: Certainty = Certainty.LIKELY
    kinds: frozenset[Kind] = frozenset()
    resources: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    latent: bool = False
    allow: tuple[Network, ...] = ()


def wants(route: Route, data: Mapping[str, object]) -> bool:
    """Whether a route is to be told of an issue.

    Args:
        route: the endpoint.
        data: the issue as in the transition's row (contract 3).
    """
    kind = data.get("kind")
    named = kind in route.kinds if route.kinds else kind not in ONLY_WHEN_NAMED
    return (
        named
        and _at_least(Severity, data.get("severity"), route.min_severity)
        and _at_least(Certainty, data.get("certainty"), route.min_certainty)
        and (route.latent or data.get("manifest") is not False)
        and _matches(route.resources, data.get("resources"))
        and _matches(route.agents, data.get("agents"))
    )


def _at_least(words: type[Severity] | type[Certainty], word: object, least: Severity | Certainty) -> bool:
    return word in {one.value for one in words} and words(word).rank >= least.rank


def _matches(patterns: Sequence[str], names: object) -> bool:
    if not patterns:
        return True
    words = [str(name) for name in names] if isinstance(names, list | tuple) else []
    return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)


def routes_from(
    tables: Sequence[Mapping[str, object]], environ: Mapping[str, str], urls: Sequence[str] = (),
    secrets: Sequence[str] = (), allow: Sequence[str] = (),
) -> tuple[Route, ...]:  # fmt: skip
    """All routes: of the TOML file, and those of flags or, without flags, of the environment.

    Args:
        tables: the file's `[[alert]]` tables.
        environ: the process's variables.
        urls: of `--webhook`.
        secrets: of `--webhook-secret`, for all of `urls`, newest first.
        allow: networks of `--webhook-allow`, for all of `urls`.

    Raises:
        RouteError: one of them cannot be used, or two have one name.
    """
    typed = list(urls) or [url for url in environ.get("NOCLOBBER_WEBHOOK", "").split() if url]
    keys = list(secrets) or environ.get("NOCLOBBER_WEBHOOK_SECRET", "").split()
    networks = list(allow) or environ.get("NOCLOBBER_WEBHOOK_ALLOW", "").split()
    routes = [route_from(table) for table in tables]
    routes += [route_from({"url": url, "secrets": keys, "allow": networks}) for url in typed]
    names = [route.name for route in routes]
    for name in names:
        if names.count(name) > 1:
            raise RouteError(f"two alert routes are called '{name}': give each its own `name`")
    if len(routes) > ROUTES_MAX:
        raise RouteError(f"{len(routes)} alert routes; at most {ROUTES_MAX} are possible")
    return tuple(routes)


KNOWN = frozenset(
    {"name", "url", "secret", "secrets", "min_severity", "min_certainty", "kinds", "resources", "agents", "latent",
     "allow", "format"}
)  # fmt: skip


def route_from(table: Mapping[str, object]) -> Route:
    """One route from a table of settings; see `Route` for what each word means.

    Raises:
        RouteError: a word is unknown, or what it says cannot be used.
    """
    url = _checked_url(table.get("url"))
    name = str(table.get("name") or _name_of(url))
    unknown = sorted(set(table) - KNOWN)
    if unknown:
        raise RouteError(f"alert route '{name}': unknown setting '{unknown[0]}'. Known: {', '.join(sorted(KNOWN))}")
    if table.get("format", "standard") != "standard":
        raise RouteError(f"alert route '{name}': the only format is 'standard'")
    try:
        return Route(
            name=name,
            url=url,
            secrets=_secrets(table),
            min_severity=Severity(str(table.get("min_severity", Severity.LOW))),
            min_certainty=Certainty(str(table.get("min_certainty", Certainty.LIKELY))),
            kinds=frozenset(Kind(word) for word in _words(table.get("kinds"))),
            resources=_words(table.get("resources")),
            agents=_words(table.get("agents")),
            latent=table.get("latent", False) is True,
            allow=tuple(ipaddress.ip_network(word) for word in _words(table.get("allow"))),
        )
    except ValueError as error:
        raise RouteError(f"alert route '{name}': {error}") from error


def _secrets(table: Mapping[str, object]) -> tuple[str, ...]:
    secrets = _words(table.get("secrets")) or _words(table.get("secret"))
    if not secrets:
        raise ValueError(f"it needs a secret to sign with; here is a fresh one: {new_secret()}")
    return tuple(check_secret(secret) for secret in secrets)


def _checked_url(url: object) -> str:
    if not isinstance(url, str) or not url:
        raise RouteError("an alert route needs a `url`")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RouteError(f"an alert route's url cannot be read: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise RouteError("an alert route's url is http:// or https:// with a host")
    if parts.username or parts.password:
        raise RouteError("an alert route's url holds no user and password: the signature proves who sends")
    return url


def _name_of(url: str) -> str:
    digest = hashlib.blake2b(url.encode(), digest_size=4).hexdigest()
    return f"{urlsplit(url).hostname}-{digest}"


def _words(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(str(word) for word in value)
    raise ValueError(f"expected text or a list of texts, not {type(value).__name__}")
