"""aiokafka: `send`, `getone`, `getmany` and iteration, `commit`.

A send's span lasts until its future is done; the future itself is not touched. A consumer's assignment is an object
that is new after each rebalance, which is how one is seen. A seek goes back or on within it, and what comes again then
was received before.

Not recorded: `send_batch`, offsets that are sent within a transaction.

Source: aiokafka/producer/producer.py, consumer/consumer.py; what it means is in `kafka`.
"""

import functools
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import recorder
from noclobber.access import Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Outcome
from noclobber.guard import GUARD
from noclobber.queues import kafka
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "aiokafka"
NOT_DONE: Final = frozenset({"CommitFailedError", "IllegalStateError", "IllegalOperation", "TypeError", "ValueError"})
"""Errors of a commit that say that nothing was committed."""
_wrapping = Wrapping(LIBRARY)
_consuming: WeakKeyDictionary[Any, tuple[Any, kafka.Consuming]] = WeakKeyDictionary()
"""Consumer -> its assignment when that was last looked at, and what it has received."""


def install(_library: ModuleType) -> None:
    """Wrap producer and consumer."""
    from aiokafka.consumer.consumer import AIOKafkaConsumer
    from aiokafka.producer.producer import AIOKafkaProducer

    hooks: list[Hook] = [
        (AIOKafkaProducer, "send", _sending),
        (AIOKafkaConsumer, "getone", _getting),
        (AIOKafkaConsumer, "getmany", _getting_many),
        (AIOKafkaConsumer, "commit", _committing),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- producer ------------------------------------------------------------------------------------------------------


def _sending(original: Any) -> Any:
    async def send(self: Any, topic: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        with GUARD:
            call = kafka.begin_send(LIBRARY)
        if call is None:
            return await original(self, topic, *args, **kwargs)
        try:
            future = await original(self, topic, *args, **kwargs)
        except BaseException as error:
            with GUARD:
                call.error = error
                kafka.end_send(call, kafka.Sent(str(topic)), _outcome(error))
            raise
        with GUARD:
            transactional = getattr(self._txn_manager, "transactional_id", None) is not None
            future.add_done_callback(functools.partial(_sent, call, str(topic), positioned=not transactional))
        return future

    return send


def _outcome(error: BaseException) -> Outcome:
    return Outcome.ERROR if isinstance(error, Exception) else Outcome.UNKNOWN


def _sent(call: Call, topic: str, future: Any, *, positioned: bool) -> None:
    with GUARD:
        if future.cancelled() or future._exception is not None:  # asking by its method would silence its warning
            kafka.end_send(call, kafka.Sent(topic), Outcome.UNKNOWN)
            return
        told = future.result()
        offset = told.offset if told.offset >= 0 else None  # acks=0
        kafka.end_send(call, kafka.Sent(topic, told.partition, offset, positioned))


# -- consumer ------------------------------------------------------------------------------------------------------


def _of(consumer: Any) -> kafka.Consuming:
    assignment = getattr(consumer._subscription.subscription, "assignment", None)
    before, found = _consuming.get(consumer, (None, None))
    if found is None:
        group = consumer._group_id
        found = kafka.Consuming(
            LIBRARY, group, commits=not consumer._enable_auto_commit,
            watermark_of=functools.partial(_watermark, consumer._subscription),
        )  # fmt: skip
    elif before is not assignment:
        found.reassigned()
    _consuming[consumer] = assignment, found
    return found


def _watermark(subscription: Any, at: kafka.Partition) -> int | None:
    from aiokafka.structs import TopicPartition

    known = subscription.subscription.assignment.state_value(TopicPartition(*at)).highwater
    return known if isinstance(known, int) else None


def _getting(original: Any) -> Any:
    async def getone(self: Any, *partitions: Any) -> Any:
        start_ns = recorder.now_ns()
        record = await original(self, *partitions)
        with GUARD:
            _of(self).receive([(record.topic, record.partition, record.offset)], start_ns)
        return record

    return getone


def _getting_many(original: Any) -> Any:
    async def getmany(self: Any, *partitions: Any, **kwargs: Any) -> Any:
        start_ns = recorder.now_ns()
        found = await original(self, *partitions, **kwargs)
        if found:
            with GUARD:
                records = [(each.topic, each.partition, each.offset) for of in found.values() for each in of]
                _of(self).receive(records, start_ns)
        return found

    return getmany


def _committing(original: Any) -> Any:
    async def commit(self: Any, offsets: Any = None) -> Any:
        begun = None
        with GUARD:
            consuming = _of(self)
            upto = None if offsets is None else _upto(offsets)
            commit = consuming.begin_commit(upto)
            begun = None if commit is None else (consuming, commit)
        if begun is None:
            return await original(self, offsets)
        try:
            answer = await original(self, offsets)
        except BaseException as error:
            with GUARD:
                begun[1].call.error = error
                done = Outcome.ERROR if type(error).__name__ in NOT_DONE else Outcome.UNKNOWN
                begun[0].end_commit(begun[1], done)
            raise
        with GUARD:
            begun[0].end_commit(begun[1], Outcome.OK)
        return answer

    return commit


def _upto(offsets: Any) -> dict[kafka.Partition, int]:
    found = {}
    for at, told in offsets.items():
        offset = told if isinstance(told, int) else told[0]
        found[at.topic, at.partition] = offset
    return found


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
