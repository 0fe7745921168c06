"""S3 and DynamoDB: a write of what is guarded gets the condition that it still is what was read.

S3: the ETag of the last GetObject or HeadObject becomes If-Match of a PutObject; where nothing was there,
If-None-Match. DynamoDB: each attribute of the item that GetItem gave becomes a condition of a PutItem, UpdateItem or
DeleteItem; where there was no item, that there still is none. An attribute that somebody has added meanwhile is no
part of that: items that grow want a version attribute of their own.

A call that has a condition already keeps it, and is not guarded twice. Every other write of what is guarded is refused
before it is sent. Clients of aiobotocore are told that they can't be guarded.

Source: S3 and DynamoDB API references (conditional requests, condition expressions).
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from noclobber.guard import GUARD
from noclobber.guarding.blocks import Memory, Unguardable, guards, memory_of, stale, wrote
from noclobber.stores import dynamodb, s3
from noclobber.stores.aws_call import Asked
from noclobber.stores.wrapping import Wrapping

__all__ = ["install", "uninstall"]

REFUSED: Final = frozenset(
    {"PreconditionFailed", "412", "ConditionalRequestConflict", "ConditionalCheckFailedException"}
)
NOT_THERE: Final = frozenset({"NoSuchKey", "404"})
S3_WRITES: Final = frozenset(
    {"PutObject", "DeleteObject", "CopyObject", "CompleteMultipartUpload", "DeleteObjects", "RestoreObject"}
)
ITEM_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
OTHER_WRITES: Final = frozenset(
    {"BatchWriteItem", "TransactWriteItems", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"}
)
ABSENT: Final = ("nothing there",)
_keys: dict[str, tuple[str, ...]] = {}
"""Table -> names in its key."""
_wrapping = Wrapping("botocore guard")
_async_wrapping = Wrapping("aiobotocore guard")


def install() -> None:
    """Put the guard around the method that makes every call.

    Raises:
        Unguardable: a version of the library that is not known.
    """
    import botocore.client  # type: ignore[import-untyped]  # it has no types

    _wrapping.wrap([(botocore.client.BaseClient, "_make_api_call", _calling)])
    if not _wrapping:
        raise Unguardable("noclobber can't guard AWS: it does not know this version of botocore")
    aio: Any = sys.modules.get("aiobotocore.client")
    if aio is not None:
        _async_wrapping.wrap([(aio.AioBaseClient, "_make_api_call", _refusing)])


def uninstall() -> None:
    """Take it off again."""
    _async_wrapping.restore()
    _wrapping.restore()


def _calling(below: Callable[..., Any]) -> Any:
    def make_api_call(self: Any, operation_name: str, api_params: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        guard = _GUARDS.get(service)
        if guard is None:
            return below(self, operation_name, api_params)
        if not guards(f"{service}://"):
            reply = below(self, operation_name, api_params)
            _note(self, operation_name, api_params)
            return reply
        return guard(below, self, operation_name, api_params)

    return make_api_call


def _refusing(below: Callable[..., Any]) -> Any:
    async def make_api_call(self: Any, operation_name: str, api_params: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        asks = service in _GUARDS and guards(f"{service}://")
        named = _named(self, operation_name, api_params) if asks else ()
        for resource in named:
            if memory_of(resource) is not None:
                raise Unguardable(f"noclobber can't guard {resource} through aiobotocore: give the condition yourself")
        return await below(self, operation_name, api_params)

    return make_api_call


def _named(client: Any, operation: str, params: dict[str, Any]) -> list[str]:
    """The resources that a call names."""
    service = client.meta.service_model.service_name
    if service == "s3" and isinstance(params.get("Bucket"), str):
        keys = [params["Key"]] if "Key" in params else []
        keys += [each["Key"] for each in (params.get("Delete") or {}).get("Objects") or ()]
        return [s3.resource_of(params["Bucket"], key) for key in keys]
    if service == "dynamodb":
        return [_item(client, each) for each in _items(operation, params)]
    return []


def _items(operation: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    """What a call asks for single items: each with its table, and a key or an item."""
    if operation == "BatchWriteItem":
        return [
            {"TableName": table, **next(iter(each.values()))}
            for table, requests in (params.get("RequestItems") or {}).items()
            for each in requests
        ]
    if operation == "TransactWriteItems":
        return [single for each in params.get("TransactItems") or () for single in each.values()]
    return [params] if "Key" in params or "Item" in params else []


# -- S3 ------------------------------------------------------------------------------------------------------------


def _s3(below: Callable[..., Any], client: Any, operation: str, params: dict[str, Any]) -> Any:
    resources = _named(client, operation, params)
    memories = [memory for resource in resources if (memory := memory_of(resource)) is not None]
    reads = operation in ("GetObject", "HeadObject") and "VersionId" not in params
    if not memories or not (reads or operation in S3_WRITES):
        reply = below(client, operation, params)
        _note(client, operation, params)
        return reply
    (resource, *more), memory = resources, memories[0]
    if reads:
        return _kept(lambda: below(client, operation, params), memory, resource)
    if operation != "PutObject" or more:
        raise Unguardable(
            f"{operation} of {resource} can't be guarded: only PutObject has a condition that all of S3 knows"
        )
    if "IfMatch" in params or "IfNoneMatch" in params:
        return below(client, operation, params)
    seen = memory.seen(resource)
    if seen is None:
        return _noted(below, client, operation, params, resource)
    condition = {"IfNoneMatch": "*"} if seen is ABSENT else {"IfMatch": seen}
    reply = _conditional(below, client, operation, {**params, **condition}, resource)
    memory.saw(resource, reply["ETag"])
    return reply


def _kept(call: Callable[[], Any], memory: Memory, resource: str) -> Any:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # it has no types

    try:
        reply = call()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in NOT_THERE:
            memory.saw(resource, ABSENT)
        raise
    memory.saw(resource, reply["ETag"])
    return reply


# -- DynamoDB ------------------------------------------------------------------------------------------------------


def _dynamodb(below: Callable[..., Any], client: Any, operation: str, params: dict[str, Any]) -> Any:
    resources = _named(client, operation, params)
    memories = [memory for resource in resources if (memory := memory_of(resource)) is not None]
    if not memories or not (operation == "GetItem" or operation in ITEM_WRITES or operation in OTHER_WRITES):
        reply = below(client, operation, params)
        _note(client, operation, params)
        return reply
    resource, memory = resources[0], memories[0]
    if operation == "GetItem":
        reply = below(client, operation, params)
        item = reply.get("Item")
        memory.saw(resource, ABSENT if item is None else dict(item))
        return reply
    if operation in OTHER_WRITES:
        raise Unguardable(
            f"{operation} of {resource} can't be guarded: write it by itself, or give the condition yourself"
        )
    if "ConditionExpression" in params or "Expected" in params:
        return below(client, operation, params)
    seen = memory.seen(resource)
    if seen is None:
        return _noted(below, client, operation, params, resource)
    reply = _conditional(below, client, operation, {**params, **_condition(params, seen)}, resource)
    memory.forget(resource)  # what an expression made of it is not known: the next write wants another read
    return reply


def _item(client: Any, params: dict[str, Any]) -> str:
    table = dynamodb.place(Asked("", params, client.meta.region_name or ""))
    key = params.get("Key")
    if key is None and table not in _keys:
        _keys[table] = _key_of(client, params["TableName"])
    if key is not None:
        _keys[table] = tuple(sorted(key))
    return dynamodb.resource_of(table, key or params["Item"], _keys[table])


def _key_of(client: Any, table: str) -> tuple[str, ...]:
    """The names in a table's key, which a whole item does not tell; asked once."""
    try:
        described = client.describe_table(TableName=table)["Table"]["KeySchema"]
    except Exception as error:
        raise Unguardable(
            f"the key of the table {table} is not known, and DescribeTable is refused: read an item by its key first"
        ) from error
    return tuple(sorted(each["AttributeName"] for each in described))


