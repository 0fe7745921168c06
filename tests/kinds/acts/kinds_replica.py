"""Reads from a Redis replica that is behind, as is done to spare the primary; nothing here knows of noclobber.

Arguments: the story, and where primary and replica are.
"""

import sys
import time
from collections.abc import Callable, Iterator

import redis
from turns import TIMEOUT_S, Agent, play

MONDAY = "the plan as of Monday: two in the morning, one at night"
UNKNOWN = "a-password-that-the-primary-does-not-know"


class Stage:
    """A primary and a replica that falls behind as soon as the first plan is there.

    Attributes:
        primary, replica: clients.
    """

    def __init__(self, primary: str, replica: str) -> None:
        self.primary = redis.Redis.from_url(primary, decode_responses=True)
        self.replica = redis.Redis.from_url(replica, decode_responses=True)
        self.primary.flushall()
        self.primary.config_set("repl-diskless-sync-delay", "0")
        self.replica.config_set("masterauth", "")
        self.replica.replicaof("127.0.0.1", str(self.primary.get_connection_kwargs()["port"]))

    def close(self) -> None:
        """Leave the servers."""
        self.primary.close()
        self.replica.close()

    def first(self) -> Iterator[None]:
        """The first plan; from then on the replica hears nothing."""
        self.primary.set("plan", MONDAY)
        deadline = time.monotonic() + TIMEOUT_S
        while self.primary.wait(1, 100) < 1:
            assert time.monotonic() < deadline, "the replica did not follow"
        self.replica.config_set("masterauth", UNKNOWN)
        self.primary.client_kill_filter(_type="replica")
        yield

    def change(self, to: str) -> None:
        """Read the plan, and replace it by a newer one."""
        self.primary.set("plan", f"{self.primary.get('plan')}; as of {to}")

    def reader(self, safe: bool) -> "redis.Redis":
        """Where a cautious agent reads, or a thrifty one."""
        return self.primary if safe else self.replica


def session(stage: Stage, safe: bool) -> None:
    """One agent reads what it has just written."""

    def a() -> Iterator[None]:
        stage.change("Tuesday: nobody is there at night")
        stage.reader(safe).get("plan")
        yield

    play("SA", S=stage.first, A=a)


def monotonic(stage: Stage, safe: bool) -> None:
    """One agent reads twice, each time elsewhere."""

    def a() -> Iterator[None]:
        stage.primary.get("plan")
        stage.reader(safe).get("plan")
        yield

    play("SBA", S=stage.first, A=a, B=written(stage))


def written(stage: Stage) -> Agent:
    """Another agent changes the plan."""

    def b() -> Iterator[None]:
        stage.change("Wednesday: three are there at night")
        yield

    return b


def stale(stage: Stage, safe: bool) -> None:
    """An agent reads what another has changed before."""

    def a() -> Iterator[None]:
        stage.reader(safe).get("plan")
        yield

    play("SBA", S=stage.first, A=a, B=written(stage))


STORIES: dict[str, Callable[[Stage, bool], None]] = {
    "read_your_writes": session,
    "monotonic_reads": monotonic,
    "stale_read": stale,
}

if __name__ == "__main__":
    STORIES[sys.argv[1].removesuffix("-safe")](Stage(*sys.argv[2:]), sys.argv[1].endswith("-safe"))
