"""DynamoDB: items by key, their attributes as parts, conditions as guards, updates in place as updates.

An item's version is the print of its attributes, one by one, so that a write of one attribute finds its base in a read
of the whole. boto3's resources speak Python's values and its clients DynamoDB's typed ones: both give one print, and
numbers are printed in their shortest form. A condition names attributes, not versions; where this process has seen the
item with those values, the newest state seen so is what the guard compared.

A table's key is known from any call that names one. In exact mode a write asks for what it replaces (ALL_OLD), which is
taken out of the reply again. Calls for several items are told item by item (`dynamodb_many`); PartiQL is not told.

Source: DynamoDB API reference; contract 2.1; capture.md section 2 and 2.2.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from noclobber.access import Access, AttributeValue, Member
from noclobber.contract import ABSENT, Attr, BaseSource, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.resources import quoted
from noclobber.stores import dynamodb_many
from noclobber.stores.aws_call import Asked, Noted
from noclobber.stores.dynamodb_expressions import REMOVED, UNKNOWN, change_of, condition_of, projected
from noclobber.versions import encode, fingerprint, fingerprint_parts, is_numeric, is_weak

__all__ = ["exact", "note", "place", "plain", "resource_of"]

SYSTEM: Final = "aws.dynamodb"
RESULTS_MAX: Final = 64
STATES_MAX: Final = 4096
_TYPES: Final = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL"})
_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
_BY_KEY: Final = frozenset({"GetItem", "UpdateItem", "DeleteItem", "ConditionCheck"})

_keys: dict[str, tuple[str, ...]] = {}
"""Table -> names of its key's attributes, once a call has named them."""
_states: OrderedDict[tuple[str, str, str], dict[str, str]] = OrderedDict()
"""Item, attribute, its print -> the newest state seen with it, as prints; used by the drain only."""


def note(asked: Asked) -> Noted | None:
    """What is kept of a call; None where it touches no item."""
    if asked.operation in dynamodb_many.OPERATIONS:
        return _note_many(asked)
    table = place(asked)
    key = asked.params.get("Key")
    if isinstance(key, dict):
        _keys[table] = tuple(sorted(key))
    describe = _DESCRIBE.get(asked.operation)
    if describe is None or not isinstance(asked.params.get("TableName"), str):
        return None
    if asked.operation in _BY_KEY and not isinstance(key, dict):
        return None  # botocore will refuse it
    params = copy.deepcopy(asked.params)
    params["table"] = table
    change = params["change"] = change_of(params) if asked.operation == "UpdateItem" else None
    count = 2 if change is not None and change.given and change.placed else 1
    return Noted(asked.operation, params, count, describe, _whole)


def _note_many(asked: Asked) -> Noted | None:
    found = [note(single) for single in dynamodb_many.singles(asked)]
    each = [one for one in found if one is not None]
    if not each or len(each) < len(found):
        return None  # botocore will refuse it
    count = sum(one.count for one in each)
    return Noted(asked.operation, {"each": each, "region": asked.region}, count, _many, _whole)


def place(asked: Asked) -> str:
    """URI of the table, with a slash at its end."""
    return _table(asked.region, asked.params.get("TableName"))


def _table(region: str, name: Any) -> str:
    return f"dynamodb://{quoted(region)}/{quoted(str(name).rpartition('/')[2])}/"


def _whole(reply: Any) -> dict[str, Any]:
    single = {name: reply[name] for name in ("Item", "Attributes", "Items") if name in reply}
    return copy.deepcopy({**single, **dynamodb_many.kept(reply)})


# -- exact mode ----------------------------------------------------------------------------------------------------


def exact(asked: Asked) -> dict[str, Any] | None:
    """The parameters that also ask for what is replaced; None where there is nothing to ask, or the caller did."""
    if asked.operation in _WRITES and asked.params.get("ReturnValues") in (None, "NONE"):
        return {**asked.params, "ReturnValues": "ALL_OLD"}
    return None


