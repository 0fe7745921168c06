"""Who is told, and how a route is read from settings."""

import pytest
from told import DATA

from noclobber.contract import Certainty, Kind
from noclobber_analyzer.alerts.routes import RouteError, route_from, routes_from, wants
from noclobber_analyzer.alerts.signing import new_secret

SECRET = new_secret()
URL = "https://hooks.example.com/t0ken"


@pytest.mark.parametrize(
    ("words", "data", "told"),
    [
        ({}, {}, True),
        ({}, {"certainty": "possible"}, False),
        ({"min_certainty": "possible"}, {"certainty": "possible"}, True),
        ({}, {"kind": "unknown_writer"}, False),
        ({"kinds": ["unknown_writer"]}, {"kind": "unknown_writer"}, True),
        ({"kinds": ["fork"]}, {}, False),
        ({"min_severity": "critical"}, {}, False),
        ({}, {"manifest": False}, False),
        ({"latent": True}, {"manifest": False}, True),
        ({"resources": ["redis://*/acct:*"]}, {}, True),
        ({"resources": ["postgresql://*"]}, {}, False),
        ({"agents": ["with*"]}, {}, True),
        ({"agents": ["planner"]}, {}, False),
        ({}, {"certainty": "nonsense"}, False),
    ],
)
def test_a_route_wants_what_it_asks_for(words: dict[str, object], data: dict[str, object], told: bool) -> None:
    """Thresholds as in `noclobber check`, unless the route says otherwise."""
    assert wants(route_from({"url": URL, "secret": SECRET, **words}), {**DATA, **data}) is told


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, "needs a `url`"),
        ({"url": "ftp://x/y", "secret": SECRET}, "http:// or https://"),
        ({"url": "https://me:pw@x/y", "secret": SECRET}, "no user and password"),
        ({"url": "https://x:99999/y", "secret": SECRET}, "cannot be read"),
        ({"url": URL}, "needs a secret"),
        ({"url": URL, "secret": "hunter2"}, "starts with 'whsec_'"),
        ({"url": URL, "secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"url": URL, "secret": SECRET, "kinds": ["lost_updates"]}, "lost_updates"),
        ({"url": URL, "secret": SECRET, "allow": ["127.0.0.1/8"]}, "host bits"),
        ({"url": URL, "secret": SECRET, "sevrity": "low"}, "unknown setting 'sevrity'"),
        ({"url": URL, "secret": SECRET, "format": "smoke"}, "one of standard, alertmanager"),
        ({"url": URL, "format": "slack", "routing_key": "x"}, "unknown setting 'routing_key'"),
        ({"format": "pagerduty"}, "routing_key"),
        ({"url": URL, "format": "email"}, "smtp:// or smtps://"),
        ({"url": "smtp://mail", "format": "email", "to": ["a@b"]}, "`from` and `to`"),
        ({"url": "smtp://mail", "format": "email", "from": "a@b"}, "`from` and `to`"),
        ({"url": "smtp://mail", "format": "email", "from": "a@b\nBcc: x@y", "to": ["a@b"]}, "`from` and `to`"),
        ({"url": URL, "format": "otlp", "secret": SECRET}, "not signed"),
        ({"url": "no scheme", "format": "apprise"}, "one of apprise's"),
        ({"url": URL, "secret": SECRET, "headers": {"x y": "z"}}, "cannot be sent"),
        ({"url": URL, "secret": SECRET, "headers": {"x": "a\nb"}}, "cannot be sent"),
        ({"url": URL, "secret": SECRET, "headers": "x: y"}, "cannot be sent"),
    ],
)
def test_a_route_that_cannot_be_used_says_why(table: dict[str, object], why: str) -> None:
    """One sentence, and never the secret."""
    with pytest.raises(RouteError, match=why) as caught:
        route_from(table)
    assert SECRET not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_flags_come_before_the_environment() -> None:
    """Variables count only where no flag was typed; tables of the file always do."""
    environ = {"NOCLOBBER_WEBHOOK": URL, "NOCLOBBER_WEBHOOK_SECRET": SECRET}
    (by_environment,) = routes_from([], environ)
    assert (by_environment.url, by_environment.secrets) == (URL, (SECRET,))
    table = {"name": "ops", "url": URL, "secret": SECRET, "min_certainty": "certain"}
    of_file, typed = routes_from(
        [table], environ, urls=["http://127.0.0.1:9/x"], secrets=[SECRET], allow=["127.0.0.0/8"]
    )
    assert (of_file.name, of_file.min_certainty, typed.url) == ("ops", Certainty.CERTAIN, "http://127.0.0.1:9/x")


def test_two_routes_of_one_name_are_refused() -> None:
    """The name is the identity in the log of deliveries."""
    table = {"name": "ops", "url": URL, "secret": SECRET}
    with pytest.raises(RouteError, match="two alert routes"):
        routes_from([table, table], {})


def test_only_standard_has_to_be_signed() -> None:
    """Chats and pagers have their secret in the URL or in a key."""
    assert route_from({"url": URL, "format": "slack"}).secrets == ()
    assert route_from({"format": "pagerduty", "routing_key": "k"}).url.startswith("https://events.pagerduty.com/")


def test_a_token_that_stands_where_a_host_would_is_no_name() -> None:
    """Apprise's URLs carry secrets in any part: the name is made from the scheme alone."""
    assert "t0ken" not in route_from({"url": "tgram://123:t0ken/chat", "format": "apprise"}).name


def test_nothing_secret_is_shown() -> None:
    """Neither secret nor URL stand in the representation or in the name made from the URL."""
    route = route_from({"url": URL, "secret": SECRET, "kinds": [Kind.FORK]})
    assert SECRET not in repr(route)
    assert "t0ken" not in repr(route)
