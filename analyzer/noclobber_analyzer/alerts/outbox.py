"""What is still to be sent: computed from the log of transitions and the log of deliveries, at start and ever after.

A row of the log is untold at an endpoint if it is one that routes are told of, this route wants it, it came after the
route was added, and no delivery of it is final. Which of the untold rows of an issue is told next, and when, is said by
`grouping`; what is held back by `held`. Nothing else is remembered anywhere: whoever reads the log finds the same
messages with the same ids, so a sender that was killed is simply started again. Messages of one issue go to an
endpoint in their order.

A row about a route (`route_log`) may begin a dead letter anew, enable an endpoint, or ask for a sample, which is a
message for that one endpoint.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from noclobber_analyzer.alerts.grouping import Untold, next_telling
from noclobber_analyzer.alerts.held import HeldBack
from noclobber_analyzer.alerts.inhibition import Inhibition
from noclobber_analyzer.alerts.message import Message, message_about, message_id
from noclobber_analyzer.alerts.route_log import ADDED, ENABLED, RESEND, SAMPLE, TEST, news
from noclobber_analyzer.alerts.routes import TOLD_OF_ACKNOWLEDGEMENTS, Route, wants
from noclobber_analyzer.alerts.schedule import Breaker, Next, next_attempt
from noclobber_analyzer.alerts.services import services_of
from noclobber_analyzer.clock import SECOND_NS, Clock
from noclobber_analyzer.issues import NOTIFYING, Event, Transition
from noclobber_analyzer.tables import Delivery, Store, append_transitions, read_deliveries, read_transitions

__all__ = ["HORIZON_NS", "Outbox"]

HORIZON_NS = 5 * 86_400 * SECOND_NS
"""How far back the log is read: longer than the whole schedule."""
OVERLAP_NS = 600 * SECOND_NS
"""Rows this much older than the newest one are read again: writers' clocks differ."""
FORGET_EVERY_NS = 3_600 * SECOND_NS
PATIENCE_NS = 60 * SECOND_NS
"""So old a row is offered although nobody could say whose services had part: rather to one too many than to nobody."""
Coming = tuple[int, int, str, Message, Next]
"""When a message is due, when it came into being, its id, itself, its attempt: in the order of sending."""


@dataclass(slots=True)
class _Queue:
    """What one endpoint is still to be told of one issue.

    Attributes:
        untold: rows by message id. told_ns: when it was last told. begun_ns: time of the newest row begun.
        coming: decided at `decided`, a state of what is held back; -1: to be decided anew.
    """

    untold: dict[str, Untold] = field(default_factory=dict)
    told_ns: int = 0
    begun_ns: int = 0
    coming: Coming | None = None
    decided: int = -1

    def is_over(self, horizon_ns: int) -> bool:
        """Whether nothing of it is still to be told, and nothing was since a time."""
        return not self.untold and max(self.told_ns, self.begun_ns) < horizon_ns


