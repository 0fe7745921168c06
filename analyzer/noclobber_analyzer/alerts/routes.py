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
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from noclobber.contract import Certainty, Kind, Severity
from noclobber_analyzer.alerts.signing import check_secret, new_secret
from noclobber_analyzer.issues import Policy

__all__ = ["Format", "Network", "Route", "RouteError", "route_from", "routes_from", "wants"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ONLY_WHEN_NAMED = frozenset({Kind.UNKNOWN_WRITER, Kind.BLIND_OVERWRITE})
ROUTES_MAX = 64
"""Endpoints, each with a thread of its own."""


class Format(StrEnum):
    """In what shape an endpoint takes messages (see `formats`)."""

    STANDARD = "standard"
    ALERTMANAGER = "alertmanager"
    PAGERDUTY = "pagerduty"
    SLACK = "slack"
    DISCORD = "discord"
    TEAMS = "teams"
    CLOUDEVENTS = "cloudevents"
    OTLP = "otlp"
    EMAIL = "email"
    APPRISE = "apprise"


SCHEMES: Mapping[Format, tuple[str, ...]] = {Format.EMAIL: ("smtp", "smtps")}
"""What an endpoint's URL begins with, where it is not http:// or https://; `apprise` has schemes of its own."""
UNSIGNED = frozenset({Format.OTLP, Format.EMAIL, Format.APPRISE})
"""Whose receivers have no headers of Standard Webhooks to look at, or no text to sign."""
GROUPING = Policy()
"""Waits of a route that names none."""
WAIT_MAX_S = 30 * 86_400.0
TOLD_OF_ACKNOWLEDGEMENTS = frozenset({Format.PAGERDUTY})
"""Formats whose receivers page one person after the other until somebody says that they look into it."""
PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"


class RouteError(ValueError):
    """A route that cannot be used; the message says which, why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint.

    Attributes:
        name: its identity in the log.
        url: http or https; a mail server's; apprise's. Not shown in the representation: it may hold a token.
        secrets: `whsec_...`, newest first; each signs. Only `standard` has to have one.
        format: the shape of its messages.
        min_severity, min_certainty: least that is told.
        kinds: only these; empty: all but `unknown_writer` and `blind_overwrite`.
        resources, agents: shell patterns, one of which has to match; empty: any.
        services: the same, of the services that the accesses came from.
        latent: whether findings that luck prevented are told.
        allow: networks inside which an address may lie although it is not public.
        group_wait_s: how long further findings of an open issue are gathered. An opening never waits.
        group_interval_s: least time between two tellings of one issue.
        repeat_s: an issue that nobody looks after is told again after this long; 0: never.
        headers: sent with each request besides ours, such as a token's.
        routing_key: PagerDuty's.
        sender, to, user, password: of mail; without a user nothing is logged in.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    min_severity: Severity = Severity.LOW
    min_certainty: Certainty = Certainty.LIKELY
    kinds: frozenset[Kind] = frozenset()
    resources: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    latent: bool = False
    allow: tuple[Network, ...] = ()
    format: Format = Format.STANDARD
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    routing_key: str = field(default="", repr=False)
    sender: str = ""
    to: tuple[str, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    group_wait_s: float = GROUPING.group_wait_s
    group_interval_s: float = GROUPING.group_interval_s
    repeat_s: float = GROUPING.repeat_s


def wants(route: Route, data: Mapping[str, object], services: Sequence[str] = ()) -> bool:
    """Whether a route is to be told of an issue.

    Args:
        route: the endpoint.
        data: the issue as in the transition's row (contract 3).
        services: those that had part in it. Empty: not known; a message too many is better than one too few.
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
        and (not services or _matches(route.services, services))
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
    {"name", "url", "secret", "secrets", "min_severity", "min_certainty", "kinds", "resources", "agents",
     "services", "latent", "allow", "format", "headers", "group_wait", "group_interval", "repeat"}
)  # fmt: skip
OF_FORMAT: Mapping[Format, frozenset[str]] = {
    Format.PAGERDUTY: frozenset({"routing_key"}),
    Format.EMAIL: frozenset({"from", "to", "user", "password"}),
}
"""Settings that only one format knows."""


