"""Google Pub/Sub: messages published to topics, received from subscriptions, acknowledged and given back.

The service names each message, and a publisher learns the name with the answer to its batch: a publish is one access
from its call to that answer, whoever waits for it. A subscriber knows its subscription and not the topic, so the name
alone joins the two; a subscription is the group. What a streaming pull hands to a callback is received by the thread
that runs the callback, just before it does, and settled by the message's own methods, which only ask for it.

A subscription counts attempts only where it has a dead-letter policy; elsewhere a message that this process has seen
before is told as received again, and any other as partial, since another process may have had it. More time for a
message is no access; a deadline of nothing gives it back. Content, attributes and acknowledgement ids are never kept.

Source: google/cloud/pubsub_v1 (2.44), google/pubsub_v1/services; capture.md section 4.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.queues.messages import UNTOLD, Queue
from noclobber.resources import quoted
from noclobber.stores.wrapping import Hook, Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "google-cloud-pubsub"
SYSTEM: Final = "gcp_pubsub"
KNOWN_MAX: Final = 20_000
"""Messages and acknowledgement ids that are remembered."""
_wrapping = Wrapping(LIBRARY)


class _Known:
    """What was received lately; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def put(self, where: str, name: str, value: str) -> bool:
        """Remember `value`; whether there was one before."""
        with self._lock:
            before = self._kept.pop((where, name), None)
            self._kept[where, name] = value
            if len(self._kept) > KNOWN_MAX:
                self._kept.popitem(last=False)
        return before is not None

    def get(self, where: str, name: str) -> str | None:
        """What was remembered."""
        with self._lock:
            return self._kept.get((where, name))


_seen, _pulled = _Known(), _Known()
"""Messages by subscription and name; names of messages by subscription and acknowledgement id."""


def install(_library: ModuleType) -> None:
    """Wrap the publisher, the subscriber's callbacks and messages, and the plain calls of both kinds."""
    with knowing(LIBRARY):
        from google.cloud.pubsub_v1.publisher.client import Client
        from google.cloud.pubsub_v1.subscriber._protocol.streaming_pull_manager import StreamingPullManager
        from google.cloud.pubsub_v1.subscriber.message import Message
        from google.pubsub_v1.services.publisher import PublisherAsyncClient
        from google.pubsub_v1.services.subscriber import SubscriberAsyncClient, SubscriberClient

        hooks: list[Hook] = [
            (Client, "publish", _publishing),
            (PublisherAsyncClient, "publish", _after_async(_published)),
            (StreamingPullManager, "open", _opening),
            (Message, "modify_ack_deadline", _settling(Op.NACK, with_deadline=True)),
            (Message, "modify_ack_deadline_with_response", _settling(Op.NACK, with_deadline=True)),
        ]
        for name, op in (("ack", Op.ACK), ("nack", Op.NACK)):
            hooks += [(Message, each, _settling(op)) for each in (name, f"{name}_with_response")]
        for name, note in (("pull", _got), ("acknowledge", _acked), ("modify_ack_deadline", _postponed)):
            hooks += [(SubscriberClient, name, _after(note)), (SubscriberAsyncClient, name, _after_async(note))]
        _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


@dataclass(frozen=True, slots=True)
class _Fact:
    """One message: what was done, where (the service's own path), its name, how it ended."""

    op: Op
    place: str
    message: str | None
    outcome: Outcome = Outcome.OK
    delivery: int | None = None
    key: str = ""

    def access(self) -> Access:
        resource = "pubsub://" + "/".join(quoted(each) for each in self.place.split("/") if each != "projects")
        queue = Queue(resource, SYSTEM, resource)
        unsure = self.message is None or (self.op is Op.RECEIVE and self.delivery is None)
        return queue.access(
            self.op, self.message or UNTOLD, self.outcome, delivery=self.delivery, partial=unsure, key=self.key or None
        )


def _build(call: Call) -> Sequence[Access]:
    facts: list[_Fact] = call.facts
    return [each.access() for each in facts]


def _tell(facts: list[_Fact], start_ns: int, error: BaseException | None = None) -> None:
    active = recorder.active()
    if active is not None and facts and not strands.current().suppressed:
        call = active.begin(LIBRARY, len(facts))
        call.start_ns, call.error = start_ns, error
        active.end(call, _build, facts)


# -- publishing ----------------------------------------------------------------------------------------------------


def _publishing(original: Any) -> Any:
    def publish(self: Any, topic: Any, *args: Any, **kwargs: Any) -> Any:
        call, strand = None, strands.current()
        with GUARD:
            active = recorder.active()
            if active is not None and not strand.suppressed:
                call = active.begin(LIBRARY)
        strand.suppressed += 1  # the thread that sends the batch is part of this
        try:
            future = original(self, topic, *args, **kwargs)
        except BaseException as error:
            if call is not None:
                _ended(call, str(topic), None, error, Outcome.ERROR)
            raise
        finally:
            strand.suppressed -= 1
        if call is not None:
            with GUARD:
                future.add_done_callback(_reporting(call, str(topic)))
        return future

    return publish


