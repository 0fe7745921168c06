"""Routes by service: each team is told of what its own services raced on; accesses that are gone name none."""

import time
from collections.abc import Callable, Sequence
from typing import Any

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


class Failing:
    """A store of which one read fails, or each of a kind."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads, self.fails = 0, lambda _number, _sql: False

    def rows(self, sql: str, *words: Any) -> list[tuple[Any, ...]]:
        self.reads += 1
        if self.fails(self.reads, sql):
            raise OSError("the store is away")
        return self._store.rows(sql, *words)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._store.insert(table, columns, rows)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_read_that_fails_once_loses_no_message(
    real_store: Store, make_receiver: Callable[[], Receiver], nth: int
) -> None:
    """Of the counts, the log and the services of each row: the next look finds what the failed one did not."""
    clock, store = HandClock(time.time_ns()), Failing(real_store)
    wants_some, wants_all = f"some-{nth}", f"all-{nth}"
    routes = [make_receiver().route(name=wants_some, services=["pay*"]), make_receiver().route(name=wants_all)]
    outbox = Outbox(store, routes, clock)
    outbox.open()
    for name in ("one", "two"):
        clock.move(0.001)
        finding, rows = sample.race(8_300 + nth, f"redis://bank:6379/0/{name}", ("payer-1", "payer-2"), time.time_ns())
        sample.insert_accesses(real_store, rows)
        append_transitions(real_store, [a_row(f"{name}-{nth}", clock.now_ns(), finding=finding)])
    store.reads, store.fails = 0, lambda number, _sql: number == nth
    with pytest.raises(OSError, match="the store is away"):
        outbox.refresh()
    outbox.refresh()
    assert outbox.waiting() == {wants_some: 2, wants_all: 2}


def test_where_services_cannot_be_told_a_minute_long_all_routes_are(
    real_store: Store, make_receiver: Callable[[], Receiver]
) -> None:
    """Who asks for none is told at once; who asks, rather for nothing than never."""
    clock, store = HandClock(time.time_ns()), Failing(real_store)
    routes = [make_receiver().route(name="some", services=["pay*"]), make_receiver().route(name="every")]
    outbox = Outbox(store, routes, clock)
    outbox.open()
    clock.move(0.001)
    finding, _ = sample.race(8_400, "redis://bank:6379/0/never", ("payer-1", "payer-2"), time.time_ns())
    append_transitions(real_store, [a_row("never", clock.now_ns(), finding=finding)])
    store.fails = lambda _number, sql: "FROM accesses" in sql
    with pytest.raises(OSError, match="the store is away"):
        outbox.refresh()
    assert outbox.waiting() == {"some": 0, "every": 1}
    clock.move(61)
    outbox.refresh()
    assert outbox.waiting() == {"some": 1, "every": 1}
