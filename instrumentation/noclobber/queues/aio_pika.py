"""aio-pika: publishing, callbacks, iterators over a queue, `get`, and what becomes of a message.

A delivery is noted when the program gets it: at the call of a callback (which is a step of its own), at a turn of an
iterator, at the return of `get`. Callbacks are wrapped when they are given, so consumers that were there before are
not seen. A channel that is restored after a lost connection is another one to the broker; its deliveries are too.

Source: aio_pika/exchange.py, queue.py, message.py; what it means is in `amqp`.
"""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import recorder, scope
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.queues import amqp
from noclobber.resources import quoted
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "aio_pika"
_wrapping = Wrapping(LIBRARY)
_places: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()


def install(_library: ModuleType) -> None:
    """Wrap exchanges, queues, iterators and messages."""
    from aio_pika.exchange import Exchange
    from aio_pika.message import IncomingMessage
    from aio_pika.queue import Queue, QueueIterator
    from aio_pika.robust_queue import RobustQueueIterator

    hooks: list[Hook] = [
        (Exchange, "publish", _publishing),
        (Queue, "consume", _consuming),
        (Queue, "get", _getting),
        (QueueIterator, "__anext__", _iterating),
        (IncomingMessage, "ack", _settling(Op.ACK, "multiple")),
        (IncomingMessage, "nack", _settling(Op.NACK, "multiple")),
        (IncomingMessage, "reject", _settling(Op.NACK, None)),
    ]
    if "__anext__" in vars(RobustQueueIterator):  # since 9.5
        hooks.append((RobustQueueIterator, "__anext__", _iterating))
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _where(channel: Any) -> tuple[str, str]:
    """Place and virtual host of a channel's connection."""
    found = _places.get(channel)
    if found is None:
        url = channel._connection.url
        vhost = url.path[1:] or "/"
        found = _places[channel] = amqp.place(url.host, url.port, vhost), vhost
    return found


def _publishing(original: Any) -> Any:
    async def publish(self: Any, message: Any, routing_key: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        with GUARD:
            call = amqp.begin_send(LIBRARY)
        if call is None:
            return await original(self, message, routing_key, *args, **kwargs)

        def end(answer: Any, error: BaseException | None) -> None:
            with GUARD:
                where, vhost = _where(self.channel)
                found = amqp.Message.of(vhost, message.message_id, routing_key, message.body)
                returned = type(answer).__name__ == "DeliveredMessage"
                resource = amqp.destination(where, self.name, str(routing_key))
                amqp.end_send(call, resource, found, error, returned=returned)

        try:
            answer = await original(self, message, routing_key, *args, **kwargs)
        except BaseException as error:
            end(None, error)
            raise
        end(answer, None)
        return answer

    return publish


def _note(queue: Any, message: Any, *, settles: bool, start_ns: int = 0) -> None:
    with GUARD:
        where, vhost = _where(queue.channel)
        found = amqp.Message.of(vhost, message.message_id, message.routing_key, message.body)
        delivery = amqp.Delivery(
            where + quoted(queue.name), found, message.delivery_tag, bool(message.redelivered), message.headers, settles
        )
        amqp.receive(LIBRARY, message._IncomingMessage__channel, delivery, start_ns)


def _getting(original: Any) -> Any:
    async def get(self: Any, *args: Any, **kwargs: Any) -> Any:
        start_ns = recorder.now_ns()
        message = await original(self, *args, **kwargs)
        if message is not None:
            _note(self, message, settles=not kwargs.get("no_ack", False), start_ns=start_ns)
        return message

    return get


def _iterating(original: Any) -> Any:
    async def anext_(self: Any) -> Any:
        message = await original(self)
        _note(self._amqp_queue, message, settles=not self._consume_kwargs.get("no_ack", False))
        return message

    return anext_


def _consuming(original: Any) -> Any:
    async def consume(self: Any, callback: Any, no_ack: Any = False, *args: Any, **kwargs: Any) -> Any:
        wrapped = callback
        with GUARD:
            wrapped = _handling(self, callback, settles=not no_ack)
        return await original(self, wrapped, no_ack, *args, **kwargs)

    return consume


def _handling(queue: Any, callback: Any, *, settles: bool) -> Any:
    """`callback` that notes what it gets; not where it is an iterator's own, which only passes on."""
    from aio_pika.queue import QueueIterator

    if isinstance(getattr(callback, "__self__", None), QueueIterator) or not callable(callback):
        return callback

    async def handle(message: Any) -> Any:
        if recorder.active() is None:
            return await callback(message)
        with scope.entered(step=f"{queue.name} {message.delivery_tag}"):
            _note(queue, message, settles=settles)
            return await callback(message)

    def handle_plain(message: Any) -> Any:
        _note(queue, message, settles=settles)
        return callback(message)

    wrapper: Callable[[Any], Any] = handle if inspect.iscoroutinefunction(callback) else handle_plain
    return functools.wraps(callback)(wrapper) if hasattr(callback, "__name__") else wrapper


def _settling(op: Op, multiple_name: str | None) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        async def settle(self: Any, *args: Any, **kwargs: Any) -> Any:
            settling = None
            with GUARD:
                multiple = bool(multiple_name and (args[0] if args else kwargs.get(multiple_name, False)))
                if not self.processed:
                    channel = self._IncomingMessage__channel
                    settling = amqp.begin_settle(LIBRARY, channel, self.delivery_tag, op, multiple=multiple)
            if settling is None:
                return await original(self, *args, **kwargs)
            try:
                answer = await original(self, *args, **kwargs)
            except BaseException as error:
                with GUARD:
                    amqp.end_settle(settling, error)
                raise
            with GUARD:
                amqp.end_settle(settling, None)
            return answer

        return settle

    return make


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
