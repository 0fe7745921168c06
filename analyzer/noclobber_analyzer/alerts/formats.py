"""How a message is dressed for who takes it: bytes and their type, the same at every attempt.

`standard` is the contract's own; the others carry the same issue in the shape that somebody's receiver already reads.
What differs between attempts (time stamp, signature) is a header's matter and the sender's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from noclobber_analyzer.alerts.chats import discord, slack, teams
from noclobber_analyzer.alerts.mail import letter
from noclobber_analyzer.alerts.pagers import alertmanager, cloudevent, log_record, pagerduty, rfc3339
from noclobber_analyzer.alerts.routes import Format, Route
from noclobber_analyzer.alerts.words import words_of

__all__ = ["Told", "content_type", "dressed"]

_JSON = "application/json"
_TYPES: Mapping[Format, str] = {
    Format.CLOUDEVENTS: "application/cloudevents+json; charset=utf-8",
    Format.OTLP: "application/x-protobuf",
    Format.EMAIL: "message/rfc822",
    Format.APPRISE: "text/plain; charset=utf-8",
}
"""By format; all others are JSON."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is told: the message's id, the transition's kind and time, and the issue."""

    id: str
    kind: str
    at_ns: int
    data: Mapping[str, object]


def content_type(style: Format) -> str:
    """What a body of a format is, as HTTP names it."""
    return _TYPES.get(style, _JSON)


def dressed(route: Route, told: Told) -> bytes:
    """The body for a route, in its format."""
    made = _DRESSES[route.format](route, told)
    return made if isinstance(made, bytes) else msgspec.json.encode(made)


def _standard(_route: Route, told: Told) -> object:
    return {"type": told.kind, "timestamp": rfc3339(told.at_ns), "data": told.data}


def _alertmanager(route: Route, told: Told) -> object:
    return alertmanager(words_of(told.kind, told.data), route.name, told.at_ns, told.data)


def _pagerduty(route: Route, told: Told) -> object:
    return pagerduty(words_of(told.kind, told.data), route.routing_key, told.at_ns)


def _cloudevents(_route: Route, told: Told) -> object:
    return cloudevent(told.id, told.kind, told.at_ns, told.data)


def _otlp(_route: Route, told: Told) -> object:
    return log_record(words_of(told.kind, told.data), told.id, told.at_ns)


def _email(route: Route, told: Told) -> object:
    return letter(words_of(told.kind, told.data), told.id, told.at_ns, route.sender, route.to)


def _apprise(_route: Route, told: Told) -> object:
    words = words_of(told.kind, told.data)
    facts = "\n".join(f"{name}: {text}" for name, text in words.facts)
    return "\n\n".join(filter(None, (words.heading, words.sentence, words.advice, facts, words.link))).encode()


_DRESSES: Mapping[Format, Callable[[Route, Told], object]] = {
    Format.STANDARD: _standard,
    Format.ALERTMANAGER: _alertmanager,
    Format.PAGERDUTY: _pagerduty,
    Format.SLACK: lambda _route, told: slack(words_of(told.kind, told.data)),
    Format.DISCORD: lambda _route, told: discord(words_of(told.kind, told.data)),
    Format.TEAMS: lambda _route, told: teams(words_of(told.kind, told.data)),
    Format.CLOUDEVENTS: _cloudevents,
    Format.OTLP: _otlp,
    Format.EMAIL: _email,
    Format.APPRISE: _apprise,
}
