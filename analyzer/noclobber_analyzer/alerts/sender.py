"""Sends what is pending: one lane for each endpoint, each with its own thread, so that a slow one harms no other.

A lane makes one attempt at a time. It writes "begun" to the log of deliveries, posts, and writes "done"; it never
goes on before "done" is written, so in the log a message gets at most one 2xx. A sender that was killed in between
repeats the message with the same id and the same body, after the time an attempt may take. Threads only wait and
call `Lane.turn`; all decisions are the outbox's and the schedule's, and a test that owns the clock calls `turn`
itself.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noclobber_analyzer.alerts.delivery import deliver, headers_of
from noclobber_analyzer.alerts.inhibition import Inhibition
from noclobber_analyzer.alerts.message import Message
from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.post import Outcome
from noclobber_analyzer.alerts.routes import Route
from noclobber_analyzer.alerts.schedule import Next, closing
from noclobber_analyzer.clock import SECOND_NS, SYSTEM, Clock
from noclobber_analyzer.tables import Delivery, Store, append_deliveries

__all__ = ["Lane", "Sender"]

POLL_S = 1.0
"""How often the log is looked at without being woken: others write to it too."""

Post = Callable[[Route, bytes, dict[str, str], int], Outcome]

logger = logging.getLogger("noclobber.alerts")


@dataclass(slots=True)
class LaneHealth:
    """What a lane did since its start."""

    attempts: int = 0
    delivered: int = 0
    last_status: int | None = None
    error: str = ""


class Lane:
    """Everything that goes to one endpoint, one attempt at a time.

    Args:
        store: for the log of deliveries.
        outbox: says what is next.
        route: the endpoint.
        clock: wall time.
        send: makes the attempt.
    """

    def __init__(self, store: Store, outbox: Outbox, route: Route, clock: Clock, send: Post = deliver) -> None:
        self.health = LaneHealth()
        self._store = store
        self._outbox = outbox
        self._route = route
        self._clock = clock
        self._send = send
        self._unwritten: Delivery | None = None

    def turn(self) -> int | None:
        """Make at most one attempt.

        Returns:
            The time at which the next one is due, in ns; None: when something new is in the log.
        """
        self._finish()
        coming = self._outbox.next(self._route.name)
        if coming is None:
            return None
        message, attempt = coming
        if attempt.at_ns > self._clock.now_ns():
            return attempt.at_ns
        self._attempt(message, attempt)
        following = self._outbox.next(self._route.name)
        return None if following is None else following[1].at_ns

    def _attempt(self, message: Message, coming: Next) -> None:
        now_ns = self._clock.now_ns()
        begun = Delivery(message.id, message.transition, self._route.name, coming.attempt, "begun", now_ns)
        append_deliveries(self._store, [begun])
        self._outbox.take([begun])
        outcome = self._send(self._route, message.body, headers_of(self._route, message, now_ns), now_ns)
        self.health.attempts += 1
        self.health.delivered += outcome.ok
        self.health.last_status = outcome.status
        self._unwritten = closing(begun, outcome, self._clock.now_ns())
        self._finish()

    def _finish(self) -> None:
        """Write the end of the attempt; until the store has it, the lane does nothing else."""
        if self._unwritten is not None:
            append_deliveries(self._store, [self._unwritten])
            self._outbox.take([self._unwritten])
            self._unwritten = None


class Sender:
    """The webhooks' sender, in threads.

    Args:
        store: holds the logs of transitions and of deliveries.
        routes: endpoints.
        clock: wall time.
        may_send: whether it is this one's turn, where others share the store: one of them sends.
        inhibitions: which issues hold others back.
    """

    def __init__(
        self,
        store: Store,
        routes: Sequence[Route],
        clock: Clock = SYSTEM,
        may_send: Callable[[], bool] = lambda: True,
        inhibitions: Sequence[Inhibition] = (),
    ) -> None:
        self._clock = clock
        self._may_send = may_send
        self._outbox = Outbox(store, routes, clock, inhibitions)
        self._lanes = {route.name: Lane(store, self._outbox, route, clock) for route in routes}
        self._wakes = {name: threading.Event() for name in self._lanes}
        self._stopping = threading.Event()
        self._is_asked = threading.Event()
        self._looked_ns = 0
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Read the log and begin to send; returns once new routes are noted in the log.

        Raises:
            Exception: the store's, where it cannot be read.
        """
        self._outbox.open()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"noclobber-send-{name}", daemon=True)
            for name in self._lanes
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was written to the log: look now."""
        self._is_asked.set()
        self._nudge()

    def _nudge(self) -> None:
        for event in self._wakes.values():
            event.set()

    def stop(self, timeout_s: float) -> bool:
        """End after the attempts under way; returns whether all lanes ended in time."""
        self._stopping.set()
        self.wake()
        end_ns = self._clock.now_ns() + int(timeout_s * SECOND_NS)
        for thread in self._threads:
            thread.join(max(0.0, (end_ns - self._clock.now_ns()) / SECOND_NS))
        return not any(thread.is_alive() for thread in self._threads)

    def health(self) -> dict[str, object]:
        """Pending messages, disabled endpoints, attempts and the last error, by endpoint."""
        waiting, disabled = self._outbox.waiting(), self._outbox.disabled()
        return {
            name: {
                "pending": waiting[name],
                "disabled": name in disabled,
                "attempts": lane.health.attempts,
                "delivered": lane.health.delivered,
                "last_status": lane.health.last_status,
                "error": lane.health.error,
            }
            for name, lane in self._lanes.items()
        }

    def _run(self, name: str) -> None:
        lane, wake = self._lanes[name], self._wakes[name]
        while not self._stopping.is_set():
            wake.clear()
            due_ns = self._guarded_turn(lane, name)
            wait_s = POLL_S if due_ns is None else min(POLL_S, (due_ns - self._clock.now_ns()) / SECOND_NS)
            if wait_s > 0:
                wake.wait(wait_s)

    def _look(self) -> None:
        """Read the log where somebody said that there is news, or nobody looked for a while; one lane for all."""
        now_ns = self._clock.now_ns()
        if not self._is_asked.is_set() and 0 <= now_ns - self._looked_ns < POLL_S * SECOND_NS:
            return
        self._is_asked.clear()
        self._looked_ns = now_ns
        try:
            found = self._outbox.refresh()
        except Exception:
            self._looked_ns = 0
            raise
        if found:
            self._nudge()

    def _guarded_turn(self, lane: Lane, name: str) -> int | None:
        """A turn that survives whatever the store does: the next one tries again."""
        try:
            self._look()
            due_ns = lane.turn() if self._may_send() else None
        except Exception as error:
            if lane.health.error != str(error):
                logger.exception("alerts to %s: the log cannot be read or written; trying again", name)
            lane.health.error = str(error) or type(error).__name__
            return None
        lane.health.error = ""
        return due_ns
