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

__all__ = ["CONTENT_TYPES", "Event", "dressed"]

_JSON = "application/json"
CONTENT_TYPES: Mapping[Format, str] = {
    Format.CLOUDEVENTS: "application/cloudevents+json; charset=utf-8",
    Format.OTLP: "application/x-protobuf",
    Format.EMAIL: "message/rfc822",
    Format.APPRISE: "text/plain; charset=utf-8",
}
"""By format; all others are `application/json`."""


@dataclass(frozen=True, slots=True)
class Event:
    """What is told: the message's id, the transition's kind and time, and the issue."""

    id: str
    kind: str
    at_ns: int
    data: Mapping[str, object]


def dressed(route: Route, event: Event) -> bytes:
    """The body for a route, in its format."""
    made = _DRESSES[route.format](route, event)
    return made if isinstance(made, bytes) else msgspec.json.encode(made)


def _standard(_route: Route, event: Event) -> object:
    return {"type": event.kind, "timestamp": rfc3339(event.at_ns), "data": event.data}


def _alertmanager(route: Route, event: Event) -> object:
    return alertmanager(words_of(event.kind, event.data), route.name, event.at_ns, event.data)


def _pagerduty(route: Route, event: Event) -> object:
    return pagerduty(words_of(event.kind, event.data), route.routing_key, event.at_ns)


def _cloudevents(_route: Route, event: Event) -> object:
    return cloudevent(event.id, event.kind, event.at_ns, event.data)


def _otlp(_route: Route, event: Event) -> object:
    return log_record(words_of(event.kind, event.data), event.id, event.at_ns)


def _email(route: Route, event: Event) -> object:
    return letter(words_of(event.kind, event.data), event.id, event.at_ns, route.sender, route.to)


def _apprise(_route: Route, event: Event) -> object:
    words = words_of(event.kind, event.data)
    facts = "\n".join(f"{name}: {text}" for name, text in words.facts)
    return "\n\n".join(filter(None, (words.heading, words.sentence, words.advice, facts, words.link))).encode()


_DRESSES: Mapping[Format, Callable[[Route, Event], object]] = {
    Format.STANDARD: _standard,
    Format.ALERTMANAGER: _alertmanager,
    Format.PAGERDUTY: _pagerduty,
    Format.SLACK: lambda _route, event: slack(words_of(event.kind, event.data)),
    Format.DISCORD: lambda _route, event: discord(words_of(event.kind, event.data)),
    Format.TEAMS: lambda _route, event: teams(words_of(event.kind, event.data)),
    Format.CLOUDEVENTS: _cloudevents,
    Format.OTLP: _otlp,
    Format.EMAIL: _email,
    Format.APPRISE: _apprise,
}
