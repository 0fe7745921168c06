"""Messages that workers of a Redis stream lose, or do twice; nothing here knows of noclobber.

Arguments: the story, and where the server is.
"""

import sys
from collections.abc import Callable, Iterator

import redis
from turns import play

ORDERS = ("book the morning", "book the night")


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, protocol=3)


def _taken(client: redis.Redis, count: int = 1) -> list[tuple[str, dict[str, str]]]:
    """The next messages of the group."""
    got = client.xreadgroup("desk", "worker", {"orders": ">"}, count=count)
    return [message for messages in got.values() for part in messages for message in part]


def sends(url: str, count: int) -> Callable[[], Iterator[None]]:
    """An agent that gives orders."""

    def a() -> Iterator[None]:
        client = _client(url)
        client.set("plan", "a text, though the worker takes it for a hash")
        client.xgroup_create("orders", "desk", id="0", mkstream=True)
        for text in ORDERS[:count]:
            client.xadd("orders", {"text": text})
        yield

    return a


def acknowledged_in_vain(url: str, careful: bool) -> None:
    """What a worker does for an order fails, and it says that it has done it."""

    def b() -> Iterator[None]:
        client = _client(url)
        for name, message in _taken(client, 2):
            try:
                client.hset("plan", "as of now", message["text"])
            except redis.ResponseError:  # it is no hash
                if careful:
                    continue  # left pending: somebody will look at it
            client.xack("orders", "desk", name)
        yield

    play("AB", A=sends(url, 1), B=b)


def taken_over(url: str, patience_ms: int) -> None:
    """A worker takes long; another takes its order over, and both carry it out."""

    def slow() -> Iterator[None]:
        client = _client(url)
        ((name, message),) = _taken(client)
        yield
        _carry_out(client, name, message["text"])
        yield

    def impatient() -> Iterator[None]:
        client = _client(url)
        for name, message in client.xautoclaim("orders", "desk", "heir", patience_ms)[1]:
            _carry_out(client, name, message["text"])
        yield

    play("ABCB", A=sends(url, 1), B=slow, C=impatient)


def _carry_out(client: redis.Redis, name: str, text: str) -> None:
    client.append("done", f"{text}; ")
    client.xack("orders", "desk", name)


STORIES: dict[str, Callable[[str], None]] = {
    "duplicate_delivery": lambda url: taken_over(url, patience_ms=0),
    "duplicate_delivery-safe": lambda url: taken_over(url, patience_ms=60_000),
    "lost_message": lambda url: acknowledged_in_vain(url, careful=False),
    "lost_message-safe": lambda url: acknowledged_in_vain(url, careful=True),
}

if __name__ == "__main__":
    STORIES[sys.argv[1]](sys.argv[2])
