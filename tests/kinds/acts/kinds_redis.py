"""What agents do to each other on Redis, and what they should do; nothing here knows of noclobber.

Arguments: the story, and where the server is.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import redis
from turns import TIMEOUT_S, Agent, play

PLAN = "the plan as of Monday: two in the morning, one at night"
SHORT_S, PATIENCE_S = 0.05, 1


def both_write(url: str, watched: bool) -> None:
    """Both look at the plan, and each replaces it by one of its own."""

    def agent(name: str) -> Agent:
        def act() -> Iterator[None]:
            client = redis.Redis.from_url(url, decode_responses=True)
            with client.pipeline() as pipeline:
                if watched:
                    pipeline.watch("plan")
                plan = (pipeline if watched else client).get("plan")
                yield
                pipeline.multi() if watched else None
                pipeline.set("plan", f"{plan}; and what {name} made of it")
                with suppress(redis.WatchError):  # another was faster: begin anew
                    pipeline.execute()
            yield

        return act

    play("ABAB", A=agent("A"), B=agent("B"))


def told_from_an_old_look(url: str, looks_again: bool) -> None:
    """A looks at the plan; B changes it; A writes a notice of what it saw."""

    def a() -> Iterator[None]:
        client = redis.Redis.from_url(url, decode_responses=True)
        plan = client.get("plan")
        yield
        if looks_again:
            plan = client.get("plan")
        client.set("notice", f"for the wall: {plan}")
        yield

    play("ABA", A=a, B=lambda: changed(url))


def changed(url: str) -> Iterator[None]:
    """Somebody changes the plan."""
    redis.Redis.from_url(url).set("plan", "the plan as of Tuesday: nobody is there in the morning")
    yield


def pieces(url: str, whole: bool) -> None:
    """Each of two appends its two lines to one report."""

    def writer(name: str) -> Callable[[], Iterator[None]]:
        def agent() -> Iterator[None]:
            client = redis.Redis.from_url(url)
            if whole:
                client.rpush("report", f"{name}: the question", f"{name}: the answer")
                yield
                yield
            else:
                client.rpush("report", f"{name}: the question")
                yield
                client.rpush("report", f"{name}: the answer")
                yield

        return agent

    play("ABAB", A=writer("A"), B=writer("B"))


def unread(url: str, looks: bool) -> None:
    """A writes; B writes over it, without a look."""

    def a() -> Iterator[None]:
        redis.Redis.from_url(url).set("plan", "what A worked out in an hour of thought")
        yield

    def b() -> Iterator[None]:
        client = redis.Redis.from_url(url)
        if looks:
            client.get("plan")
        client.set("plan", "what B worked out in an hour of thought")
        yield

    play("AB", A=a, B=b)


def lease(url: str, seconds: float) -> None:
    """A takes a lock and thinks for longer than it is good for; B takes it meanwhile."""

    def agent(thinks_s: float, name: str) -> Callable[[], Iterator[None]]:
        def act() -> Iterator[None]:
            client = redis.Redis.from_url(url)
            lock = client.lock("plan-lock", timeout=seconds, thread_local=False)
            lock.acquire()
            yield
            time.sleep(thinks_s)
            client.set("plan", f"the plan that {name} made under the lock")
            with suppress(redis.exceptions.LockError):  # it was too late
                lock.release()
            yield

        return act

    play("AABB" if seconds > 1 else "ABBA", A=agent(0, "A"), B=agent(0, "B"))


def crossed(url: str, orderly: bool) -> None:
    """Two agents take two locks, in opposite orders."""
    both = threading.Barrier(2)

    def agent(*names: str) -> None:
        first, second = (redis.Redis.from_url(url).lock(name, timeout=30, thread_local=False) for name in names)
        first.acquire()
        if not orderly:
            both.wait(TIMEOUT_S)
        if second.acquire(blocking_timeout=PATIENCE_S):
            second.release()
        if not orderly:
            both.wait(TIMEOUT_S)
        first.release()

    orders = (("stock", "orders"), ("stock", "orders") if orderly else ("orders", "stock"))
    threads = [threading.Thread(target=agent, args=names) for names in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)


def foreign(url: str, alone: bool) -> None:
    """Somebody who is not instrumented changes it, and A reads that."""
    client = redis.Redis.from_url(url)
    client.set("plan", "what A worked out in an hour of thought")
    if not alone:
        with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0)) as raw:
            raw.sendall(b"SET plan somebody-elses-idea-of-a-plan\r\n")
            raw.recv(100)
    client.get("plan")


def told_of(url: str, looks_again: bool) -> None:
    """A looks at the plan and thinks; B changes it; A orders what it had decided."""

    def a() -> Iterator[None]:
        client = redis.Redis.from_url(url)
        client.get("plan")
        yield
        if looks_again:
            client.get("plan")
        client.xadd("orders", {"text": "two for the morning"})
        yield

    play("ABA", A=a, B=lambda: changed(url))


def too_long(url: str, size: int) -> None:
    """A text that is declared to be no longer than thirty letters grows."""
    client = redis.Redis.from_url(url)
    for number in range(size):
        client.set("shift", "x" * (number + 1) * 10)


STORIES: dict[str, Callable[[str], None]] = {
    "lost_update": lambda url: both_write(url, watched=False),
    "lost_update-safe": lambda url: both_write(url, watched=True),
    "stale_write": lambda url: told_from_an_old_look(url, looks_again=False),
    "stale_write-safe": lambda url: told_from_an_old_look(url, looks_again=True),
    "interleaved_writes": lambda url: pieces(url, whole=False),
    "interleaved_writes-safe": lambda url: pieces(url, whole=True),
    "blind_overwrite": lambda url: unread(url, looks=False),
    "blind_overwrite-safe": lambda url: unread(url, looks=True),
    "lock_violation": lambda url: lease(url, SHORT_S),
    "lock_violation-safe": lambda url: lease(url, 30),
    "deadlock": lambda url: crossed(url, orderly=False),
    "deadlock-safe": lambda url: crossed(url, orderly=True),
    "unknown_writer": lambda url: foreign(url, alone=False),
    "unknown_writer-safe": lambda url: foreign(url, alone=True),
    "garbage_read": lambda url: foreign(url, alone=False),  # where it is declared that all writers are captured
    "garbage_read-safe": lambda url: foreign(url, alone=True),
    "check_then_act": lambda url: told_of(url, looks_again=False),
    "check_then_act-safe": lambda url: told_of(url, looks_again=True),
    "invariant_violation": lambda url: too_long(url, 4),
    "invariant_violation-safe": lambda url: too_long(url, 3),
}

if __name__ == "__main__":
    STORIES[sys.argv[1]](sys.argv[2])