def plain(reply: Any) -> Any:
    """The reply as the caller's own call would have had it."""
    return {name: value for name, value in reply.items() if name != "Attributes"}


# -- values and versions -------------------------------------------------------------------------------------------


def _bytes(value: Any) -> bytes:
    """Canonical bytes of an attribute's value, typed as in the API or Python's own as in boto3's resources."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind in _TYPES:
            return _typed(kind, inner)
    if isinstance(value, bool) or value is None:
        return b"null" if value is None else encode(value)
    if isinstance(value, int | Decimal | float):
        return _number(value)
    if isinstance(value, dict):
        return b"{" + b",".join(encode(name) + b":" + _bytes(value[name]) for name in sorted(value)) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_bytes, value)) + b"]"
    if isinstance(value, set | frozenset):
        return b"<" + b",".join(sorted(map(_bytes, value))) + b">"
    return encode(getattr(value, "value", value))  # boto3's Binary


def _typed(kind: str, inner: Any) -> bytes:
    match kind:
        case "N":
            return _number(inner)
        case "NULL":
            return b"null"
        case "NS":
            return _bytes({Decimal(each) for each in inner})
        case "SS" | "BS":
            return _bytes(set(inner))
    return _bytes(inner)


def _number(value: Any) -> bytes:
    try:
        found = Decimal(str(value)).normalize()
    except InvalidOperation:
        return encode(value)
    return format(found, "f").encode()


def _prints(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: ABSENT if value is REMOVED else fingerprint(_bytes(value)) for name, value in item.items()}


def _combined(prints: Mapping[str, str]) -> str:
    return next(iter(prints.values())) if len(prints) == 1 else fingerprint_parts(prints)


def _put(access: Access, name: str, item: Mapping[str, Any], key: tuple[str, ...] = ()) -> dict[str, str]:
    """Put the version that `item`'s attributes are under `name`; returns the attributes' own prints."""
    prints = _prints(item)
    attributes = access.attributes
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    attributes[Attr.VERSION_VERBATIM] = False
    attributes[name] = _combined(prints)
    access.part_versions = prints
    data = [_bytes(value) for each, value in item.items() if value is not REMOVED and each not in key]
    attributes[Attr.SIZE] = sum(map(len, data))
    if all(map(is_weak, data)):
        attributes[Attr.VERSION_WEAK] = True
    if len(item) == 1 and len(data) == 1 and is_numeric(data[0]):
        attributes[Attr.CONTENT_NUMERIC] = True
    return prints


def _absent(access: Access, name: str) -> None:
    access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    access.attributes[name] = ABSENT


def _saw(resource: str, prints: dict[str, str]) -> None:
    for name, version in prints.items():
        _states[resource, name, version] = prints
        _states.move_to_end((resource, name, version))
    while len(_states) > STATES_MAX:
        _states.popitem(last=False)


def _resource(table: str, item: Mapping[str, Any]) -> str | None:
    """The item's URI, None where its table's key is not known."""
    names = _keys.get(table, ())
    if not names or not all(name in item for name in names):
        return None
    return resource_of(table, item, names)


def resource_of(table: str, item: Mapping[str, Any], names: Iterable[str]) -> str:
    """The URI of an item whose table's key has these `names`, in their order."""
    return table + ",".join(
        f"{quoted(name)}={quoted(_bytes(item[name]).decode('utf-8', 'backslashreplace'))}" for name in names
    )


# -- operations ----------------------------------------------------------------------------------------------------


def _read(noted: Noted) -> list[Access]:
    params = noted.params
    resource = _resource(params["table"], params["Key"]) or params["table"]
    part, whole = projected(params)
    access = Access(Op.READ, resource, SYSTEM, noted.failed or Outcome.OK, part)
    item = (noted.reply or {}).get("Item")
    if noted.reply is None:
        if noted.failed is None:  # one of a batch, whose items were asked for without their keys
            access.attributes[Attr.PARTIAL] = True
        return [access]
    if item is None:
        access.outcome = Outcome.NOT_FOUND
        _absent(access, Attr.VERSION_READ)
    elif not whole:
        access.attributes[Attr.PARTIAL] = True
    else:
        asked = {name: item.get(name, REMOVED) for name in part} if part else item
        prints = _put(access, Attr.VERSION_READ, asked, tuple(params["Key"]))
        if not part:
            _saw(resource, prints)
    return [access]


