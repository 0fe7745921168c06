"""Keys whose store numbers their states, and tells the number: on both sides of a race, and to whoever guards a write.

What NATS KV, etcd and ZooKeeper have in common: one key, a number that names each of its states, and a write that may
ask the store to insist on one. What such a call is can be said as soon as it has returned, so it is described there
and then, and nothing of it is kept but numbers and prints.

Source: contract 2 (`version.kind`) and 2.1.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from noclobber import recorder, strands
from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import ABSENT_NUMBER, Attr, BaseSource, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.guard import GUARD
from noclobber.versions import encode, fingerprint, is_numeric

__all__ = ["Key", "Told", "call_async", "call_sync"]

_WRITES: Final = frozenset({Op.WRITE, Op.DELETE})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one store.

    Attributes:
        resource: its URI. system: its store's. kind: how its states are numbered.
    """

    resource: str
    system: str
    kind: VersionKind


@dataclass(slots=True)
class Told:
    """What a call was, as far as it told.

    Attributes:
        read, written, overwritten: numbers of states; None where they are not told.
        expected: what the store was asked to insist on. creates: whether it was asked to insist that nothing is there.
        content: bytes that were read or written; only a print of them is kept.
        more: attributes that only this store has.
    """

    op: Op
    key: Key
    outcome: Outcome = Outcome.OK
    read: int | None = None
    written: int | None = None
    overwritten: int | None = None
    expected: int | None = None
    creates: bool = False
    content: bytes | None = None
    more: dict[str, AttributeValue] = field(default_factory=dict)

    def access(self) -> Access:
        """The access that it was."""
        attributes: dict[str, AttributeValue] = dict(self.more)
        for name, number in (
            (Attr.VERSION_READ, self.read),
            (Attr.VERSION_WRITTEN, self.written),
            (Attr.VERSION_OVERWRITTEN, self.overwritten),
        ):
            if number is not None:
                attributes[name] = str(number)
        if self.creates:
            attributes[Attr.GUARD], attributes[Attr.WRITE_MODE] = Guard.UNIQUE, WriteMode.INSERT
        elif self.expected is not None:
            attributes[Attr.GUARD] = Guard.VERSION
            attributes[Attr.VERSION_EXPECTED] = attributes[Attr.VERSION_BASE] = str(self.expected)
            attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT
        attributes[Attr.VERSION_KIND] = self.key.kind
        self._print(attributes)
        finds_base = self.op in _WRITES
        return Access(
            self.op, self.key.resource, self.key.system, self.outcome, attributes=attributes, finds_base=finds_base
        )

    def _print(self, attributes: dict[str, AttributeValue]) -> None:
        if self.content is None:
            return
        name = Attr.CONTENT_READ if self.op is Op.READ else Attr.CONTENT_WRITTEN
        attributes[name] = fingerprint(self.content)
        attributes[Attr.SIZE] = len(self.content)
        if is_numeric(self.content):
            attributes[Attr.CONTENT_NUMERIC] = True

    def holding(self, content: Any) -> "Told":
        """The same with its content, as the client has it."""
        self.content = None if content is None else encode(content)
        return self

    def absent(self) -> "Told":
        """A read that found nothing."""
        self.outcome, self.read = Outcome.NOT_FOUND, int(ABSENT_NUMBER)
        return self


Describe = Callable[[Any, BaseException | None], Sequence[Told]]
"""From what a call returned, or raised, to what it was: always as many accesses as were announced."""


def _begin(library: str, number: int) -> Call | None:
    with GUARD:
        active, strand = recorder.recording(), strands.current()
        if active is None or not number:
            return None
        call = active.begin(library, number)
        strand.suppressed += 1
        return call
    return None


def _end(call: Call, describe: Describe, answer: Any, error: BaseException | None) -> None:
    with GUARD:
        call.strand.suppressed -= 1
        active = recorder.active()
        if active is not None:
            call.error = error
            active.end(call, _build, [each.access() for each in describe(answer, error)])


def _build(call: Call) -> Sequence[Access]:
    accesses: list[Access] = call.facts
    return accesses


def call_sync(library: str, original: Callable[[], Any], describe: Describe, number: int = 1) -> Any:
    """Make a call that will be `number` accesses; calls inside it are part of it."""
    call = _begin(library, number)
    if call is None:
        return original()
    try:
        answer = original()
    except BaseException as error:
        _end(call, describe, None, error)
        raise
    _end(call, describe, answer, None)
    return answer


async def call_async(library: str, original: Callable[[], Awaitable[Any]], describe: Describe, number: int = 1) -> Any:
    """The same for one that is awaited."""
    call = _begin(library, number)
    if call is None:
        return await original()
    try:
        answer = await original()
    except BaseException as error:
        _end(call, describe, None, error)
        raise
    _end(call, describe, answer, None)
    return answer
