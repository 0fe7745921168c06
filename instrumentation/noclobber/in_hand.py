"""Which message a strand works on: its later writes and effects carry that message's id.

A strand has a message in hand from its receipt until it acknowledges it or gives it back; a message that is never
acknowledged stays in hand until the next one comes. While that is exactly one, what the strand writes or does outside
is taken for work on it, whatever the store. A message that was received in a step is worked on in that step only, so
a handler's end ends it too.

To link too much would accuse: two heartbeats of a loop that got one message twice are no message applied twice. So a
strand that hands work on is not linked: what it had in hand when it started another strand is not linked any more, and
one whose message another strand acknowledged is a dispatcher, and links nothing from then on. After a lost call of
its own, which may have been an acknowledgement, a strand begins with empty hands.

Source: contract 2 (`message.id`) and 2.1; capture.md section 3.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import ref

from noclobber.access import Access, AttributeValue, Call
from noclobber.contract import Attr, Op, Outcome, UnitKind
from noclobber.scope import Scope
from noclobber.strands import Strand

__all__ = ["InHand"]

HELD_MAX: Final = 256
"""Messages of one strand; one that has more links nothing until it has settled them all."""
HOLDERS_MAX: Final = 20_000
"""Messages of the process of which it is known who received them."""
_WORK: Final = frozenset({Op.WRITE, Op.UPDATE, Op.DELETE, Op.EFFECT})
_MESSAGES: Final = frozenset({Op.RECEIVE, Op.ACK, Op.NACK})
_Key = tuple[AttributeValue, AttributeValue]
"""A message's group and id."""


@dataclass(frozen=True, slots=True)
class _Held:
    """One message.

    Attributes:
        within: unit of the step that it was received in, None outside of steps. unit: its own, where that is so.
        handed_on: whether its strand has started another since.
    """

    within: str | None
    unit: str
    handed_on: bool = False


@dataclass(slots=True)
class _Hand:
    """What one strand has in hand.

    Attributes:
        messages: by group and id.
        segment: unit of what is done between two receipts or settlings while several are in hand.
        passing: those that nobody will acknowledge. overfull: there were more than are kept. dispatches: others work.
    """

    messages: "dict[_Key, _Held]" = field(default_factory=dict)
    passing: set[_Key] = field(default_factory=set)
    segment: str = ""
    losses: frozenset[int] = frozenset()
    overfull: bool = False
    dispatches: bool = False

    def empty(self) -> None:
        self.messages.clear()
        self.passing.clear()


class InHand:
    """The messages that the process's strands work on; used by the drain only."""

    def __init__(self) -> None:
        self._holders: OrderedDict[_Key, ref[Strand]] = OrderedDict()

    def follow(self, call: Call, accesses: Sequence[Access]) -> None:
        """Note what the caller has in hand after `accesses`, and give its work the id of the message it works on."""
        hand: _Hand | None = call.strand.kept.get(self)
        if hand is None and len(accesses) == 1 and accesses[0].op not in _MESSAGES:
            return
        ops = {access.op for access in accesses}
        if hand is not None and hand.losses != call.strand.losses:
            hand.empty()
            hand.losses = call.strand.losses
        if Op.RECEIVE in ops:
            hand = self._receive(call, accesses)
        if hand is not None and hand.messages and not (hand.overfull or hand.dispatches):
            _take_up(hand, call, accesses)
        for access in accesses:
            if access.op in (Op.ACK, Op.NACK):
                self._settle(call.strand, access)
                if hand is not None:
                    hand.segment = f"{call.strand.id}-m{call.seqs[0]}"

    def spawned(self, parent: Strand) -> None:
        """`parent` started a strand, which may be the one that works on what it has in hand."""
        hand: _Hand | None = parent.kept.get(self)
        if hand is not None:
            hand.messages = {key: replace(held, handed_on=True) for key, held in hand.messages.items()}

    def _receive(self, call: Call, accesses: Sequence[Access]) -> _Hand:
        hand: _Hand | None = call.strand.kept.get(self)
        if hand is None:
            hand = call.strand.kept[self] = _Hand(losses=call.strand.losses)
        for passed in hand.passing:
            hand.messages.pop(passed, None)
        hand.passing.clear()
        hand.segment = f"{call.strand.id}-m{call.seqs[0]}"
        if not hand.messages:
            hand.overfull = False
        for number, access in zip(call.seqs, accesses, strict=True):
            key = _key(access)
            if access.op is not Op.RECEIVE or access.outcome is not Outcome.OK or key is None or access.held is False:
                continue
            if len(hand.messages) >= HELD_MAX:
                hand.overfull = True
                continue
            hand.messages[key] = _Held(_unit(call), f"{call.strand.id}-m{number}")
            if access.held is None:
                hand.passing.add(key)
            self._holders[key] = ref(call.strand)
            if len(self._holders) > HOLDERS_MAX:
                self._holders.popitem(last=False)
        return hand

    def _settle(self, strand: Strand, access: Access) -> None:
        key = _key(access)
        if key is None or access.outcome is Outcome.ERROR:
            return
        hand: _Hand | None = strand.kept.get(self)
        if hand is not None and hand.messages.pop(key, self) is not self:
            hand.passing.discard(key)
            return
        found = self._holders.pop(key, None)
        holder = found() if found is not None else None
        theirs: _Hand | None = holder.kept.get(self) if holder is not None else None
        if theirs is not None and theirs.messages.pop(key, self) is not self:
            theirs.dispatches = True


def _take_up(hand: _Hand, call: Call, accesses: Sequence[Access]) -> None:
    """Say what the caller works on: one message, or one of several of which nobody can tell which."""
    unit = _unit(call)
    mine = [(key, held) for key, held in hand.messages.items() if held.within in (None, unit) and not held.handed_on]
    if len(mine) == 1:
        (key, held), *_ = mine
        _in_unit(call, accesses, f"message {key[1]}", held.unit)
        _link(key, accesses)
    elif mine and accesses[0].op is not Op.RECEIVE:  # receipts of several messages are no one's work
        _in_unit(call, accesses, "one of several messages", hand.segment)


def _in_unit(call: Call, accesses: Sequence[Access], step: str, unit: str) -> None:
    scope = call.scope or Scope()
    if scope.step is not None:
        return
    call.scope = replace(scope, step=step, unit=unit)
    for access in accesses:
        if access.txn is None:
            access.attributes[Attr.UNIT_KIND] = UnitKind.MESSAGE


def _link(key: _Key, accesses: Sequence[Access]) -> None:
    group, message = key
    for access in accesses:
        if access.op in _WORK and Attr.MESSAGE_ID not in access.attributes:
            access.attributes[Attr.MESSAGE_ID] = message
            if group:
                access.attributes[Attr.MESSAGE_GROUP] = group


def _unit(call: Call) -> str | None:
    scope = call.scope
    return None if scope is None or scope.step is None else scope.unit or f"{scope.run}/{scope.step}"


def _key(access: Access) -> _Key | None:
    message = access.attributes.get(Attr.MESSAGE_ID)
    return None if message is None else (access.attributes.get(Attr.MESSAGE_GROUP, ""), message)
