"""RabbitMQ's messages, as every client library of AMQP 0-9-1 sees them: names, deliveries, and what an `ack` covers.

A message is named by its property `message_id`; one without is named by a print of routing key and content, and is
partial: a second one that is equal has the same name, so whether it is a redelivery is not told of it. Nothing is
added to a message. Claims compare inside one queue, since an exchange may copy one message to several.

A delivery tag counts a channel's deliveries; an acknowledgement that covers `multiple` ones is one access for each. A
message that is rejected for good, or to a dead-letter queue, is given back as well: it is nobody's here any more.

Source: AMQP 0-9-1 (basic); RabbitMQ documentation (consumers, quorum queues); capture.md section 4.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import recorder
from noclobber.access import Access, Call
from noclobber.contract import Op, Outcome
from noclobber.queues.messages import Queue, message_id, print_of
from noclobber.resources import authority, quoted
from noclobber.versions import encode

__all__ = [
    "Delivery", "Message", "begin_send", "begin_settle", "destination", "end_send", "end_settle", "place", "receive",
]  # fmt: skip

SYSTEM: Final = "rabbitmq"
DEFAULT_PORT: Final = 5672
UNSETTLED_MAX: Final = 10_000
"""Deliveries of one channel that are remembered until they are acknowledged."""
NOT_SENT: Final = frozenset(
    {"UnroutableError", "NackError", "PublishError", "DeliveryError", "ChannelWrongStateError", "TypeError",
     "ConnectionWrongStateError", "ChannelInvalidStateError", "ValueError", "AttributeError", "AssertionError"}
)  # fmt: skip
"""Errors that say that the broker has not taken the message."""

_unsettled: WeakKeyDictionary[Any, OrderedDict[int, tuple[str, "Message"]]] = WeakKeyDictionary()
"""Channel -> delivery tag -> queue and message."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is known of a message; its content only as a print."""

    name: str
    unnamed: bool

    @classmethod
    def of(cls, vhost: str, id_: Any, routing_key: Any, body: Any) -> "Message":
        """The message with the property `id_`, or without one."""
        if id_:
            return cls(message_id(str(id_), vhost), unnamed=False)
        return cls(print_of(encode(routing_key), encode(body)), unnamed=True)


def place(host: str | None, port: int | None, vhost: str) -> str:
    """Where queues are, with a slash at the end."""
    return f"amqp://{authority(host, port, DEFAULT_PORT)}/{quoted(vhost)}/"


# -- sends ---------------------------------------------------------------------------------------------------------


def begin_send(library: str) -> Call | None:
    """Note that a message is published; calls inside this one are part of it."""
    active = recorder.recording()
    if active is None:
        return None
    call = active.begin(library)
    call.strand.suppressed += 1
    return call


def destination(where: str, exchange: str, routing_key: str) -> str:
    """The URI of what is published to: the queue that the default exchange names, else the exchange."""
    return where + (f"exchange/{quoted(exchange)}" if exchange else quoted(routing_key))


def end_send(
    call: Call, resource: str, message: Message, error: BaseException | None, *, returned: bool = False
) -> None:
    """Note how that ended; `returned`: nobody was there to take it."""
    call.strand.suppressed -= 1
    active = recorder.active()
    if active is not None:
        call.error = error
        outcome = Outcome.NO_EFFECT if returned else _outcome(error)
        active.end(call, _build, [(Op.SEND, resource, message, outcome, None, True)])


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.OK
    return Outcome.ERROR if type(error).__name__ in NOT_SENT else Outcome.UNKNOWN


# -- receipts and what becomes of them -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery, as the program gets it.

    Attributes:
        queue: its URI. message: what was delivered.
        tag: by which it will be acknowledged on its channel, if it `settles`.
        redelivered, headers: what the broker says of earlier deliveries.
    """

    queue: str
    message: Message
    tag: int
    redelivered: bool
    headers: Any
    settles: bool

    @property
    def number(self) -> int | None:
        """Which delivery of the message it is, as far as the broker says and the message can be told."""
        if self.message.unnamed:
            return None
        counted = self.headers.get("x-delivery-count") if isinstance(self.headers, dict) else None
        if isinstance(counted, int) and counted > 0:
            return counted + 1
        return 2 if self.redelivered else 1


def receive(library: str, channel: Any, delivery: Delivery, start_ns: int = 0) -> None:
    """Note a delivery that the program is about to get; it was asked for at `start_ns`, or came by itself."""
    active = recorder.recording()
    if active is None:
        return
    if delivery.settles:
        of_channel = _unsettled.setdefault(channel, OrderedDict())
        of_channel[delivery.tag] = (delivery.queue, delivery.message)
        if len(of_channel) > UNSETTLED_MAX:
            of_channel.popitem(last=False)
    call = active.begin(library)
    call.start_ns = start_ns or call.start_ns
    held = True if delivery.settles else None
    active.end(call, _build, [(Op.RECEIVE, delivery.queue, delivery.message, Outcome.OK, delivery.number, held)])


Settling = tuple[Call, list[tuple[str, Message]], Op]


def begin_settle(library: str, channel: Any, tag: int, op: Op, *, multiple: bool) -> Settling | None:
    """Note that a delivery, or all up to it, is acknowledged or given back; None where none is known."""
    active = recorder.recording()
    of_channel = _unsettled.get(channel)
    if active is None or not of_channel:
        return None
    tags = [each for each in of_channel if not tag or each <= tag] if multiple else [tag]
    found = [of_channel.pop(each) for each in tags if each in of_channel]
    if not found:
        return None
    call = active.begin(library, len(found))
    call.strand.suppressed += 1
    return call, found, op


def end_settle(settling: Settling, error: BaseException | None) -> None:
    """Note how that ended."""
    call, found, op = settling
    call.strand.suppressed -= 1
    active = recorder.active()
    if active is not None:
        call.error = error
        outcome = _outcome(error)
        active.end(call, _build, [(op, queue, message, outcome, None, True) for queue, message in found])


def _build(call: Call) -> Sequence[Access]:
    return [
        Queue(resource, SYSTEM, resource).access(
            op, message.name, outcome, delivery=delivery, held=held, partial=message.unnamed
        )
        for op, resource, message, outcome, delivery, held in call.facts
    ]
