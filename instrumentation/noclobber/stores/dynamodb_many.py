"""DynamoDB's calls for several items: which single calls they stand for, and which answer belongs to which.

A batch is the single calls beside one another: some may be done and others not, and the reply says which are left over.
A transaction is all or none: where it is cancelled, each item has a reason of its own, and all of them were refused as
soon as one condition was. What a transaction only insists on (`ConditionCheck`) is a call of its own, which looks.

Source: DynamoDB API reference, BatchGetItem, BatchWriteItem, TransactGetItems, TransactWriteItems.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from noclobber.contract import Outcome
from noclobber.stores.aws_call import Asked, Noted

__all__ = ["CONDITIONS", "OPERATIONS", "answer", "kept", "singles"]

OPERATIONS: Final = frozenset({"BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems"})
CONDITIONS: Final = "noclobber.conditions"
"""Mark in the parameters of a single call: it is refused if any condition of its transaction is."""
_IN_BATCHES: Final = {"PutRequest": "PutItem", "DeleteRequest": "DeleteItem"}
_IN_TRANSACTIONS: Final = {
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheck",
}

Named = Callable[[str, Mapping[str, Any]], str | None]
"""From a table's name and an item or a key to the item's URI, None where it can't be told."""


def singles(asked: Asked) -> list[Asked]:
    """The single calls that `asked` stands for, in its order; none where botocore will refuse it."""
    try:
        return [Asked(operation, params, asked.region) for operation, params in _found(asked)]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _found(asked: Asked) -> list[tuple[str, dict[str, Any]]]:
    params = asked.params
    found: list[tuple[str, dict[str, Any]]] = []
    if asked.operation == "BatchGetItem":
        for table, each in (params.get("RequestItems") or {}).items():
            how = {name: value for name, value in each.items() if name != "Keys"}
            found += [("GetItem", {**how, "TableName": table, "Key": key}) for key in each.get("Keys") or ()]
    elif asked.operation == "BatchWriteItem":
        for table, requests in (params.get("RequestItems") or {}).items():
            for request in requests:
                ((kind, one),) = request.items()
                found.append((_IN_BATCHES[kind], {**one, "TableName": table}))
    else:
        for item in params.get("TransactItems") or ():
            ((kind, one),) = item.items()
            found.append((_IN_TRANSACTIONS[kind], dict(one)))
        if any("ConditionExpression" in one for _, one in found):
            found = [(operation, {**one, CONDITIONS: True}) for operation, one in found]
    return found


def kept(reply: Any) -> dict[str, Any]:
    """What is needed of a reply."""
    return {name: reply[name] for name in ("Responses", "UnprocessedKeys", "UnprocessedItems") if reply.get(name)}


def answer(whole: Noted, each: list[Noted], named: Named) -> None:
    """Give the single calls `each` what the answer to `whole` says of them."""
    if whole.reply is None:
        _raised(whole, each)
    elif whole.operation == "TransactGetItems":
        for one, response in zip(each, whole.reply.get("Responses") or (), strict=True):
            one.reply = response
    elif whole.operation == "BatchGetItem":
        _got(whole.reply, each, named)
    else:
        _put(whole.reply, each, named)


def _raised(whole: Noted, each: list[Noted]) -> None:
    """A transaction that was cancelled by a condition is refused as a whole; by anything else it is just not done."""
    reasons = whole.refusal.get("CancellationReasons") or [{}] * len(each)
    refused = any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)
    failed = Outcome.REJECTED if refused and whole.failed is Outcome.ERROR else whole.failed
    for one, reason in zip(each, reasons, strict=True):
        one.failed = failed
        one.refusal = reason


def _got(reply: Mapping[str, Any], each: list[Noted], named: Named) -> None:
    found = {
        named(table, item): item for table, items in (reply.get("Responses") or {}).items() for item in items
    }  # an item that was asked for without its key is nobody's
    left = {
        named(table, key)
        for table, request in (reply.get("UnprocessedKeys") or {}).items()
        for key in request.get("Keys") or ()
    }
    for one in each:
        name = named(one.params["TableName"], one.params["Key"])
        item = found.get(name)
        if name in left:
            one.failed = Outcome.ERROR
        elif item is not None:
            one.reply = {"Item": item}
        elif None not in found:
            one.reply = {}


def _put(reply: Mapping[str, Any], each: list[Noted], named: Named) -> None:
    left = {
        named(table, one.get("Item") or one.get("Key") or {})
        for table, requests in (reply.get("UnprocessedItems") or {}).items()
        for request in requests
        for one in request.values()
    }
    for one in each:
        name = named(one.params["TableName"], one.params.get("Item") or one.params.get("Key") or {})
        if name in left:
            one.failed = Outcome.ERROR if name is not None else Outcome.UNKNOWN
        else:
            one.reply = {}
