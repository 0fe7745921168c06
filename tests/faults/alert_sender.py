"""A sender in a process of its own, to be killed: tells what a route is still to be told, its own clock jumping ahead.

Words: the store's URL, the route as JSON, how many alerts to write first, and the time at which it was last alive.
Prints the time after each attempt, and "done" when nothing is to be sent any more.
"""

import json
import sys

from told import a_row

from noclobber_analyzer.alerts.outbox import Outbox
from noclobber_analyzer.alerts.routes import route_from
from noclobber_analyzer.alerts.sender import Lane
from noclobber_analyzer.tables import append_transitions
from noclobber_collector.store import open_store


class JumpingClock:
    """A clock that goes to what is due instead of waiting for it."""

    def __init__(self, now_ns: int) -> None:
        self.at_ns = now_ns

    def now_ns(self) -> int:
        return self.at_ns


def main() -> None:
    """Send until all is sent."""
    url, route, alerts, now_ns = sys.argv[1], route_from(json.loads(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    store, clock = open_store(url), JumpingClock(now_ns)
    outbox = Outbox(store, [route], clock)
    outbox.open()
    append_transitions(store, [a_row(f"t{number}", now_ns + 1) for number in range(alerts)])
    clock.at_ns += 2
    outbox.refresh()
    lane = Lane(store, outbox, route, clock)
    while (due_ns := lane.turn()) is not None:
        clock.at_ns = max(clock.at_ns + 1_000_000, due_ns)
        print(clock.at_ns, flush=True)
    print("done", flush=True)
    store.close()


if __name__ == "__main__":
    main()
