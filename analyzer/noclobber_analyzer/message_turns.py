"""Queues that raise no question: each message sent once, handed out once, and worked on by who received it.

A queue is *in turn* if nothing was done to it but sends, receipts and acknowledgements that succeeded; no message was
sent or received twice, by whatever queue, and nobody but its receiver carries its id on; no two messages have one
position; each session received one position after the other, so that it passed none by, and worked on what it had
received in that order. Then there is no second
claim or delivery, nothing was lost on the way, and nothing was applied too late. An effect is in turn if it is called
for the first time, or again under an idempotency key that it had before. Who acts on what it had decided on another
strand, or what failed under a message, is judged.

What got out of turn stays so as long as its queue is kept.

Source: contract 2 (`message.*`, `effect.*`), detection.md 3.5 and 3.6; analysis.md 9 (frames).
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from noclobber.contract import Defence, Op, Outcome
from noclobber_analyzer.access import Access

__all__ = ["MessageTurns"]

KNOWN_MAX: Final = 50_000
"""Messages and effects that are known before those of which nothing is kept any more are forgotten; then twice as many
as were left."""
PASSING: Final = frozenset({Op.SEND, Op.RECEIVE, Op.ACK})


@dataclass(slots=True)
class _Message:
    """How a message went: whether it was sent, who received it at which number of its strand, and where it stood."""

    sent: bool = False
    strand: str | None = None
    since: int = 0
    has_place: bool = False
    queues: set[str] = field(default_factory=set)


class _Worked(NamedTuple):
    """How far a strand is with its messages: up to which call, the last receipt before it, the newest worked on."""

    upto: int = 0
    received: int = 0
    newest: int = 0


@dataclass(slots=True)
class _Effect:
    """How an effect was called first, and on which resources since."""

    first: Access
    resources: set[str]


class MessageTurns:
    """The messages and effects of a window.

    Args:
        company: the kept accesses of a message or effect (`window`).
        captured: the kept accesses of a strand.
    """

    def __init__(
        self, company: Callable[[str], Collection[Access]], captured: Callable[[str], Sequence[Access]]
    ) -> None:
        self._company, self._captured = company, captured
        self._known_max = KNOWN_MAX
        self._messages: dict[str, _Message] = {}
        self._positions: dict[tuple[str, str, int], str] = {}
        self._sessions: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._worked: dict[str, _Worked] = {}
        self._effects: dict[str, _Effect] = {}
        self._again: dict[str, list[Access]] = defaultdict(list)

    def take(self, access: Access) -> set[str]:
        """Go on with an access to a queue or an effect; returns the resources that are out of turn by it."""
        if len(self._messages) + len(self._effects) > self._known_max:
            self._forget_gone()
        if access.op is Op.EFFECT:
            return self._called(access)
        message = access.message
        if message is None or not _is_plain(access):
            return {access.resource, *self.queues_of(access)}
        known = self._messages.setdefault(message.id, _Message())
        known.queues.add(access.resource)
        if access.op is Op.SEND:
            fits = not known.sent and self._has_own_position(access)
            known.sent = True
        elif access.op is Op.RECEIVE:
            fits = known.strand is None and (message.delivery or 1) == 1 and self._has_own_position(access)
            known.strand, known.since = known.strand or access.strand, known.since or access.seq
            known.has_place = known.has_place or message.seq is not None
            fits = self._follows(access) and fits and self._nobody_else(message.id, access)
        else:
            fits = self.is_handled(access)
        return set() if fits else set(known.queues)

    def is_handled(self, access: Access) -> bool:
        """Whether an access that carries a message works in turn on what its strand had received: it takes nothing."""
        known = self._messages.get(access.message.id) if access.message is not None else None
        if known is None or known.strand != access.strand or known.since >= access.seq:
            return False
        return access.op is Op.ACK or not known.has_place or self._is_in_order(access, known)

    def _is_in_order(self, work: Access, known: _Message) -> bool:
        """Whether nothing that was received later was worked on earlier; of what is told late nobody knows."""
        upto, received, newest = self._worked.get(work.strand, _Worked())
        if work.seq <= upto:
            return False
        own = self._captured(work.strand)
        first, end = (bisect_right(own, seq, key=lambda a: a.seq) for seq in (upto, work.seq - 1))
        for each in own[first:end]:
            if each.op is Op.RECEIVE:
                received = each.seq
            elif each.message is None and each.unit_kind is not None:
                newest = received  # what carries no message is for the last one
        self._worked[work.strand] = _Worked(work.seq, received, max(newest, known.since))
        return newest <= known.since

    def queues_of(self, access: Access) -> set[str]:
        """The queues that a message went through which an access carries."""
        known = self._messages.get(access.message.id) if access.message is not None else None
        return known.queues if known is not None else set()

    def defended(self, resource: str) -> Iterator[tuple[Access, Defence]]:
        """Effects that were called again under a key of their own, each once."""
        yield from ((access, Defence.DEDUPLICATED) for access in self._again.pop(resource, ()))

    def _has_own_position(self, access: Access) -> bool:
        """Whether no other message has the position of this one."""
        message = access.message
        assert message is not None
        if message.seq is None:
            return True
        place = (access.resource, message.key or "", message.seq)
        return self._positions.setdefault(place, message.id) == message.id

    def _follows(self, receipt: Access) -> bool:
        """Whether a receipt is of the next position of its session; without positions there are no ordering keys."""
        message = receipt.message
        assert message is not None
        if message.seq is None:
            return message.key is None
        if message.session is None:
            return True
        place = (receipt.resource, message.session, receipt.strand)
        last = self._sessions.get(place)
        self._sessions[place] = receipt.seq, message.seq
        return last is None or (last[0] < receipt.seq and message.seq == last[1] + 1)

    def _nobody_else(self, message: str, receipt: Access) -> bool:
        """Whether nobody but its sender carried a message before its receipt came to be known."""
        return all(
            each.op is Op.SEND or (each.strand == receipt.strand and each.seq >= receipt.seq)
            for each in self._company(f"message {message}")
        ) and not any(each.outcome is Outcome.ERROR for each in self._company(receipt.unit))

    def _called(self, call: Access) -> set[str]:
        effect = call.effect
        if effect is None or not _is_plain(call) or call.links or self._was_decided_elsewhere(call):
            return {call.resource}
        if call.message is not None and not self.is_handled(call):
            return {call.resource, *self.queues_of(call)}
        known = self._effects.setdefault(effect.hash, _Effect(call, set()))
        known.resources.add(call.resource)
        if known.first is call:
            return set()
        before = known.first.effect
        is_first = (call.start_ns, call.key) < (known.first.start_ns, known.first.key)
        if before is None or effect.key is None or effect.key != before.key or is_first:
            return set(known.resources)
        self._again[call.resource].append(call)
        return set()

    def _was_decided_elsewhere(self, call: Access) -> bool:
        """Whether the model call, or the strand, that decided a call may be another strand's."""
        own = self._captured(call.strand)
        return bool(call.model_span) or call.step not in (None, call.unit) or bool(own and own[0].strand_parent)

    def _forget_gone(self) -> None:
        self._messages = {name: known for name, known in self._messages.items() if self._company(f"message {name}")}
        self._positions = {place: name for place, name in self._positions.items() if name in self._messages}
        self._effects = {name: known for name, known in self._effects.items() if self._company(f"effect {name}")}
        self._sessions = {place: last for place, last in self._sessions.items() if self._captured(place[2])}
        self._known_max = max(KNOWN_MAX, 2 * (len(self._messages) + len(self._effects)))
        self._worked = {strand: worked for strand, worked in self._worked.items() if self._captured(strand)}


def _is_plain(access: Access) -> bool:
    """Whether a call of a queue or an effect succeeded, by itself, and tells all of it."""
    return (
        (access.op in PASSING or access.op is Op.EFFECT)
        and access.outcome is Outcome.OK
        and not (
            access.txn_id or access.locks or access.partial or access.open or access.cancelled or access.waits_for
            or access.weak
        )
    )  # fmt: skip