def _reporting(call: Call, topic: str) -> Callable[[Any], None]:
    def report(future: Any) -> None:
        with GUARD:
            error = None if future.cancelled() else future.exception()
            unsure = error is not None or future.cancelled()
            _ended(call, topic, None if unsure else future.result(), error, Outcome.UNKNOWN if unsure else Outcome.OK)

    return report


def _ended(call: Call, topic: str, message: str | None, error: BaseException | None, outcome: Outcome) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None:
            call.error = error
            active.end(call, _build, [_Fact(Op.SEND, topic, message, outcome)])


# -- callbacks -----------------------------------------------------------------------------------------------------


def _opening(original: Any) -> Any:
    def open_(self: Any, callback: Any, *args: Any, **kwargs: Any) -> Any:
        handed = callback
        with GUARD:
            handed = _handling(str(self._subscription), callback)
        return original(self, handed, *args, **kwargs)

    return open_


def _handling(subscription: str, callback: Any) -> Any:
    def handle(message: Any) -> Any:
        with GUARD:
            message._noclobber_subscription = subscription
            fact = _receipt(subscription, message.message_id, message.delivery_attempt, message.ordering_key)
            _tell([fact], recorder.now_ns())
        return callback(message)

    return handle


def _receipt(subscription: str, message: str, attempt: int | None, key: str) -> _Fact:
    again = _seen.put(subscription, message, "")
    return _Fact(Op.RECEIVE, subscription, message, delivery=attempt or (2 if again else None), key=key)


def _settling(op: Op, *, with_deadline: bool = False) -> Any:
    def make(original: Any) -> Any:
        def settle(self: Any, *args: Any, **kwargs: Any) -> Any:
            start_ns = recorder.now_ns()
            strand = strands.current()
            strand.suppressed += 1  # one of these methods calls another
            try:
                answer = original(self, *args, **kwargs)
            finally:
                strand.suppressed -= 1
            with GUARD:
                subscription = self.__dict__.get("_noclobber_subscription")
                seconds = args[0] if args else kwargs.get("seconds")
                if subscription is not None and (not with_deadline or seconds == 0):
                    _tell([_Fact(op, subscription, self.message_id)], start_ns)
            return answer

        return settle

    return make


# -- plain calls ---------------------------------------------------------------------------------------------------

Note = Callable[[Callable[[str], Any], Any, BaseException | None], list[_Fact]]
"""What gives an argument by its name, the reply, what was raised: the messages."""


def _after(note: Note) -> Any:
    def make(original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            start_ns = recorder.now_ns()
            try:
                reply = original(self, *args, **kwargs)
            except BaseException as error:
                _noted(note, (args, kwargs), None, error, start_ns)
                raise
            _noted(note, (args, kwargs), reply, None, start_ns)
            return reply

        return method

    return make


def _after_async(note: Note) -> Any:
    def make(original: Any) -> Any:
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            start_ns = recorder.now_ns()
            try:
                reply = await original(self, *args, **kwargs)
            except BaseException as error:
                _noted(note, (args, kwargs), None, error, start_ns)
                raise
            _noted(note, (args, kwargs), reply, None, start_ns)
            return reply

        return method

    return make


def _noted(note: Note, asked: tuple[Any, Any], reply: Any, error: BaseException | None, start_ns: int) -> None:
    with GUARD:
        args, kwargs = asked
        request = args[0] if args else kwargs.get("request")

        def given(name: str) -> Any:
            found = request.get(name) if isinstance(request, dict) else getattr(request, name, None)
            return kwargs.get(name) if request is None else found

        _tell(note(given, reply, error), start_ns, error)


def _published(given: Callable[[str], Any], reply: Any, error: BaseException | None) -> list[_Fact]:
    topic = str(given("topic"))
    if error is not None:
        return [_Fact(Op.SEND, topic, None, Outcome.UNKNOWN) for _ in given("messages") or ()]
    return [_Fact(Op.SEND, topic, each) for each in reply.message_ids]


def _got(given: Callable[[str], Any], reply: Any, error: BaseException | None) -> list[_Fact]:
    if error is not None:
        return []
    subscription, facts = str(given("subscription")), []
    for each in reply.received_messages:
        name = each.message.message_id
        _pulled.put(subscription, each.ack_id, name)
        facts.append(_receipt(subscription, name, each.delivery_attempt or None, each.message.ordering_key))
    return facts


def _acked(given: Callable[[str], Any], _reply: Any, error: BaseException | None, op: Op = Op.ACK) -> list[_Fact]:
    """What was pulled by this process; a streaming pull settles its own, and so does another process."""
    subscription = str(given("subscription"))
    names = [_pulled.get(subscription, each) for each in given("ack_ids") or ()]
    outcome = Outcome.OK if error is None else Outcome.UNKNOWN
    return [_Fact(op, subscription, name, outcome) for name in names if name is not None]


def _postponed(given: Callable[[str], Any], reply: Any, error: BaseException | None) -> list[_Fact]:
    return _acked(given, reply, error, Op.NACK) if given("ack_deadline_seconds") == 0 else []


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
