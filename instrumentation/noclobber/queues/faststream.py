"""FastStream: which handler acts, for what message; its messages are those of the broker's own client.

FastStream stands on aio-pika, aiokafka, confluent-kafka, nats-py and redis-py, whose integrations see each message.
What is added here is who handles it: the handler is the agent, the correlation id (which FastStream carries from a
message to those that are published for it) the run, and one message handled the step. Where a client's callbacks are
steps already (aio-pika, nats-py), they stay the steps, and no run is told. A message that its subscriber handles where
it received it is worked on there; with `max_workers` above 1 another task handles it, and its work is not linked.

Source: faststream/_internal/endpoint/subscriber/call_item.py of FastStream 0.6, 0.7.
"""

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, scope
from noclobber.bootstrap.registry import Integration
from noclobber.guard import GUARD
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "faststream"
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap what calls a handler."""
    with knowing(LIBRARY):
        from faststream._internal.endpoint.subscriber.call_item import HandlerItem

        _wrapping.wrap([(HandlerItem, "call", _calling)])


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _who(item: Any, message: Any) -> tuple[str, str, str] | None:
    """Agent, run and step."""
    with GUARD:
        if recorder.active() is not None and message is not None:
            name = str(item.name)
            return name, str(message.correlation_id), f"{name} {message.message_id}"
    return None


@contextlib.contextmanager
def _acting(agent: str, run: str, step: str) -> Iterator[None]:
    """As the handler; where the client's callback is a step of its own, in that one: its message is in hand there."""
    around = scope.current()
    if around is not None and around.step is not None:
        with scope.entered(agent=agent):
            yield
    else:
        with scope.entered(agent=agent, run=run), scope.entered(step=step):
            yield


def _calling(original: Any) -> Any:
    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        who = _who(self, kwargs.get("message", args[0] if args else None))
        if who is None:
            return await original(self, *args, **kwargs)
        with _acting(*who):
            return await original(self, *args, **kwargs)

    return call


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