def _condition(params: dict[str, Any], seen: Any) -> dict[str, Any]:
    """The condition that an item still is what was read, and the names and values in it."""
    names, values = (
        dict(params.get("ExpressionAttributeNames") or {}),
        dict(params.get("ExpressionAttributeValues") or {}),
    )
    if seen is ABSENT:
        key = next(iter(params.get("Key") or params["Item"]))
        names["#noclobber0"] = key
        return {"ConditionExpression": "attribute_not_exists(#noclobber0)", "ExpressionAttributeNames": names}
    terms = []
    for number, (name, value) in enumerate(sorted(seen.items())):
        names[f"#noclobber{number}"], values[f":noclobber{number}"] = name, value
        terms.append(f"#noclobber{number} = :noclobber{number}")
    return {
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


# -- both ----------------------------------------------------------------------------------------------------------


def _conditional(below: Callable[..., Any], client: Any, operation: str, params: dict[str, Any], resource: str) -> Any:
    from botocore.exceptions import ClientError

    try:
        reply = below(client, operation, params)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in REFUSED:
            raise stale(resource) from error
        raise
    wrote(resource)
    return reply


def _noted(below: Callable[..., Any], client: Any, operation: str, params: dict[str, Any], resource: str) -> Any:
    reply = below(client, operation, params)
    wrote(resource)
    return reply


def _note(client: Any, operation: str, params: dict[str, Any]) -> None:
    """Remember who writes; nothing is asked for that, and a mistake in it is nobody's concern."""
    with GUARD:
        table = "Item" in params and dynamodb.place(Asked("", params, client.meta.region_name or ""))
        if (operation in S3_WRITES or operation in ITEM_WRITES) and (not table or table in _keys):
            for resource in _named(client, operation, params):
                wrote(resource)


_GUARDS: Final = {"s3": _s3, "dynamodb": _dynamodb}