def _write(noted: Noted) -> list[Access]:
    """A PutItem: the whole is replaced."""
    params = noted.params
    item = params.get("Item") or {}
    resource = _resource(params["table"], item)
    if resource is None:
        return [_unknown(params["table"], noted)]
    access = Access(Op.WRITE, resource, SYSTEM, finds_base=True)
    prints = _put(access, Attr.VERSION_WRITTEN, item, _keys.get(params["table"], ()))
    _finish(access, noted)
    if access.outcome is Outcome.OK:
        _saw(resource, prints)
    return [access]


def _delete(noted: Noted) -> list[Access]:
    params = noted.params
    access = Access(Op.DELETE, _resource(params["table"], params["Key"]) or params["table"], SYSTEM, finds_base=True)
    _absent(access, Attr.VERSION_WRITTEN)
    _finish(access, noted)
    return [access]


def _update(noted: Noted) -> list[Access]:
    """Attributes that are set to a given value are written; those that the store computes are updated in place."""
    params, change = noted.params, noted.params["change"]
    resource = _resource(params["table"], params["Key"]) or params["table"]
    if change is None:
        return [_unknown(resource, noted)]
    accesses = []
    if change.given:
        given = Access(Op.WRITE, resource, SYSTEM, part=tuple(sorted(change.given)), finds_base=True)
        if any(value is UNKNOWN for value in change.given.values()):
            given.attributes[Attr.PARTIAL] = True
        else:
            _put(given, Attr.VERSION_WRITTEN, change.given)
        accesses.append(given)
    if change.placed:
        mode = WriteMode.INCREMENT if change.adds else WriteMode.MERGE
        placed = Access(Op.UPDATE, resource, SYSTEM, part=tuple(sorted(change.placed)))
        placed.attributes[Attr.WRITE_MODE] = mode
        new = (
            (noted.reply or {}).get("Attributes") if params.get("ReturnValues") in ("ALL_NEW", "UPDATED_NEW") else None
        )
        if new and all(name in new for name in placed.part):
            _put(placed, Attr.VERSION_WRITTEN, {name: new[name] for name in placed.part})
        accesses.append(placed)
    for access in accesses:
        _finish(access, noted)
    return accesses


def _unknown(resource: str, noted: Noted) -> Access:
    attributes: dict[str, AttributeValue] = {Attr.PARTIAL: True, Attr.WRITE_MODE: WriteMode.MERGE}
    outcome = noted.failed or Outcome.OK
    return Access(Op.UPDATE, resource, SYSTEM, outcome, attributes=attributes, remembered=False)


def _finish(access: Access, noted: Noted) -> None:
    """Guard, outcome, and what was replaced or refused it, where the store told."""
    _guard(access, noted)
    if noted.failed is not None:
        access.outcome = noted.failed
        refused = noted.refusal.get("Item")
        if refused and noted.failed is Outcome.REJECTED:
            access.attributes[Attr.VERSION_READ] = _of_parts(_prints(refused), access.part)
    told = noted.exact or noted.params.get("ReturnValues") == "ALL_OLD"
    if noted.reply is not None and told:
        old = noted.reply.get("Attributes")
        access.attributes[Attr.VERSION_OVERWRITTEN] = _of_parts(_prints(old), access.part) if old else ABSENT


def _of_parts(prints: Mapping[str, str], part: tuple[str, ...]) -> str:
    return _combined({name: prints.get(name, ABSENT) for name in part} if part else prints)


