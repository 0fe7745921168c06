"""OTLP/JSON, turned into the protobuf bytes that it stands for.

Ids are hex there, numbers of 64 bits may be text, enums are numbers, and what is not known is passed over: the stock
JSON mapping of protobuf gets the ids wrong and stops at what it does not know.

Source: OTLP specification 1.9, "JSON Protobuf Encoding"; protobuf's JSON mapping for the rest.
"""

import base64
from typing import Any, Final

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from noclobber_collector.errors import MalformedError

__all__ = ["from_json"]

DEPTH_MAX: Final = 100
_URL_SAFE: Final = str.maketrans("-_", "+/")


def from_json(body: bytes) -> bytes:
    """The protobuf bytes of an OTLP/JSON trace request.

    Raises:
        MalformedError: it is none; says where.
    """
    try:
        document = orjson.loads(body)
    except ValueError as error:
        raise MalformedError(f"the body is no JSON: {error}") from error
    request = ExportTraceServiceRequest()
    try:
        for resource in _list(document, "resourceSpans"):
            _resource_spans(resource, request.resource_spans.add())
        data: bytes = request.SerializeToString()
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise MalformedError(f"this JSON is no OTLP trace request: {error}") from error
    return data


def _list(document: Any, name: str) -> list[Any]:
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise TypeError(f"{name} must be a list")
    return found


def _whole(value: Any) -> int:
    """A whole number, as text or as number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _resource_spans(document: Any, out: Any) -> None:
    named = document.get("resource")
    if named is not None:
        _attributes(named, out.resource.attributes)
        out.resource.dropped_attributes_count = _whole(named.get("droppedAttributesCount") or 0)
        for each in _list(named, "entityRefs"):
            made = out.resource.entity_refs.add()
            made.schema_url, made.type = each.get("schemaUrl") or "", each.get("type") or ""
            made.id_keys.extend(_list(each, "idKeys"))
            made.description_keys.extend(_list(each, "descriptionKeys"))
    out.schema_url = document.get("schemaUrl") or ""
    for scope in _list(document, "scopeSpans"):
        into = out.scope_spans.add()
        named = scope.get("scope")
        if named is not None:
            into.scope.name, into.scope.version = named.get("name") or "", named.get("version") or ""
            _attributes(named, into.scope.attributes)
            into.scope.dropped_attributes_count = _whole(named.get("droppedAttributesCount") or 0)
        into.schema_url = scope.get("schemaUrl") or ""
        for span in _list(scope, "spans"):
            _span(span, into.spans.add())


def _span(document: Any, out: Span) -> None:
    out.trace_id, out.span_id = _id(document, "traceId"), _id(document, "spanId")
    out.parent_span_id = _id(document, "parentSpanId")
    out.trace_state, out.name = document.get("traceState") or "", document.get("name") or ""
    out.kind = _enum(document.get("kind") or 0, Span.SpanKind)
    out.start_time_unix_nano = _whole(document.get("startTimeUnixNano") or 0)
    out.end_time_unix_nano = _whole(document.get("endTimeUnixNano") or 0)
    out.flags = _whole(document.get("flags") or 0)
    out.dropped_attributes_count = _whole(document.get("droppedAttributesCount") or 0)
    out.dropped_events_count = _whole(document.get("droppedEventsCount") or 0)
    out.dropped_links_count = _whole(document.get("droppedLinksCount") or 0)
    _attributes(document, out.attributes)
    for event in _list(document, "events"):
        made = out.events.add()
        made.time_unix_nano, made.name = _whole(event.get("timeUnixNano") or 0), event.get("name") or ""
        made.dropped_attributes_count = _whole(event.get("droppedAttributesCount") or 0)
        _attributes(event, made.attributes)
    for link in _list(document, "links"):
        other = out.links.add()
        other.trace_id, other.span_id = _id(link, "traceId"), _id(link, "spanId")
        other.trace_state, other.flags = link.get("traceState") or "", _whole(link.get("flags") or 0)
        other.dropped_attributes_count = _whole(link.get("droppedAttributesCount") or 0)
        _attributes(link, other.attributes)
    status = document.get("status")
    if status is not None:
        out.status.message = status.get("message") or ""
        out.status.code = _enum(status.get("code") or 0, Status.StatusCode)


def _enum(value: Any, names: Any) -> Any:
    return value if isinstance(value, int) else names.Value(value)


def _id(document: Any, name: str) -> bytes:
    """An id of any length: whether it is one is judged where protobuf's are."""
    text = document.get(name) or ""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError(f"{name} must be hex digits, not {text!r}") from error


def _bytes(text: str) -> bytes:
    """Base64 of either alphabet, with or without its padding."""
    return base64.b64decode(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), validate=True)


def _attributes(document: Any, out: Any) -> None:
    for pair in _list(document, "attributes"):
        made: KeyValue = out.add()
        made.key = pair.get("key") or ""
        _value(pair.get("value") or {}, made.value, 0)


def _value(document: Any, out: AnyValue, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise ValueError(f"values are nested more than {DEPTH_MAX} deep")
    for name, value in document.items():
        if value is None:
            continue  # null is "not there" in protobuf's JSON
        match name:
            case "stringValue":
                out.string_value = value
            case "boolValue":
                if not isinstance(value, bool):
                    raise TypeError(f"{value!r} is neither true nor false")
                out.bool_value = value
            case "intValue":
                out.int_value = _whole(value)
            case "doubleValue":
                if isinstance(value, bool):
                    raise TypeError(f"{value!r} is no number")
                out.double_value = float(value)
            case "bytesValue":
                out.bytes_value = _bytes(value)
            case "arrayValue":
                out.array_value.SetInParent()
                for each in _list(value, "values"):
                    _value(each, out.array_value.values.add(), depth + 1)
            case "kvlistValue":
                out.kvlist_value.SetInParent()
                for pair in _list(value, "values"):
                    made = out.kvlist_value.values.add()
                    made.key = pair.get("key") or ""
                    _value(pair.get("value") or {}, made.value, depth + 1)