def route_from(table: Mapping[str, object]) -> Route:
    """One route from a table of settings; see `Route` for what each word means.

    Raises:
        RouteError: a word is unknown, or what it says cannot be used.
    """
    style = _format(table.get("format", Format.STANDARD))
    url = _checked_url(table.get("url") or (PAGERDUTY_URL if style is Format.PAGERDUTY else None), style)
    name = str(table.get("name") or _name_of(url, style))
    known = KNOWN | OF_FORMAT.get(style, frozenset())
    unknown = sorted(set(table) - known)
    if unknown:
        raise RouteError(f"alert route '{name}': unknown setting '{unknown[0]}'. Known: {', '.join(sorted(known))}")
    try:
        return Route(
            name=name,
            url=url,
            secrets=_secrets(table, style),
            min_severity=Severity(str(table.get("min_severity", Severity.LOW))),
            min_certainty=Certainty(str(table.get("min_certainty", Certainty.LIKELY))),
            kinds=frozenset(Kind(word) for word in _words(table.get("kinds"))),
            resources=_words(table.get("resources")),
            agents=_words(table.get("agents")),
            services=_words(table.get("services")),
            latent=table.get("latent", False) is True,
            allow=tuple(ipaddress.ip_network(word) for word in _words(table.get("allow"))),
            format=style,
            headers=_headers(table.get("headers")),
            routing_key=_routing_key(table, style),
            sender=_mailbox(table.get("from")) if style is Format.EMAIL else "",
            to=tuple(map(_mailbox, _words(table.get("to")) or ("",))) if style is Format.EMAIL else (),
            user=str(table.get("user") or ""),
            password=str(table.get("password") or ""),
            group_wait_s=_seconds(table, "group_wait", GROUPING.group_wait_s, 0.0),
            group_interval_s=_seconds(table, "group_interval", GROUPING.group_interval_s, 1.0),
            repeat_s=_seconds(table, "repeat", GROUPING.repeat_s, 0.0),
        )
    except ValueError as error:
        raise RouteError(f"alert route '{name}': {error}") from error


def _format(word: object) -> Format:
    try:
        return Format(str(word))
    except ValueError as error:
        raise RouteError(f"an alert route's format is one of {', '.join(Format)}, not '{str(word)[:40]}'") from error


def _secrets(table: Mapping[str, object], style: Format) -> tuple[str, ...]:
    secrets = _words(table.get("secrets")) or _words(table.get("secret"))
    if not secrets and style is Format.STANDARD:
        raise ValueError(f"it needs a secret to sign with; here is a fresh one: {new_secret()}")
    if secrets and style in UNSIGNED:
        raise ValueError(f"messages of format '{style}' are not signed: leave the secret out")
    return tuple(check_secret(secret) for secret in secrets)


def _seconds(table: Mapping[str, object], name: str, default: float, least_s: float) -> float:
    """A length of time: a number of seconds, or text such as `30s`, `5m`, `4h`, `1d`."""
    value = table.get(name, default)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found and not isinstance(value, bool) else -1.0
    if not least_s <= seconds <= WAIT_MAX_S:
        raise ValueError(f'`{name}` is a time such as "30s", "5m" or "4h", {least_s:g} s to 30 days')
    return seconds


_UNITS_S: Mapping[str, float] = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    """Further headers; what httpcore would refuse at each attempt is refused here."""
    if value is None:
        return ()
    words = value.items() if isinstance(value, dict) else (("headers", "\n"),)
    for name, text in words:
        if not re.fullmatch(r"[A-Za-z0-9-]+", str(name)) or not re.fullmatch(r"[\x20-\x7e]*", str(text)):
            raise ValueError(f"the header '{str(name)[:40]}' cannot be sent: a name of letters, a text of one line")
    return tuple((str(name), str(text)) for name, text in words)


def _routing_key(table: Mapping[str, object], style: Format) -> str:
    key = str(table.get("routing_key") or "")
    if style is Format.PAGERDUTY and not key:
        raise ValueError("PagerDuty needs the `routing_key` of a service's integration")
    return key


def _mailbox(value: object) -> str:
    address = parseaddr(str(value or ""))[1]
    if "@" not in address or not str(value).isprintable():
        raise ValueError("e-mail needs `from` and `to`: an address, and a list of addresses")
    return str(value)


def _checked_url(url: object, style: Format) -> str:
    if not isinstance(url, str) or not url:
        raise RouteError("an alert route needs a `url`")
    try:
        parts = urlsplit(url)
        port = parts.port if style is not Format.APPRISE else None
    except ValueError as error:
        raise RouteError(f"an alert route's url cannot be read: {error}") from error
    if style is Format.APPRISE:  # its URLs hold tokens where others have hosts
        if not parts.scheme:
            raise RouteError("an apprise route's url is one of apprise's, such as tgram://token/chat")
        return url
    schemes = SCHEMES.get(style, ("http", "https"))
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise RouteError(f"an alert route's url is {' or '.join(f'{word}://' for word in schemes)} with a host")
    if parts.username or parts.password:
        raise RouteError("an alert route's url holds no user and password: the signature proves who sends")
    return url


def _name_of(url: str, style: Format) -> str:
    digest = hashlib.blake2b(url.encode(), digest_size=4).hexdigest()
    parts = urlsplit(url)
    return f"{parts.scheme if style is Format.APPRISE else parts.hostname}-{digest}"


def _words(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(str(word) for word in value)
    raise ValueError(f"expected text or a list of texts, not {type(value).__name__}")