def _guard(access: Access, noted: Noted) -> None:
    condition = condition_of(noted.params)
    attributes = access.attributes
    if condition is None:
        if noted.failed is Outcome.REJECTED and dynamodb_many.CONDITIONS in noted.params:
            attributes[Attr.GUARD] = Guard.VERSION  # of another item of the same transaction
            attributes[Attr.VERSION_EXPECTED] = fingerprint(b"a condition")
        return
    if condition.absent and not condition.equal and not condition.others:
        attributes[Attr.GUARD] = Guard.UNIQUE
        if access.op is Op.WRITE:
            attributes[Attr.WRITE_MODE] = WriteMode.INSERT
        return
    attributes[Attr.GUARD] = Guard.VERSION
    prints = _prints({name: value for name, value in condition.equal.items() if value is not UNKNOWN})
    known = next((_states.get((access.resource, *each)) for each in prints.items()), None)
    if known is None or any(known.get(name) != version for name, version in prints.items()):
        attributes[Attr.VERSION_EXPECTED] = _combined(prints) if prints else fingerprint(b"a condition")
        access.finds_base = False  # it was compared with something that this process has not seen
        return
    expected = attributes[Attr.VERSION_EXPECTED] = _of_parts(known, access.part)
    if access.op is not Op.UPDATE:
        attributes[Attr.VERSION_BASE] = expected
        attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT


def _scan(noted: Noted) -> list[Access]:
    """A Query or Scan of one page: which items fit, and what each was."""
    params, reply = noted.params, noted.reply or {}
    table, items = params["table"], reply.get("Items") or []
    names = ("KeyConditionExpression", "FilterExpression", "ExpressionAttributeValues", "IndexName")
    asked = {name: params[name] for name in names if name in params}
    access = Access(Op.SCAN, table, SYSTEM, noted.failed or Outcome.OK)
    found = [(resource, item) for item in items if (resource := _resource(table, item)) is not None]
    attributes = access.attributes
    attributes[Attr.PREDICATE] = fingerprint(repr(asked).encode()) if asked else "*"
    attributes[Attr.RESULT_RESOURCES] = tuple(resource for resource, _ in found[:RESULTS_MAX])
    attributes[Attr.RESULT_COUNT] = len(items)
    whole = not {"ProjectionExpression", "AttributesToGet", "IndexName"} & params.keys()
    if whole:
        states = [(resource, _prints(item)) for resource, item in found]
        attributes[Attr.VERSION_KIND], attributes[Attr.VERSION_VERBATIM] = VersionKind.FINGERPRINT, False
        attributes[Attr.RESULT_VERSIONS] = tuple(_combined(prints) for _, prints in states[:RESULTS_MAX])
        access.members = tuple(Member(each, _combined(prints), (), prints) for each, prints in states)
        for resource, prints in states:
            _saw(resource, prints)
    if len(found) < len(items) or len(items) > RESULTS_MAX or "Limit" in params or "ExclusiveStartKey" in params:
        attributes[Attr.PARTIAL] = True
    return [access]


# -- many at once --------------------------------------------------------------------------------------------------


def _many(noted: Noted) -> list[Access]:
    """Each item alone; what all were answered together is handed to each first."""
    each: list[Noted] = noted.params["each"]
    region = noted.params["region"]
    dynamodb_many.answer(noted, each, lambda table, item: _resource(_table(region, table), item))
    return [access for one in each for access in one.describe(one)]


def _check(noted: Noted) -> list[Access]:
    """What a transaction insists on of an item that it does not change: where it holds, that is what it saw."""
    params = noted.params
    access = Access(Op.READ, _resource(params["table"], params["Key"]) or params["table"], SYSTEM)
    condition = condition_of(params)
    values = {} if condition is None else {n: v for n, v in condition.equal.items() if v is not UNKNOWN}
    if noted.failed is not None:
        access.outcome = Outcome.ERROR if noted.failed is Outcome.REJECTED else noted.failed
    elif values:
        access.part = tuple(sorted(values))
        _put(access, Attr.VERSION_READ, values)
    return [access]


_DESCRIBE: Final = {
    "GetItem": _read,
    "PutItem": _write,
    "UpdateItem": _update,
    "DeleteItem": _delete,
    "ConditionCheck": _check,
    "Query": _scan,
    "Scan": _scan,
}
