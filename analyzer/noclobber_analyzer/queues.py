"""Messages as they were sent, handed out and worked on: who received what, at which position, and what came of it.

A *handling* is one receipt with all that its receiver then did with the message: accesses of the same strand that
carry its id, or belong to the unit of the last receipt. Whether a handling *applied* something
is told by its writes, effects and sends that were not refused or taken back; what the store or an idempotency key
turned away was *refused*. A receipt in a transaction that did not apply handed nothing out for good.

Groups are compared only inside one. A system without groups is one group; one that has groups and does not say which
leaves the question open.

Source: contract 2 (`message.*`) and 3.1, detection.md 3.5 and 3.6. Nothing is judged here.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from noclobber.contract import Op, Outcome
from noclobber_analyzer.access import Access
from noclobber_analyzer.fate import WRITE_OPS, Fate, Fates
from noclobber_analyzer.history import History

__all__ = ["Handling", "Queues", "group_of", "needs_group"]

GROUPLESS: Final = frozenset(
    {"redis", "valkey", "postgresql", "mysql", "mariadb", "sqlite", "memory", "file", "aws_sqs", "rabbitmq"}
)
"""Systems whose queues have no consumer groups: one group."""
_DONE: Final = frozenset({*WRITE_OPS, Op.EFFECT, Op.SEND})
_REFUSED: Final = frozenset({Outcome.REJECTED, Outcome.NO_EFFECT})


@dataclass(slots=True)
class Handling:
    """One receipt, and what its receiver did with the message.

    Attributes:
        receipt: the `receive`.
        applied: writes, effects and sends that took effect, or may have. refused: those that did not.
        failed: writes and effects that ended in an error.
        ack, nack: how it ended; None: not captured.
    """

    receipt: Access
    applied: list[Access] = field(default_factory=list)
    refused: list[Access] = field(default_factory=list)
    failed: list[Access] = field(default_factory=list)
    ack: Access | None = None
    nack: Access | None = None

    @property
    def id(self) -> str:
        """Of the message."""
        assert self.receipt.message is not None
        return self.receipt.message.id

    @property
    def again(self) -> bool:
        """Whether the broker says that it was handed out before."""
        message = self.receipt.message
        return message is not None and (message.delivery or 0) > 1


class Queues:
    """The messages of one history.

    Attributes:
        handlings: all receipts that were `ok`, in the order of each strand.
        sends: sends that were applied or may have been, by message id.
    """

    def __init__(self, history: History, fates: Fates) -> None:
        self._history, self._fates = history, fates
        self.handlings: list[Handling] = []
        self.sends: dict[str, list[Access]] = defaultdict(list)
        for own in history.strands.values():
            self._walk(own)
        self._proven = {
            send.txn_id
            for message, sends in self.sends.items()
            if message in self.received and len(sends) == 1
            for send in sends
            if send.txn_id
        }

    def _walk(self, own: list[Access]) -> None:
        open_: dict[str, Handling] = {}
        last: Handling | None = None
        for access in own:
            message = access.message
            if access.op is Op.SEND and message is not None and self._fates.of(access) is not Fate.UNAPPLIED:
                self.sends[message.id].append(access)
            if access.op is Op.RECEIVE and message is not None:
                last = Handling(access) if access.outcome is Outcome.OK else None
                if last is not None:
                    open_[message.id] = last
                    self.handlings.append(last)
            elif message is not None and access.op is not Op.SEND:
                if message.id in open_:
                    self._take(open_[message.id], access)
            elif last is not None and access.unit == last.receipt.unit and access.unit_kind is not None:
                self._take(last, access)

    def _take(self, handling: Handling, access: Access) -> None:
        if access.op is Op.ACK:
            handling.ack = access if access.outcome is Outcome.OK else handling.ack
        elif access.op is Op.NACK:
            handling.nack = access if access.outcome is Outcome.OK else handling.nack
        elif access.op in _DONE:
            if self._fates.of(access) is not Fate.UNAPPLIED:
                handling.applied.append(access)
            elif access.outcome in _REFUSED:
                handling.refused.append(access)
            elif access.outcome is Outcome.ERROR and not access.cancelled:
                handling.failed.append(access)

    @cached_property
    def received(self) -> frozenset[str]:
        """Ids of the messages that anybody received."""
        return frozenset(handling.id for handling in self.handlings)

    @cached_property
    def given_back(self) -> frozenset[tuple[str, str]]:
        """Strands with the ids of the messages that they gave back, whenever that was."""
        return frozenset(
            (access.strand, access.message.id)
            for access in self._history.accesses
            if access.op is Op.NACK and access.message is not None
        )

    def handed_out(self, handling: Handling) -> bool:
        """Whether the receipt stands: its transaction, if it has one, was not taken back."""
        return self._fates.of(handling.receipt) is not Fate.UNAPPLIED

    def was_sent(self, send: Access) -> bool:
        """Whether a send certainly came to be: told so, or another message of the same transaction was received."""
        return self._fates.of(send) is Fate.APPLIED or send.txn_id in self._proven


def group_of(access: Access) -> str:
    """The consumer group; "" where there is none, or nobody knows."""
    return (access.message.group if access.message is not None else None) or ""


def needs_group(access: Access) -> bool:
    """Whether a receipt is of a system with groups and does not say of which it is."""
    message = access.message
    return access.op is Op.RECEIVE and message is not None and message.group is None and access.system not in GROUPLESS
