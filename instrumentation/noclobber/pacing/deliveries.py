"""Deliveries under chaos: acknowledgements that never arrive, and messages that are handed out again at once.

Both are brought about at the broker, so that what follows is its own doing: an acknowledgement that is lost is simply
not sent, while the program gets the answer that a sent one gets, and the broker hands the message out again as it does
after a crash; a message that comes again has its lease ended right after it was received. Nothing is made up: each
delivery in the record is one that the broker made.

Known are SQS (both) and Redis Streams (lost acknowledgements: there a pending entry is claimed again). The wrappers are
there only while a plan has such rules; they stand above the hooks, so that a lost acknowledgement is in no record.
Each decision is drawn from the seed, the strand's label and the number of the call in it, as holds are.

Source: Amazon SQS, at-least-once delivery and visibility timeout; Redis, XACK and pending entries.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, Protocol

from noclobber import strands
from noclobber.guard import GUARD
from noclobber.queues import sqs
from noclobber.stores.wrapping import Hook, Wrapping
from noclobber.versions import encode

__all__ = ["Decides", "begin", "end"]

_LIBRARIES: Final = ("botocore.client", "redis")
_wrappings: list[Wrapping] = []
_decides: "Decides | None" = None
_registered = False


class Decides(Protocol):
    """Whoever says which deliveries go wrong."""

    def loses(self, resource: str, system: str) -> bool:
        """Whether the acknowledgement that is about to be sent is lost."""

    def repeats(self, resource: str, system: str) -> bool:
        """Whether the message that has just been received is handed out again."""


def begin(decides: Decides) -> None:
    """Ask `decides` at each acknowledgement and receipt from now on; of a library when it is imported."""
    global _decides, _registered  # noqa: PLW0603  one a process
    from wrapt import register_post_import_hook

    if _decides is not None:
        end()
    _decides = decides
    if _registered:
        _wrap_what_is_there()
        return
    _registered = True
    for name in _LIBRARIES:
        register_post_import_hook(_wrap, name)


def end() -> None:
    """Let everything arrive."""
    global _decides  # noqa: PLW0603  one a process
    _decides = None
    for wrapping in _wrappings:
        wrapping.restore()
    _wrappings.clear()


def _wrap_what_is_there() -> None:
    import sys

    for name in _LIBRARIES:
        if name in sys.modules:
            _wrap(sys.modules[name])


def _wrap(library: ModuleType) -> None:
    if _decides is None:
        return
    with GUARD:
        wrapping = Wrapping(f"{library.__name__} deliveries")
        _wrappings.append(wrapping)
        wrapping.wrap(_hooks(library))


def _hooks(library: ModuleType) -> list[Hook]:
    if library.__name__ == "botocore.client":
        return [(library.BaseClient, "_make_api_call", _aws)]
    import redis.asyncio.client
    import redis.client

    return [
        (redis.client.Redis, "execute_command", _redis),
        (redis.asyncio.client.Redis, "execute_command", _redis_async),
    ]


# -- SQS -----------------------------------------------------------------------------------------------------------


def _aws(below: Callable[..., Any]) -> Any:
    @functools.wraps(below)
    def make_api_call(self: Any, operation: str, params: dict[str, Any]) -> Any:
        answer = _lost(self, operation, params) if operation in ("DeleteMessage", "DeleteMessageBatch") else None
        if answer is not None:
            return answer
        reply = below(self, operation, params)
        if operation == "ReceiveMessage":
            _hand_out_again(self, below, params, reply)
        return reply

    return make_api_call


def _lost(client: Any, operation: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The answer to a deletion that is not sent; None: it is."""
    with GUARD:
        queue = sqs.queue_of(client.meta.region_name or "", params["QueueUrl"])
        if _decides is not None and _decides.loses(queue, sqs.SYSTEM):
            answer: dict[str, Any] = {"ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}
            if operation == "DeleteMessageBatch":
                answer["Successful"] = [{"Id": each["Id"]} for each in params["Entries"]]
            return answer
    return None


def _hand_out_again(client: Any, below: Callable[..., Any], params: dict[str, Any], reply: Any) -> None:
    """End the lease of what was received; no access of the program's, whose worker has given nothing back."""
    strand = strands.current()
    with GUARD:
        queue = sqs.queue_of(client.meta.region_name or "", params["QueueUrl"])
        for message in reply.get("Messages") or ():
            if _decides is not None and _decides.repeats(queue, sqs.SYSTEM):
                lease = {"ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                strand.suppressed += 1
                try:
                    below(client, "ChangeMessageVisibility", {"QueueUrl": params["QueueUrl"], **lease})
                finally:
                    strand.suppressed -= 1


# -- Redis Streams -------------------------------------------------------------------------------------------------


def _not_sent(client: Any, args: tuple[Any, ...]) -> int | None:
    """The answer to an XACK that is not sent; None: it is, or it is another command."""
    with GUARD:
        if _decides is None or len(args) < 4 or encode(args[0]).upper() != b"XACK":
            return None
        from noclobber.stores.redis_place import home_of, place_of

        if _decides.loses(place_of(home_of(client)).of(args[1]), "redis"):
            return len(args) - 3
    return None


def _redis(below: Callable[..., Any]) -> Any:
    @functools.wraps(below)
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        answer = _not_sent(self, args)
        return below(self, *args, **options) if answer is None else answer

    return execute_command


def _redis_async(below: Callable[..., Any]) -> Any:
    @functools.wraps(below)
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        answer = _not_sent(self, args)
        return await below(self, *args, **options) if answer is None else answer

    return execute_command
