"""confluent-kafka: `produce`, `poll` and `consume`, `commit`.

Its classes are made in C and cannot be changed, so `confluent_kafka.Producer` and `Consumer` become subclasses of them
with the same names: what was made, or imported by name, before that is not seen, and neither are the serializing and
deserializing classes. A send's span lasts until its delivery report, so each message is produced with a callback that
passes on to the program's own, be it the message's or the producer's.

The client does not say when it was assigned its partitions, so which delivery a record is, is known only where this
process has received it before. A commit that is asynchronous has an unknown outcome.

Source: confluent_kafka/src/Producer.c, Consumer.c; what it means is in `kafka`.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import recorder
from noclobber.access import Call
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Outcome
from noclobber.guard import GUARD
from noclobber.queues import kafka

__all__ = ["INTEGRATION"]

LIBRARY: Final = "confluent_kafka"
CALLBACK_AT: Final = 3
"""Where `produce` takes a callback among what follows the topic."""
_replaced: list[tuple[ModuleType, str, type, type]] = []


def install(library: ModuleType) -> None:
    """Put the subclasses in the classes' places."""
    for name, make in (("Producer", _producer), ("Consumer", _consumer)):
        original = getattr(library, name)
        made = make(original)
        made.__name__ = made.__qualname__ = name
        made.__module__, made.__doc__ = original.__module__, original.__doc__
        _replaced.append((library, name, original, made))
        setattr(library, name, made)


def uninstall() -> None:
    """Put back what was there, where it is still ours."""
    for library, name, original, made in _replaced:
        if getattr(library, name) is made:
            setattr(library, name, original)
    _replaced.clear()


def _settings(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**(args[0] if args and isinstance(args[0], dict) else {}), **kwargs}


# -- producer ------------------------------------------------------------------------------------------------------


def _producer(original: Any) -> Any:
    class Producer(original):  # type: ignore[misc]  # made in C
        _noclobber_default = None
        _noclobber_reports = True
        _noclobber_positioned = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            with GUARD:
                settings = _settings(args, kwargs)
                self._noclobber_default = settings.get("on_delivery")
                self._noclobber_reports = not settings.get("delivery.report.only.error")
                self._noclobber_positioned = "transactional.id" not in settings

        def produce(self, topic: Any, *args: Any, **kwargs: Any) -> Any:
            call, asked = None, (args, kwargs)
            with GUARD:
                call = kafka.begin_send(LIBRARY) if self._noclobber_reports else None
                if call is not None:
                    asked = _reporting(self, call, topic, args, kwargs)
            try:
                return super().produce(topic, *asked[0], **asked[1])
            except BaseException as error:
                if call is not None:
                    with GUARD:
                        call.error = error
                        kafka.end_send(call, kafka.Sent(str(topic)), Outcome.ERROR)
                raise

    return Producer


def _reporting(producer: Any, call: Call, topic: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments with a callback that notes how it ended, and passes on."""
    positional = len(args) > CALLBACK_AT
    named = next((each for each in ("callback", "on_delivery") if kwargs.get(each) is not None), "on_delivery")
    theirs = (args[CALLBACK_AT] if positional else kwargs.get(named)) or producer._noclobber_default

    def report(error: Any, message: Any) -> None:
        with GUARD:
            if error is None:
                told = message.offset()
                offset = told if told is not None and told >= 0 else None  # acks=0
                sent = kafka.Sent(str(topic), message.partition(), offset, producer._noclobber_positioned)
                kafka.end_send(call, sent)
            else:
                kafka.end_send(call, kafka.Sent(str(topic)), Outcome.UNKNOWN)
        if theirs is not None:
            theirs(error, message)

    if positional:
        return (*args[:CALLBACK_AT], report, *args[CALLBACK_AT + 1 :]), kwargs
    others = {name: value for name, value in kwargs.items() if name not in ("callback", "on_delivery")}
    return args, {**others, "on_delivery": report}


# -- consumer ------------------------------------------------------------------------------------------------------


def _consumer(original: Any) -> Any:
    class Consumer(original):  # type: ignore[misc]  # made in C
        _noclobber_consuming: kafka.Consuming | None = None

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            with GUARD:
                settings = _settings(args, kwargs)
                commits = settings.get("enable.auto.commit", True) in (False, "false", "False")
                self._noclobber_consuming = kafka.Consuming(
                    LIBRARY, settings.get("group.id"), commits=commits, watermark_of=lambda _: None
                )

        def poll(self, *args: Any, **kwargs: Any) -> Any:
            start_ns = recorder.now_ns()
            message = super().poll(*args, **kwargs)
            if message is not None:
                _received(self._noclobber_consuming, [message], start_ns)
            return message

        def consume(self, *args: Any, **kwargs: Any) -> Any:
            start_ns = recorder.now_ns()
            messages = super().consume(*args, **kwargs)
            _received(self._noclobber_consuming, messages, start_ns)
            return messages

        def commit(self, *args: Any, **kwargs: Any) -> Any:
            consuming, begun = self._noclobber_consuming, None
            with GUARD:
                if consuming is not None:
                    begun = consuming.begin_commit(_upto(*args, **kwargs))
            try:
                answer = super().commit(*args, **kwargs)
            except BaseException as error:
                _committed(consuming, begun, Outcome.ERROR, error)
                raise
            _committed(consuming, begun, Outcome.UNKNOWN if answer is None else Outcome.OK)
            return answer

    return Consumer


def _received(consuming: kafka.Consuming | None, messages: Any, start_ns: int) -> None:
    with GUARD:
        if consuming is not None:
            got = [each for each in messages if each.error() is None]
            consuming.receive([(each.topic(), each.partition(), each.offset()) for each in got], start_ns)


def _upto(message: Any = None, offsets: Any = None, asynchronous: Any = True) -> dict[kafka.Partition, int] | None:  # noqa: ARG001
    if message is not None:
        return {(message.topic(), message.partition()): message.offset() + 1}
    return None if offsets is None else {(each.topic, each.partition): each.offset for each in offsets}


def _committed(
    consuming: kafka.Consuming | None, begun: kafka.Commit | None, outcome: Outcome, error: BaseException | None = None
) -> None:
    with GUARD:
        if consuming is not None and begun is not None:
            begun.call.error = error
            consuming.end_commit(begun, outcome)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
