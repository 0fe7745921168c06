"""SQS: messages sent, received, deleted (`ack`) and given back (`nack`), by the id that producer and consumer know.

How many messages a receive gives is known only afterwards, so it takes its numbers then; one that gives none touched
nothing. Deletes and visibility changes name a receipt handle; which message that stands for is known to the process
that received it, elsewhere they are partial. A visibility timeout of nothing gives the message back; a longer one is
no access. Bodies, attributes and handles are never kept.

Whether a receipt is the first is said only to those who ask for ApproximateReceiveCount; without it a second one may
be what a lease's end gave, so it is partial.

Source: SQS API reference; contract 2.1; capture.md section 4.
"""

from collections import OrderedDict
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber.access import Access, AttributeValue
from noclobber.contract import Attr, Op, Outcome
from noclobber.resources import quoted
from noclobber.stores.aws_call import Asked, Noted
from noclobber.versions import fingerprint

__all__ = ["SYSTEM", "note", "queue_of"]

SYSTEM: Final = "aws_sqs"
HANDLES_MAX: Final = 4096

_received: OrderedDict[str, str] = OrderedDict()
"""Receipt handle's print -> id of its message; used by the drain only."""


def note(asked: Asked) -> Noted | None:
    """What is kept of a call; None where it moves no message."""
    known = _OPERATIONS.get(asked.operation)
    url = asked.params.get("QueueUrl")
    if known is None or not isinstance(url, str):
        return None
    describe, entries_of = known
    entries = entries_of(asked.params)
    late = asked.operation == "ReceiveMessage"
    if not entries and not late:
        return None
    kept = {"queue": queue_of(asked.region, url), "entries": entries}
    return Noted(asked.operation, kept, len(entries), describe, _messages if late else _answers, late=late)


def queue_of(region: str, url: str) -> str:
    """The queue's URI: accounts and regions have queues of one name."""
    account, _, name = urlsplit(url).path.strip("/").rpartition("/")
    return f"sqs://{quoted(region)}/{quoted(account)}/{quoted(name)}"


# -- what is asked -------------------------------------------------------------------------------------------------


def _one(params: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Id": "", "handle": params.get("ReceiptHandle"), "lease": params.get("VisibilityTimeout")}]


def _batch(params: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"Id": each.get("Id"), "handle": each.get("ReceiptHandle"), "lease": each.get("VisibilityTimeout")}
        for each in params.get("Entries") or ()
    ]


def _given_back(params: dict[str, Any]) -> list[dict[str, Any]]:
    return _one(params) if params.get("VisibilityTimeout") == 0 else []


def _given_back_batch(params: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in _batch(params) if each["lease"] == 0]


def _none(_params: dict[str, Any]) -> list[dict[str, Any]]:
    return []


# -- what is answered ----------------------------------------------------------------------------------------------


def _messages(reply: Any) -> dict[str, Any]:
    kept = [
        (each["MessageId"], each["ReceiptHandle"], (each.get("Attributes") or {}).get("ApproximateReceiveCount"))
        for each in reply.get("Messages") or ()
    ]
    return {"messages": kept}


def _answers(reply: Any) -> dict[str, Any]:
    if "MessageId" in reply:
        return {"ids": {"": reply["MessageId"]}, "failed": set()}
    return {
        "ids": {each.get("Id"): each.get("MessageId") for each in reply.get("Successful") or ()},
        "failed": {each.get("Id") for each in reply.get("Failed") or ()},
    }


# -- accesses ------------------------------------------------------------------------------------------------------


def _access(op: Op, noted: Noted, message: str | None) -> Access:
    attributes: dict[str, AttributeValue] = {}
    if message is not None:
        attributes[Attr.MESSAGE_ID] = message
    else:
        attributes[Attr.PARTIAL] = True
    if op is not Op.SEND:
        attributes[Attr.MESSAGE_GROUP] = str(noted.params["queue"])
    return Access(op, noted.params["queue"], SYSTEM, noted.failed or Outcome.OK, attributes=attributes)


def _send(noted: Noted) -> list[Access]:
    reply = noted.reply or {"ids": {}, "failed": set()}
    accesses = []
    for entry in noted.params["entries"]:
        access = _access(Op.SEND, noted, reply["ids"].get(entry["Id"]))
        if entry["Id"] in reply["failed"]:
            access.outcome = Outcome.ERROR
        accesses.append(access)
    return accesses


def _receive(noted: Noted) -> list[Access]:
    accesses = []
    for message, handle, deliveries in (noted.reply or {})["messages"]:
        access = _access(Op.RECEIVE, noted, message)
        if deliveries is not None:
            access.attributes[Attr.MESSAGE_DELIVERY] = int(deliveries)
        else:
            access.attributes[Attr.PARTIAL] = True
        _received[fingerprint(handle.encode())] = message
        if len(_received) > HANDLES_MAX:
            _received.popitem(last=False)
        accesses.append(access)
    return accesses


def _settle(op: Op, noted: Noted) -> list[Access]:
    failed = (noted.reply or {}).get("failed", ())
    accesses = []
    for entry in noted.params["entries"]:
        access = _access(op, noted, _received.get(fingerprint(str(entry["handle"]).encode())))
        if entry["Id"] in failed:
            access.outcome = Outcome.ERROR
        accesses.append(access)
    return accesses


def _ack(noted: Noted) -> list[Access]:
    return _settle(Op.ACK, noted)


def _nack(noted: Noted) -> list[Access]:
    return _settle(Op.NACK, noted)


_OPERATIONS: Final = {
    "SendMessage": (_send, _one),
    "SendMessageBatch": (_send, _batch),
    "ReceiveMessage": (_receive, _none),
    "DeleteMessage": (_ack, _one),
    "DeleteMessageBatch": (_ack, _batch),
    "ChangeMessageVisibility": (_nack, _given_back),
    "ChangeMessageVisibilityBatch": (_nack, _given_back_batch),
}
