"""Redis pub/sub: messages published, and received by each subscriber, so that what follows is known to come after.

A message has no id, so its name is a print of channel and content, and its spans are partial: where two that are equal
were published nobody knows which was received. Nothing is handed out to one subscriber instead of another, nothing is
handed out again, and nothing is acknowledged; so a receipt is compared with no other, and is nothing that its strand
has in hand. A channel belongs to a server, not to one of its databases.

A receipt is noted when the client makes a message of what came, which is before a handler or the caller has it.

Source: Redis documentation (pub/sub); redis-py `PubSub.handle_message`; capture.md section 4.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.queues.messages import Queue, print_of
from noclobber.resources import quoted
from noclobber.stores.redis_place import home_of, place_of
from noclobber.stores.wrapping import Hook, Wrapping
from noclobber.versions import encode

if TYPE_CHECKING:
    from noclobber.stores.redis_commands import Command

__all__ = ["install", "publish", "uninstall"]

LIBRARY: Final = "redis"
SYSTEM: Final = "redis"
_CHANNEL_AT: Final = {b"message": 1, b"smessage": 1, b"pmessage": 2}
"""Where the channel stands in what the server sends, by its kind; the content comes next."""

_wrapping = Wrapping(LIBRARY)


def install() -> None:
    """Wrap what makes messages of the server's words, sync and asyncio."""
    import redis.asyncio.client
    import redis.client

    hooks: list[Hook] = [
        (redis.client.PubSub, "handle_message", _sync),
        (redis.asyncio.client.PubSub, "handle_message", _async),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def publish(command: "Command") -> list[Access]:
    """PUBLISH and SPUBLISH; the reply, how many got it, says nothing about those who are not connected here."""
    channel, content = (encode(word) for word in command.words[1:3])
    return [_queue(command.place, channel).access(Op.SEND, print_of(channel, content), partial=True)]


def _queue(place: str, channel: bytes, group: str | None = None) -> Queue:
    server = place.rstrip("/").rpartition("/")[0]
    return Queue(f"{server}/channel/{quoted(channel.decode('utf-8', 'backslashreplace'))}", SYSTEM, group)


def _note(pubsub: Any, response: Any) -> None:
    with GUARD:
        active = recorder.recording()
        if active is None or not isinstance(response, list | tuple):
            return
        at = _CHANNEL_AT.get(encode(response[0]))
        if at is None:
            return
        call = active.begin(LIBRARY)
        place = place_of(home_of(pubsub))
        channel, content = encode(place.raw(response[at])), encode(place.raw(response[at + 1]))
        active.end(call, _build, (place, channel, print_of(channel, content)))


def _build(call: Call) -> Sequence[Access]:
    place, channel, message = call.facts
    queue = _queue(place.uri, channel, f"subscriber {call.strand.id}.{call.seq}")
    return [queue.access(Op.RECEIVE, message, held=False, partial=True)]


def _sync(original: Any) -> Any:
    def handle_message(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        _note(self, response)
        return original(self, response, *args, **kwargs)

    return handle_message


def _async(original: Any) -> Any:
    async def handle_message(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        _note(self, response)
        return await original(self, response, *args, **kwargs)

    return handle_message
