"""pika: blocking channels and those of its asynchronous connections.

Publishing is seen on the blocking channel, whose confirms say whether the broker took it, and below it on the plain
one, which says nothing. A delivery is noted when the program gets it: at the call of its callback (which is a step of
its own), at a turn of `consume`, at the return of `basic_get`. Callbacks are wrapped when they are given, so consumers
that were there before are not seen.

Not reached: `basic_get` of asynchronous channels, transactions (`tx_select`).

Source: pika/channel.py, pika/adapters/blocking_connection.py; what it means is in `amqp`.
"""

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, scope
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op
from noclobber.guard import GUARD
from noclobber.queues import amqp
from noclobber.resources import quoted
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pika"
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap both kinds of channels."""
    from pika.adapters.blocking_connection import BlockingChannel
    from pika.channel import Channel

    hooks: list[Hook] = [
        (BlockingChannel, "basic_publish", _publishing),
        (BlockingChannel, "basic_get", _getting),
        (BlockingChannel, "consume", _iterating),
        (BlockingChannel, "basic_consume", _consuming),
        (Channel, "basic_publish", _publishing),
        (Channel, "basic_consume", _consuming),
        (Channel, "basic_ack", _settling(Op.ACK, "multiple")),
        (Channel, "basic_nack", _settling(Op.NACK, "multiple")),
        (Channel, "basic_reject", _settling(Op.NACK, None)),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _plain(channel: Any) -> Any:
    """The channel of the connection below a blocking one."""
    return getattr(channel, "_impl", channel)


def _where(channel: Any) -> tuple[str, str]:
    parameters = _plain(channel).connection.params
    return amqp.place(parameters.host, parameters.port, parameters.virtual_host), parameters.virtual_host


def _publishing(original: Any) -> Any:
    def basic_publish(
        self: Any, exchange: Any, routing_key: Any, body: Any, properties: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        call = None
        with GUARD:
            call = amqp.begin_send(LIBRARY)
        if call is None:
            return original(self, exchange, routing_key, body, properties, *args, **kwargs)

        def end(error: BaseException | None) -> None:
            with GUARD:
                where, vhost = _where(self)
                message = amqp.Message.of(vhost, getattr(properties, "message_id", None), routing_key, body)
                amqp.end_send(call, amqp.destination(where, str(exchange), str(routing_key)), message, error)

        try:
            answer = original(self, exchange, routing_key, body, properties, *args, **kwargs)
        except BaseException as error:
            end(error)
            raise
        end(None)
        return answer

    return basic_publish


def _note(
    channel: Any, queue: str, method: Any, properties: Any, body: Any, *, settles: bool, start_ns: int = 0
) -> None:
    with GUARD:
        where, vhost = _where(channel)
        message = amqp.Message.of(vhost, properties.message_id, method.routing_key, body)
        name = where + quoted(queue or getattr(method, "consumer_tag", ""))
        delivery = amqp.Delivery(
            name, message, method.delivery_tag, bool(method.redelivered), properties.headers, settles
        )
        amqp.receive(LIBRARY, _plain(channel), delivery, start_ns)


def _getting(original: Any) -> Any:
    def basic_get(self: Any, queue: Any, auto_ack: Any = False) -> Any:
        start_ns = recorder.now_ns()
        answer = original(self, queue, auto_ack)
        if answer[0] is not None:
            _note(self, queue, *answer, settles=not auto_ack, start_ns=start_ns)
        return answer

    return basic_get


def _iterating(original: Any) -> Any:
    def consume(self: Any, queue: Any, auto_ack: Any = False, *args: Any, **kwargs: Any) -> Iterator[Any]:
        turns = original(self, queue, auto_ack, *args, **kwargs)
        try:
            for turn in turns:
                if turn[0] is not None:
                    _note(self, queue, *turn, settles=not auto_ack)
                yield turn
        finally:
            turns.close()

    return consume


def _consuming(original: Any) -> Any:
    def basic_consume(
        self: Any, queue: Any, on_message_callback: Any, auto_ack: Any = False, *args: Any, **kw: Any
    ) -> Any:
        wrapped = on_message_callback
        with GUARD:
            wrapped = _handling(on_message_callback, queue, settles=not auto_ack)
        return original(self, queue, wrapped, auto_ack, *args, **kw)

    return basic_consume


def _handling(callback: Any, queue: str, *, settles: bool) -> Callable[..., Any]:
    """`callback` that notes what it gets; not where it is the blocking channel's own, which only passes on."""
    from pika.adapters.blocking_connection import BlockingChannel

    if isinstance(getattr(callback, "__self__", None), BlockingChannel) or not callable(callback):
        return callback  # type: ignore[no-any-return]  # the library will refuse what can't be called

    def handle(channel: Any, method: Any, properties: Any, body: Any) -> Any:
        if recorder.active() is None:
            return callback(channel, method, properties, body)
        with scope.entered(step=f"{queue} {method.delivery_tag}"):
            _note(channel, queue, method, properties, body, settles=settles)
            return callback(channel, method, properties, body)

    return functools.wraps(callback)(handle) if hasattr(callback, "__name__") else handle


def _settling(op: Op, multiple_name: str | None) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        def settle(self: Any, delivery_tag: Any = 0, *args: Any, **kwargs: Any) -> Any:
            settling = None
            with GUARD:
                multiple = bool(multiple_name and (args[0] if args else kwargs.get(multiple_name, False)))
                settling = amqp.begin_settle(LIBRARY, self, delivery_tag, op, multiple=multiple)
            if settling is None:
                return original(self, delivery_tag, *args, **kwargs)
            try:
                answer = original(self, delivery_tag, *args, **kwargs)
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
