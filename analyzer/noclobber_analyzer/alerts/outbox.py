"""What is still to be sent: computed from the log of transitions and the log of deliveries, at start and ever after.

A message is pending for an endpoint if a row of the log is one that routes are told of, this route wants it, it came
after the route was added, and no delivery of it is final. Nothing else is remembered anywhere: whoever reads the log
finds the same messages with the same ids, so a sender that was killed is simply started again. Messages of one issue
go to an endpoint in their order.

A row about a route (`route_log`) may begin a dead letter anew, enable an endpoint, or ask for a sample, which is a
message for that one endpoint.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from noclobber_analyzer.alerts.message import Message, message_about, message_for, message_id
from noclobber_analyzer.alerts.route_log import ADDED, ENABLED, RESEND, SAMPLE, TEST, news
from noclobber_analyzer.alerts.routes import Route, wants
from noclobber_analyzer.alerts.schedule import Breaker, Next, next_attempt
from noclobber_analyzer.clock import SECOND_NS, Clock
from noclobber_analyzer.issues import NOTIFYING, Transition
from noclobber_analyzer.tables import Delivery, Store, append_transitions, read_deliveries, read_transitions

__all__ = ["HORIZON_NS", "Outbox"]

HORIZON_NS = 5 * 86_400 * SECOND_NS
"""How far back the log is read: longer than the whole schedule."""
OVERLAP_NS = 600 * SECOND_NS
"""Rows this much older than the newest one are read again: writers' clocks differ."""


@dataclass(slots=True)
class _Endpoint:
    route: Route
    added_ns: int = 0
    enabled_ns: int = 0
    pending: dict[str, tuple[str, Message]] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def is_disabled(self) -> bool:
        return self.breaker.gone_ns > self.enabled_ns


