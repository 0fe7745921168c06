"""What all queues share: a message's name, and the spans of one message.

Brokers number messages by queue, so two queues give the same number; a message is named by the broker's number and a
short keyed print of where it counts. Producer and consumer make the same name of it, nothing is added to a message,
and nobody's queue names are told by it. A send whose number is not known (it failed, or the reply is lost) is named so
that no receipt can be taken for it.

Source: contract 2 (`message.*`); capture.md section 4.
"""

from dataclasses import dataclass
from typing import Final

from noclobber.access import Access, AttributeValue
from noclobber.contract import Attr, Op, Outcome
from noclobber.versions import fingerprint

__all__ = ["UNTOLD", "Queue", "message_id", "print_of"]

PLACE_DIGITS: Final = 12
UNTOLD: Final = "untold"
"""In the place of the number of a message that has none, or none that is known."""


def message_id(number: str, *place: str) -> str:
    """The name of the message that is `number` in `place` (a stream's key; a topic and its partition)."""
    return f"{number}@{fingerprint('/'.join(place).encode())[:PLACE_DIGITS]}"


def print_of(*words: bytes) -> str:
    """A name for a message that has none but its content."""
    return fingerprint(b"".join(b"%d:%s," % (len(word), word) for word in words))


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue as one group of consumers sees it.

    Attributes:
        resource: its URI. system: the broker's. group: None where it is not known.
    """

    resource: str
    system: str
    group: str | None = None

    def access(
        self,
        op: Op,
        message: str,
        outcome: Outcome = Outcome.OK,
        *,
        delivery: int | None = None,
        held: bool | None = True,
        partial: bool = False,
        **more: AttributeValue | None,
    ) -> Access:
        """The access that sends, receives or settles one message.

        Args:
            op: what is done.
            message: its name.
            outcome: how that ended.
            delivery: 1 for the first.
            held: as `Access` has it.
            partial: whether something about it is not known.
            more: further attributes by the contract's names below `message.`, None where unknown: `key="a"`.
        """
        attributes: dict[str, AttributeValue] = {Attr.MESSAGE_ID: message}
        if self.group is not None and op is not Op.SEND:
            attributes[Attr.MESSAGE_GROUP] = self.group
        if delivery is not None:
            attributes[Attr.MESSAGE_DELIVERY] = delivery
        if partial:
            attributes[Attr.PARTIAL] = True
        for name, value in more.items():
            if value is not None:
                attributes[f"noclobber.message.{name}"] = value
        return Access(op, self.resource, self.system, outcome, attributes=attributes, remembered=False, held=held)
