"""NATS JetStream by nats-py: messages published, fetched, iterated over or given to a callback, and acknowledged.

A message is named by its stream and its number there, which the server tells publisher and consumer; it also counts
deliveries, so no receipt is in doubt. A publish that the server found to be a repetition sent nothing. `nak` gives a
message back, `term` ends it. Callbacks are wrapped when they are given, and each of their calls is a step.

Messages of plain NATS have no identity and are left alone, as are the streams below key-value buckets and object
stores (the buckets' own accesses are in `stores.nats_kv`). Not recorded: `publish_async`.

Source: nats-py, js/client.py, aio/msg.py; NATS documentation (JetStream consumers); capture.md section 4.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

from noclobber import recorder, scope, strands
from noclobber.access import Access, Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Op, Outcome
from noclobber.guard import GUARD
from noclobber.queues.messages import UNTOLD, Queue, message_id
from noclobber.resources import quoted
from noclobber.stores import nats_kv
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "nats"
SYSTEM: Final = "nats"
INNER: Final = ("KV_", "OBJ_")
"""Names of streams that are buckets."""
CALLBACK_AT: Final = 3
"""Where `subscribe_bind` takes its callback, if not by name."""
WRONG_SEQUENCE: Final = frozenset({10071, 10164})
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap the context, subscriptions and messages."""
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription, _SubscriptionMessageIterator

    context = library.JetStreamContext
    hooks: list[Hook] = [
        (context, "publish", _publishing),
        (context, "subscribe_bind", _subscribing),
        (context.PullSubscription, "fetch", _fetching),
        (Subscription, "next_msg", _getting),
        (_SubscriptionMessageIterator, "__anext__", _iterating),
        (Msg, "ack", _settling(Op.ACK)),
        (Msg, "ack_sync", _settling(Op.ACK)),
        (Msg, "nak", _settling(Op.NACK)),
        (Msg, "term", _settling(Op.NACK)),
        *nats_kv.hooks(LIBRARY),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- sends ---------------------------------------------------------------------------------------------------------


def _publishing(original: Any) -> Any:
    async def publish(self: Any, subject: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        with GUARD:
            active = recorder.recording()
            if active is not None:
                call = active.begin(LIBRARY)
        if call is None:
            return await original(self, subject, *args, **kwargs)
        try:
            told = await original(self, subject, *args, **kwargs)
        except BaseException as error:
            _sent(call, str(subject), None, error)
            raise
        _sent(call, str(subject), told, None)
        return told

    return publish


def _sent(call: Call, subject: str, told: Any, error: BaseException | None) -> None:
    with GUARD:
        active = recorder.active()
        if active is None:
            return
        call.error = error
        if told is None:
            fact = (f"nats://{quoted(subject)}", message_id(UNTOLD, subject), _refusal(error), None)
        else:
            outcome = Outcome.NO_EFFECT if told.duplicate else Outcome.OK
            fact = (f"nats://{quoted(told.stream)}", message_id(str(told.seq), told.stream), outcome, told.seq)
        active.end(call, _build_send, fact)


def _refusal(error: BaseException | None) -> Outcome:
    import nats.js.errors

    if getattr(error, "err_code", None) in WRONG_SEQUENCE:
        return Outcome.REJECTED
    refused = isinstance(error, nats.js.errors.APIError | nats.js.errors.NoStreamResponseError | TypeError | ValueError)
    return Outcome.ERROR if refused else Outcome.UNKNOWN


def _build_send(call: Call) -> Sequence[Access]:
    resource, name, outcome, seq = call.facts
    partial = outcome is Outcome.UNKNOWN
    return [Queue(resource, SYSTEM).access(Op.SEND, name, outcome, partial=partial, seq=seq)]


# -- receipts and what becomes of them -----------------------------------------------------------------------------


class _Known(NamedTuple):
    """What the server says of a message."""

    stream: str
    consumer: str
    seq: int
    delivered: int


def _known(message: Any) -> _Known | None:
    """None where it is no message of a JetStream consumer, or one of a bucket."""
    if not getattr(message, "reply", "").startswith("$JS.ACK."):
        return None
    told = message.metadata
    if told.stream.startswith(INNER):
        return None
    return _Known(told.stream, told.consumer, told.sequence.stream, told.num_delivered)


def _receive(messages: Iterable[Any], start_ns: int = 0) -> None:
    with GUARD:
        active = recorder.recording()
        known = [each for message in messages if (each := _known(message)) is not None]
        if active is not None and known:
            call = active.begin(LIBRARY, len(known))
            call.start_ns = start_ns or call.start_ns
            active.end(call, _build, (Op.RECEIVE, known, Outcome.OK))


def _build(call: Call) -> Sequence[Access]:
    op, known, outcome = call.facts
    receives = op is Op.RECEIVE
    return [
        Queue(f"nats://{quoted(each.stream)}", SYSTEM, f"{each.stream}/{each.consumer}").access(
            op, message_id(str(each.seq), each.stream), outcome,
            delivery=each.delivered if receives else None, seq=each.seq if receives else None,
        )
        for each in known
    ]  # fmt: skip


def _fetching(original: Any) -> Any:
    async def fetch(self: Any, *args: Any, **kwargs: Any) -> Any:
        start_ns, strand = recorder.now_ns(), strands.current()
        strand.suppressed += 1  # the single messages that it asks its subscription for
        try:
            messages = await original(self, *args, **kwargs)
        finally:
            strand.suppressed -= 1
        _receive(messages, start_ns)
        return messages

    return fetch


def _getting(original: Any) -> Any:
    async def next_msg(self: Any, *args: Any, **kwargs: Any) -> Any:
        start_ns = recorder.now_ns()
        message = await original(self, *args, **kwargs)
        _receive((message,), start_ns)
        return message

    return next_msg


def _iterating(original: Any) -> Any:
    async def anext_(self: Any) -> Any:
        start_ns = recorder.now_ns()
        message = await original(self)
        _receive((message,), start_ns)
        return message

    return anext_


def _subscribing(original: Any) -> Any:
    async def subscribe_bind(self: Any, *args: Any, **kwargs: Any) -> Any:
        with GUARD:
            stream, callback = (args or (kwargs.get("stream"),))[0], kwargs.get("cb")
            if not str(stream).startswith(INNER):
                if len(args) > CALLBACK_AT and args[CALLBACK_AT] is not None:
                    args = (*args[:CALLBACK_AT], _handling(args[CALLBACK_AT]), *args[CALLBACK_AT + 1 :])
                elif callback is not None:
                    kwargs["cb"] = _handling(callback)
        return await original(self, *args, **kwargs)

    return subscribe_bind


def _handling(callback: Any) -> Callable[[Any], Any]:
    async def handle(message: Any) -> Any:
        known = None
        with GUARD:
            known = _known(message) if recorder.active() is not None else None
        if known is None:
            return await callback(message)
        with scope.entered(step=f"{known.stream} {known.seq}"):
            _receive((message,))
            return await callback(message)

    return functools.wraps(callback)(handle) if hasattr(callback, "__name__") else handle


def _settling(op: Op) -> Callable[[Any], Any]:
    def make(original: Any) -> Any:
        async def settle(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = known = None
            with GUARD:
                active = recorder.recording()
                known = _known(self) if active is not None and not self._ackd else None
                if active is not None and known is not None:
                    call = active.begin(LIBRARY)
            if call is None:
                return await original(self, *args, **kwargs)
            try:
                answer = await original(self, *args, **kwargs)
            except BaseException as error:
                _settled(call, op, known, error)
                raise
            _settled(call, op, known, None)
            return answer

        return settle

    return make


def _settled(call: Call, op: Op, known: _Known | None, error: BaseException | None) -> None:
    with GUARD:
        active = recorder.active()
        if active is not None:
            call.error = error
            active.end(call, _build, (op, [known], Outcome.OK if error is None else Outcome.UNKNOWN))


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
