"""EventBridge: events put on a bus, as messages sent by the id that EventBridge gives them.

What an event is routed to is EventBridge's own matter: a queue, a function or a workflow gets it as a message of its
own, whose body holds the event's id and is never looked into. So an event is told as sent, and whoever acts on it is
not linked to it. Source, kind and detail of an event are never kept.

Source: EventBridge API reference, PutEvents; capture.md section 4.
"""

from typing import Any, Final

from noclobber.access import Access
from noclobber.contract import Attr, Op, Outcome
from noclobber.resources import quoted
from noclobber.stores.aws_call import Asked, Noted

__all__ = ["note"]

SYSTEM: Final = "aws.eventbridge"
DEFAULT_BUS: Final = "default"


def note(asked: Asked) -> Noted | None:
    """What is kept of a call; None where it puts no event."""
    entries = asked.params.get("Entries") if asked.operation == "PutEvents" else None
    if not isinstance(entries, list) or not entries:
        return None
    buses = [_bus(asked.region, each.get("EventBusName")) for each in entries if isinstance(each, dict)]
    if len(buses) < len(entries):
        return None  # botocore will refuse it
    return Noted(asked.operation, {"buses": buses}, len(buses), _sent, _answers)


def _bus(region: str, name: Any) -> str:
    """The bus's URI. Only an ARN names an account, so none is told: two accounts' buses of one name are one."""
    text = str(name or DEFAULT_BUS)
    if text.startswith("arn:"):
        parts = text.split(":", 5)
        region, text = parts[3], parts[-1].partition("/")[2]
    return f"eventbridge://{quoted(region)}/{quoted(text)}"


def _answers(reply: Any) -> dict[str, Any]:
    return {"ids": [each.get("EventId") for each in reply.get("Entries") or ()]}


def _sent(noted: Noted) -> list[Access]:
    """One message an event, in order; what the reply has no id for was not taken."""
    buses: list[str] = noted.params["buses"]
    ids = [None] * len(buses) if noted.reply is None else noted.reply["ids"]
    accesses = []
    for bus, event in zip(buses, ids, strict=True):
        access = Access(Op.SEND, bus, SYSTEM, noted.failed or (Outcome.OK if event else Outcome.ERROR))
        if event:
            access.attributes[Attr.MESSAGE_ID] = event
        else:
            access.attributes[Attr.PARTIAL] = True  # nobody knows its id
        accesses.append(access)
    return accesses
