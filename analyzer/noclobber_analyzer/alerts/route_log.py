"""What the log of transitions says about routes: rows whose `issue` is an endpoint's name.

The sender writes which routes it has (`route.added`, `route.changed`, `route.removed`), a person what is to be done
with one: `route.enabled` after a 410, `route.resend` for a dead letter, `route.test` for a sample. So whoever reads the
log, in whatever process, knows the routes and can ask for these things, and each has a name and a time. What is told of
a route (`facts_of`) holds no secret: of its URL only the scheme and, where that is no token, the host.
"""

from dataclasses import replace
from hashlib import blake2b
from urllib.parse import urlsplit

import msgspec

from noclobber_analyzer.alerts.message import message_id
from noclobber_analyzer.alerts.routes import Format, Route
from noclobber_analyzer.issues import Transition

__all__ = [
    "ADDED", "CHANGED", "ENABLED", "REMOVED", "RESEND", "SAMPLE", "TEST", "enable_row", "facts_of", "news",
    "resend_row", "sample_row",
]  # fmt: skip

ADDED, CHANGED, REMOVED = "route.added", "route.changed", "route.removed"
ENABLED, RESEND, TEST = "route.enabled", "route.resend", "route.test"
SAMPLE: dict[str, object] = {
    "issue": "sample",
    "kind": "lost_update",
    "title": "lost update on redis://example:6379/0/account:* (deposit-agent, withdraw-agent)",
    "state": "new",
    "severity": "low",
    "certainty": "certain",
    "manifest": True,
    "count": 1,
    "resources": ["redis://example:6379/0/account:42"],
    "agents": ["deposit-agent", "withdraw-agent"],
    "url": "",
    "newest": {"explanation": "This is a sample: somebody pressed the test button. Nothing was lost."},
    "sample": True,
}
"""What a test sends."""


def facts_of(route: Route) -> dict[str, object]:
    """A route as it may be shown."""
    parts = urlsplit(route.url)
    return {
        "format": str(route.format),
        "where": f"{parts.scheme}://" if route.format is Format.APPRISE else f"{parts.scheme}://{parts.hostname}",
        "to": list(route.to),
        "signed": bool(route.secrets),
        "min_severity": str(route.min_severity),
        "min_certainty": str(route.min_certainty),
        "kinds": sorted(route.kinds),
        "resources": list(route.resources),
        "agents": list(route.agents),
        **({"services": list(route.services)} if route.services else {}),
        "latent": route.latent,
        "allow": [str(network) for network in route.allow],
        "group_wait_s": route.group_wait_s,
        "group_interval_s": route.group_interval_s,
        "repeat_s": route.repeat_s,
    }


def news(rows: list[Transition], routes: list[Route], now_ns: int) -> list[Transition]:
    """What the log does not say yet of the routes in use.

    Args:
        rows: the log's rows about routes, in order.
        routes: those in use.
        now_ns: wall time.
    """
    known = {row.issue: row for row in rows if row.kind in (ADDED, REMOVED)}
    told = {row.issue: row for row in rows if row.kind in (ADDED, CHANGED)}
    made = []
    for route in routes:
        facts = msgspec.json.encode(facts_of(route), order="sorted").decode()
        if route.name not in known or known[route.name].kind == REMOVED:
            made.append(replace(_row(ADDED, route.name, now_ns, _id(known.get(route.name))), body=facts))
        elif told[route.name].body != facts:
            made.append(replace(_row(CHANGED, route.name, now_ns, f"{_id(told[route.name])}\0{facts}"), body=facts))
    used = {route.name for route in routes}
    gone = [name for name, row in known.items() if row.kind == ADDED and name not in used]
    return made + [_row(REMOVED, name, now_ns, _id(known[name])) for name in gone]


def enable_row(endpoint: str, actor: str, now_ns: int) -> Transition:
    """The row by which a person enables an endpoint again that had answered 410."""
    return _row(ENABLED, endpoint, now_ns, str(now_ns), actor)


def sample_row(endpoint: str, actor: str, now_ns: int) -> Transition:
    """The row by which a person has a sample sent to an endpoint."""
    return _row(TEST, endpoint, now_ns, str(now_ns), actor)


def resend_row(endpoint: str, transition: str, actor: str, now_ns: int) -> Transition:
    """The row by which a person sends a dead letter again; one that has arrived is never sent again."""
    row = _row(RESEND, endpoint, now_ns, f"{transition}\0{now_ns}", actor)
    body = msgspec.json.encode({"transition": transition}).decode()
    return replace(row, finding=message_id(transition, endpoint), body=body)


def _row(kind: str, endpoint: str, now_ns: int, cause: str, actor: str = "sender") -> Transition:
    row_id = blake2b(f"{endpoint}\0{kind}\0{cause}".encode(), digest_size=16).hexdigest()
    return Transition(row_id, endpoint, now_ns, kind, "", "", actor, "", "")


def _id(row: Transition | None) -> str:
    return "" if row is None else row.id
