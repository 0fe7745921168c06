"""Routes by service: each team is told of what its own services raced on; accesses that are gone name none."""

import time
from collections.abc import Callable

import pytest
import sample
from made_findings import HandClock
from receivers import Receiver
from told import a_row

from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.route_log import facts_of
from noclobber_analyzer.alerts.routes import route_from, wants
from noclobber_analyzer.alerts.sender import Lane
from noclobber_analyzer.alerts.signing import new_secret
from noclobber_analyzer.tables import Store, append_transitions

WORDS = {"url": "https://hooks.example.com/t0ken", "secret": new_secret()}


@pytest.mark.parametrize(
    ("patterns", "services", "told"),
    [
        ([], ["checkout"], True),
        (["checkout"], ["billing", "checkout"], True),
        (["check*"], ["checkout"], True),
        (["billing"], ["checkout"], False),
        (["billing"], [], True),
    ],
)
def test_a_route_wants_its_services(patterns: list[str], services: list[str], told: bool) -> None:
    """One that fits is enough; where nothing is known of them, the route is told."""
    data = a_row("x", 1).content["data"]
    assert isinstance(data, dict)
    assert wants(route_from({**WORDS, "services": patterns}), data, services) is told


def test_the_log_names_a_routes_services_only_where_it_has_any() -> None:
    """A route that was written before services were known is no changed route."""
    assert "services" not in facts_of(route_from(WORDS))
    assert facts_of(route_from({**WORDS, "services": ["a*"]}))["services"] == ["a*"]


def test_each_team_is_told_of_its_own(real_store: Store, make_receiver: Callable[[], Receiver]) -> None:
    """Two teams and an overseer over the real store: the services are those that the racing accesses came from."""
    clock = HandClock()
    teams = {"payments": ["deposit-agent", "nobody"], "search": ["index*"], "all": []}
    receivers = {name: make_receiver() for name in teams}
    routes = [receivers[name].route(name=name, services=services) for name, services in teams.items()]
    outbox = Outbox(real_store, routes, clock)
    outbox.open()
    clock.move(0.001)
    stories = {"pay": ("deposit-agent", "withdraw-agent"), "find": ("indexer-1", "indexer-2")}
    for number, (name, agents) in enumerate(stories.items()):
        finding, rows = sample.race(8_100 + number, f"redis://bank:6379/0/{name}", agents, time.time_ns())
        sample.insert_accesses(real_store, rows)
        append_transitions(real_store, [a_row(name, clock.now_ns(), finding=finding)])
    gone, _ = sample.race(8_200, "redis://bank:6379/0/gone", ("indexer-1", "deposit-agent"), time.time_ns())
    append_transitions(real_store, [a_row("gone", clock.now_ns(), finding=gone)])
    outbox.refresh()
    for route in routes:
        lane = Lane(real_store, outbox, route, clock)
        for _ in range(len(stories) + 1):
            lane.turn()
    arrived = {name: {each["json"]["data"]["issue"] for each in receiver.requests}
               for name, receiver in receivers.items()}  # fmt: skip
    assert arrived == {
        "payments": {"issue-pay", "issue-gone"},
        "search": {"issue-find", "issue-gone"},
        "all": {"issue-pay", "issue-find", "issue-gone"},
    }
