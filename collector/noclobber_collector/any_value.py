"""A value of OTLP as text: what `accesses` keeps of values that are no text, number or boolean.

Lists and nested values become JSON, bytes base64; scalars are written as JSON writes them. Nothing is left out.

Source: opentelemetry-proto 1.x, common.proto (AnyValue).
"""

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["as_text", "pairs_as_text"]


def pairs_as_text(attributes: Iterable[KeyValue]) -> list[tuple[str, str]]:
    """Names and values of attributes, in their order."""
    return [(pair.key, as_text(pair.value)) for pair in attributes]


def as_text(value: AnyValue) -> str:
    """The value as text; a value that says nothing is an empty list, as ClickHouse reads it."""
    plain = _plain(value)
    match plain:
        case None:
            return "[]"
        case str():
            return plain
        case int() if not isinstance(plain, bool):
            return str(plain)
        case _:
            return orjson.dumps(plain).decode()


def _plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return {pair.key: _plain(pair.value) for pair in value.kvlist_value.values}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case kind:
            return getattr(value, kind)