class Outbox:
    """Pending messages of some routes; thread safe.

    Args:
        store: holds both logs.
        routes: endpoints in use.
        clock: wall time.
    """

    def __init__(self, store: Store, routes: Sequence[Route], clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoints = {route.name: _Endpoint(route) for route in routes}
        self._seen: set[str] = set()
        self._newest_ns = 0
        self._deliveries: dict[str, dict[tuple[int, str], Delivery]] = defaultdict(dict)
        self._deliveries_newest_ns = 0
        self._resent: dict[str, int] = {}
        self._counts: tuple[int, int] = (-1, -1)

    def open(self) -> None:
        """Read the log, and note in it which routes were added or removed since."""
        with self._lock:
            known = [row for row in read_transitions(self._store) if row.kind.startswith("route.")]
            routes = [endpoint.route for endpoint in self._endpoints.values()]
            rows = news(known, routes, self._clock.now_ns())
            append_transitions(self._store, rows)
            for row in (*known, *rows):
                self._note_route(row)
        self.refresh()

    def refresh(self) -> bool:
        """Read what others wrote since; returns whether there was anything."""
        with self._lock:
            counts = self._count()
            if counts == self._counts:
                return False
            self._counts = counts
            horizon_ns = self._clock.now_ns() - HORIZON_NS
            for delivery in read_deliveries(self._store, max(horizon_ns, self._deliveries_newest_ns - OVERLAP_NS)):
                self._take(delivery)
            for row in read_transitions(self._store, max(horizon_ns, self._newest_ns - OVERLAP_NS)):
                self._read(row)
            return True

    def _count(self) -> tuple[int, int]:
        sql = "SELECT (SELECT count() FROM transitions), (SELECT count() FROM deliveries)"
        transitions, deliveries = self._store.rows(sql)[0]
        return int(transitions), int(deliveries)

    def _read(self, row: Transition) -> None:
        if row.id in self._seen:
            return
        self._seen.add(row.id)
        self._newest_ns = max(self._newest_ns, row.at_ns)
        if row.kind in NOTIFYING:
            self._offer(row)
        elif row.kind == RESEND:
            self._resend(row)
        elif row.kind == TEST:
            self._sample(row)
        else:
            self._note_route(row)

    def _offer(self, row: Transition) -> None:
        content = row.content
        data = content.get("data")
        if content.get("muted") is True or not isinstance(data, dict):
            return
        for name, endpoint in self._endpoints.items():
            if row.at_ns < endpoint.added_ns or not wants(endpoint.route, data):
                continue
            if self._coming(message_id(row.id, name), row.at_ns) is not None:
                message = message_for(row, endpoint.route)
                endpoint.pending[message.id] = (row.issue, message)

    def _resend(self, row: Transition) -> None:
        endpoint, message = self._endpoints.get(row.issue), row.finding
        self._resent[message] = max(row.at_ns, self._resent.get(message, 0))
        origin = row.content.get("transition")
        if endpoint is None or self._coming(message, row.at_ns) is None:
            return
        for told in read_transitions(self._store):
            if told.id == origin:
                endpoint.pending[message] = (told.issue, message_for(told, endpoint.route))

    def _sample(self, row: Transition) -> None:
        endpoint = self._endpoints.get(row.issue)
        if endpoint is not None and self._coming(message_id(row.id, row.issue), row.at_ns) is not None:
            message = message_about(row, SAMPLE, endpoint.route)
            endpoint.pending[message.id] = (row.id, message)  # no issue's: it waits for none and keeps none waiting

    def _note_route(self, row: Transition) -> None:
        endpoint = self._endpoints.get(row.issue)
        if endpoint is None:
            return
        if row.kind == ADDED:
            endpoint.added_ns = row.at_ns
        if row.kind in (ADDED, ENABLED):
            endpoint.enabled_ns = max(endpoint.enabled_ns, row.at_ns)

    def _coming(self, message: str, created_ns: int) -> Next | None:
        rows = list(self._deliveries.get(message, {}).values())
        return next_attempt(rows, created_ns, self._resent.get(message, 0))

    def take(self, rows: Iterable[Delivery]) -> None:
        """Account for deliveries that the sender itself has written."""
        with self._lock:
            for row in rows:
                self._take(row)

    def _take(self, row: Delivery) -> None:
        self._deliveries_newest_ns = max(self._deliveries_newest_ns, row.at_ns)
        known = self._deliveries[row.id]
        if (row.attempt, row.phase) in known:
            return
        known[row.attempt, row.phase] = row
        endpoint = self._endpoints.get(row.endpoint)
        if endpoint is None:
            return
        if row.phase == "done":
            endpoint.breaker.take(row)
        if row.final:
            endpoint.pending.pop(row.id, None)

    def next(self, endpoint: str) -> tuple[Message, Next] | None:
        """The message of an endpoint that is to be sent next, and when; None: nothing waits, or it is disabled."""
        with self._lock:
            of = self._endpoints[endpoint]
            if of.is_disabled:
                return None
            heads: dict[str, Message] = {}
            for issue, message in of.pending.values():
                if issue not in heads or (message.at_ns, message.id) < (heads[issue].at_ns, heads[issue].id):
                    heads[issue] = message
            due = [(message, self._next(of, message)) for message in heads.values()]
            return min(due, key=lambda pair: (pair[1].at_ns, pair[0].at_ns, pair[0].id), default=None)

    def _next(self, endpoint: _Endpoint, message: Message) -> Next:
        coming = self._coming(message.id, message.at_ns)
        assert coming is not None, "a finished message is not pending"
        return Next(coming.attempt, max(coming.at_ns, endpoint.breaker.until_ns))

    def waiting(self) -> dict[str, int]:
        """Messages pending, by endpoint."""
        with self._lock:
            return {name: len(endpoint.pending) for name, endpoint in self._endpoints.items()}

    def disabled(self) -> list[str]:
        """Endpoints that answered 410 and were not enabled again."""
        with self._lock:
            return sorted(name for name, endpoint in self._endpoints.items() if endpoint.is_disabled)