@dataclass(slots=True)
class _Endpoint:
    route: Route
    added_ns: int = 0
    enabled_ns: int = 0
    queues: dict[str, _Queue] = field(default_factory=lambda: defaultdict(_Queue))
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
        inhibitions: which issues hold others back.
    """

    def __init__(
        self, store: Store, routes: Sequence[Route], clock: Clock, inhibitions: Sequence[Inhibition] = ()
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoints = {route.name: _Endpoint(route) for route in routes}
        self._held = HeldBack(inhibitions)
        self._seen: dict[str, int] = {}
        self._newest_ns = 0
        self._deliveries: dict[str, dict[tuple[int, str], Delivery]] = defaultdict(dict)
        self._deliveries_newest_ns = 0
        self._issue_of: dict[str, str] = {}
        self._resent: dict[str, int] = {}
        self._counts: tuple[int, int] = (-1, -1)
        self._forgot_ns = clock.now_ns()

    def open(self) -> None:
        """Read the log, and note in it which routes were added or removed since."""
        with self._lock:
            known = [row for row in read_transitions(self._store) if row.kind.startswith("route.")]
            routes = [endpoint.route for endpoint in self._endpoints.values()]
            rows = news(known, routes, self._clock.now_ns())
            append_transitions(self._store, rows)
            for row in (*known, *rows):
                self._note_route(row)
            self._held.read(self._store, self._clock.now_ns() - HORIZON_NS)
        self.refresh()

    def refresh(self) -> bool:
        """Read what others wrote since; returns whether there was anything.

        What could not be read, or asked for, is read the next time: only then is it known.
        """
        with self._lock:
            counts, known = self._count(), self._counts
            now_ns = self._clock.now_ns()
            horizon_ns = now_ns - HORIZON_NS
            if counts[1] != known[1]:
                for delivery in read_deliveries(self._store, max(horizon_ns, self._deliveries_newest_ns - OVERLAP_NS)):
                    self._take(delivery)
            if counts[0] != known[0]:
                self._read_on(max(horizon_ns, self._newest_ns - OVERLAP_NS))
            self._counts = counts
            if now_ns - self._forgot_ns >= FORGET_EVERY_NS:
                self._forget(horizon_ns)
                self._forgot_ns = now_ns
            return counts != known

    def _read_on(self, since_ns: int) -> None:
        """Read rows from a time on; one that cannot be dealt with yet keeps no other waiting."""
        rows = read_transitions(self._store, since_ns, but=self._recent(since_ns))
        failure: Exception | None = None
        for row in rows:
            try:
                self._read(row)
            except Exception as error:  # whatever a store raises; raised below
                failure = error
        if failure is not None:
            raise failure
        self._newest_ns = max([self._newest_ns, *(row.at_ns for row in rows)])

    def _forget(self, horizon_ns: int) -> None:
        """Drop what lies before the horizon, and of which nothing is still to be told: nobody reads it again."""
        self._seen = {name: at_ns for name, at_ns in self._seen.items() if at_ns >= horizon_ns}
        waiting: set[str] = set()
        for endpoint in self._endpoints.values():
            over = [issue for issue, queue in endpoint.queues.items() if queue.is_over(horizon_ns)]
            for issue in over:
                del endpoint.queues[issue]
            waiting.update(*(queue.untold for queue in endpoint.queues.values()))
        old = [
            message for message, rows in self._deliveries.items()
            if message not in waiting and all(row.at_ns < horizon_ns for row in rows.values())
        ]  # fmt: skip
        for message in old:
            del self._deliveries[message]
            self._issue_of.pop(message, None)
        self._resent = {name: at_ns for name, at_ns in self._resent.items() if at_ns >= horizon_ns}

    def _recent(self, since_ns: int) -> list[str]:
        """Rows known from a time on: their bodies are long, and not read again."""
        return [name for name, at_ns in self._seen.items() if at_ns >= since_ns]

    def _count(self) -> tuple[int, int]:
        sql = "SELECT (SELECT count() FROM transitions), (SELECT count() FROM deliveries)"
        transitions, deliveries = self._store.rows(sql)[0]
        return int(transitions), int(deliveries)

    def _read(self, row: Transition) -> None:
        if row.id in self._seen:
            return
        content = row.content
        data = content.get("data")
        told = data if isinstance(data, dict) else {}
        self._held.take(row, told)
        if row.kind in (*NOTIFYING, Event.ACKNOWLEDGED) and told and content.get("muted") is not True:
            self._offer(row, told)
        elif row.kind == RESEND:
            self._resend(row)
        elif row.kind == TEST:
            self._sample(row)
        else:
            self._note_route(row)
        self._seen[row.id] = row.at_ns

    def _offer(self, row: Transition, data: Mapping[str, object]) -> None:
        """Tell the routes that want it: first those that ask for no services, since asking for these may fail."""
        services: tuple[str, ...] | None = None
        for name, endpoint in sorted(self._endpoints.items(), key=lambda item: bool(item[1].route.services)):
            if endpoint.route.services and services is None:
                services = self._services(row, data)
            if row.kind == Event.ACKNOWLEDGED and endpoint.route.format not in TOLD_OF_ACKNOWLEDGEMENTS:
                continue
            if row.at_ns < endpoint.added_ns or not wants(endpoint.route, data, services or ()):
                continue
            message = message_id(row.id, name)
            queue = endpoint.queues[row.issue]
            self._issue_of[message] = row.issue
            self._count_attempts(queue, message, row.at_ns)
            if self._coming(message, row.at_ns) is not None:
                is_begun = bool(self._deliveries.get(message))
                self._enqueue(queue, message, Untold(row, data, is_begun=is_begun))

    def _services(self, row: Transition, data: Mapping[str, object]) -> tuple[str, ...]:
        try:
            return services_of(self._store, data)
        except Exception:
            if self._clock.now_ns() - row.at_ns < PATIENCE_NS:
                raise
            return ()

    def _enqueue(self, queue: _Queue, message: str, untold: Untold) -> None:
        queue.untold[message] = untold
        order = sorted(queue.untold.items(), key=lambda item: (item[1].row.at_ns, item[1].row.id))
        queue.untold = dict(order)
        queue.decided = -1

    def _count_attempts(self, queue: _Queue, message: str, row_ns: int) -> None:
        begun_ns = [each.at_ns for each in self._deliveries.get(message, {}).values() if each.phase == "begun"]
        if begun_ns:
            queue.told_ns = max(queue.told_ns, min(begun_ns))
            queue.begun_ns = max(queue.begun_ns, row_ns)
            queue.decided = -1

    def _resend(self, row: Transition) -> None:
        endpoint, message = self._endpoints.get(row.issue), row.finding
        self._resent[message] = max(row.at_ns, self._resent.get(message, 0))
        origin = row.content.get("transition")
        if endpoint is None or self._coming(message, row.at_ns) is None:
            return
        for told in read_transitions(self._store):
            if told.id == origin:
                data = SAMPLE if told.kind == TEST else told.content.get("data")
                self._ask(endpoint, message, told, data if isinstance(data, dict) else {})

    def _sample(self, row: Transition) -> None:
        endpoint = self._endpoints.get(row.issue)
        if endpoint is not None and self._coming(message_id(row.id, row.issue), row.at_ns) is not None:
            self._ask(endpoint, message_id(row.id, row.issue), row, SAMPLE)

    def _ask(self, endpoint: _Endpoint, message: str, row: Transition, data: Mapping[str, object]) -> None:
        issue = row.id if row.kind == TEST else row.issue  # a sample waits for no issue's and keeps none waiting
        self._issue_of[message] = issue
        self._enqueue(endpoint.queues[issue], message, Untold(row, data, is_asked=True))

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
        """Account for deliveries that the sender itself has written: they need not be read."""
        with self._lock:
            for row in rows:
                self._take(row)
                self._counts = (self._counts[0], self._counts[1] + 1)

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
        issue = self._issue_of.get(row.id)
        if issue is not None:
            self._account(endpoint.queues[issue], row)

    def _account(self, queue: _Queue, row: Delivery) -> None:
        queue.decided = -1
        untold = queue.untold.get(row.id)
        if untold is None:
            return
        self._count_attempts(queue, row.id, untold.row.at_ns)
        if row.final:
            del queue.untold[row.id]
        else:
            queue.untold[row.id] = Untold(untold.row, untold.data, is_begun=True, is_asked=untold.is_asked)

    def next(self, endpoint: str) -> tuple[Message, Next] | None:
        """The message of an endpoint that is to be sent next, and when; None: nothing waits, or it is disabled."""
        with self._lock:
            of = self._endpoints[endpoint]
            if of.is_disabled:
                return None
            now_ns = self._clock.now_ns()
            state = self._held.state_at(now_ns)
            for issue, queue in of.queues.items():
                if queue.decided != state:
                    queue.coming, queue.decided = self._decide(of.route, issue, queue, now_ns), state
            first = min((queue.coming for queue in of.queues.values() if queue.coming is not None), default=None)
            if first is None:
                return None
            due_ns, _, _, message, attempt = first
            return message, Next(attempt.attempt, max(due_ns, of.breaker.until_ns))

    def _decide(self, route: Route, issue: str, queue: _Queue, now_ns: int) -> Coming | None:
        untold = [
            each for each in queue.untold.values()
            if each.is_begun or each.is_asked or each.row.kind != Event.UPDATED or each.row.at_ns > queue.begun_ns
        ]  # fmt: skip
        reminded = self._held.is_reminded(issue)
        chosen = next_telling(untold, route, queue.told_ns, self._held.holds, now_ns, reminded=reminded)
        if chosen is None:
            return None
        telling, due_ns = chosen
        name = message_id(telling.row.id, route.name)
        coming = self._coming(name, due_ns)
        assert coming is not None, "a finished message is not untold"
        message = message_about(telling.row, dict(telling.data), route)
        return coming.at_ns, telling.row.at_ns, name, message, coming

    def waiting(self) -> dict[str, int]:
        """Messages that are not delivered for good, those held back and gathered among them, by endpoint."""
        with self._lock:
            return {
                name: sum(len(queue.untold) for queue in endpoint.queues.values())
                for name, endpoint in self._endpoints.items()
            }

    def disabled(self) -> list[str]:
        """Endpoints that answered 410 and were not enabled again."""
        with self._lock:
            return sorted(name for name, endpoint in self._endpoints.items() if endpoint.is_disabled)
