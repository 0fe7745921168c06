"""Reads what clients send, just far enough to know that it is an OTLP request.

Nothing of a span is read in Python: the library's parser checks the bytes, spans are counted, and ClickHouse reads
the rest. OTLP/JSON is turned into the same bytes first; ids there are hex and integers may be text, which the stock
JSON mapping of protobuf gets wrong.

Source: OTLP specification 1.9, "JSON Protobuf Encoding".
"""

import base64
import binascii
import zlib
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from noclobber_collector.errors import MalformedError

__all__ = ["BODY_MAX", "TooLargeError", "check", "count_spans", "from_json", "unpack"]

BODY_MAX: Final = 64 << 20
"""Most bytes of a request, after decompression."""
DEPTH_MAX: Final = 100
ZSTD_STEP: Final = 512
"""Compressed bytes unpacked between two looks at the size: a frame's block can't become more than 32,768 times them."""


class TooLargeError(MalformedError):
    """A request of more than BODY_MAX bytes."""


def unpack(body: bytes, encoding: str) -> bytes:
    """`body` without its compression.

    Raises:
        TooLargeError: more than BODY_MAX bytes come out.
        MalformedError: an unknown encoding, or bytes that are not in it.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        data = body
    elif encoding in ("gzip", "deflate"):
        data = _inflate(body, 31 if encoding == "gzip" else 15)
    elif encoding == "zstd":
        data = _unzstd(body)
    else:
        raise MalformedError(f"the content-encoding {encoding!r} is not known; use gzip, zstd or none")
    if len(data) > BODY_MAX:
        raise TooLargeError(f"the request has more than {BODY_MAX} bytes")
    return data


def _inflate(body: bytes, bits: int) -> bytes:
    """Unpack gzip (which may have several members, RFC 1952) or deflate, BODY_MAX bytes and one at most."""
    parts: list[bytes] = []
    size = 0
    while body and size <= BODY_MAX:
        stream = zlib.decompressobj(bits)
        try:
            parts.append(stream.decompress(body, BODY_MAX + 1 - size))
        except zlib.error as error:
            raise MalformedError(f"the body is not what its content-encoding says: {error}") from error
        size += len(parts[-1])
        if size <= BODY_MAX and not stream.eof:
            raise MalformedError("the compressed body is cut off")
        body = stream.unused_data
    return b"".join(parts)


def _unzstd(body: bytes) -> bytes:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=BODY_MAX).decompressobj()
    parts: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(body), ZSTD_STEP):
            parts.append(stream.decompress(body[at : at + ZSTD_STEP]))
            size += len(parts[-1])
            if size > BODY_MAX or stream.eof:
                break
    except zstandard.ZstdError as error:
        raise MalformedError(f"the body is not what its content-encoding says: {error}") from error
    if size <= BODY_MAX and not stream.eof:
        raise MalformedError("the compressed body is cut off")
    return b"".join(parts)


def check(data: bytes) -> int:
    """How many spans `data`, an ExportTraceServiceRequest, holds.

    Raises:
        MalformedError: it is none.
    """
    try:
        return _count(ExportTraceServiceRequest.FromString(data))
    except DecodeError as error:
        raise MalformedError(f"this is no OTLP trace request: {error}") from error


def count_spans(data: bytes) -> int:
    """The same for bytes that were checked before; fields of our own at their end do no harm."""
    return _count(ExportTraceServiceRequest.FromString(data))


def _count(request: ExportTraceServiceRequest) -> int:
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


# -- OTLP/JSON -----------------------------------------------------------------------------------------------------


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
    except (AttributeError, TypeError, ValueError, KeyError, binascii.Error) as error:
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
    """A number of 64 bits, as text or as number."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _resource_spans(document: Any, out: Any) -> None:
    _attributes(document.get("resource") or {}, out.resource.attributes)
    out.schema_url = document.get("schemaUrl") or ""
    for scope in _list(document, "scopeSpans"):
        into = out.scope_spans.add()
        named = scope.get("scope")
        if named is not None:
            into.scope.name, into.scope.version = named.get("name") or "", named.get("version") or ""
            _attributes(named, into.scope.attributes)
        for span in _list(scope, "spans"):
            _span(span, into.spans.add())


def _span(document: Any, out: Span) -> None:
    out.trace_id, out.span_id = _id(document, "traceId", 16), _id(document, "spanId", 8)
    out.parent_span_id = _id(document, "parentSpanId", 8)
    out.trace_state, out.name = document.get("traceState") or "", document.get("name") or ""
    out.kind = _enum(document.get("kind") or 0, Span.SpanKind)
    out.start_time_unix_nano = _whole(document.get("startTimeUnixNano") or 0)
    out.end_time_unix_nano = _whole(document.get("endTimeUnixNano") or 0)
    out.flags = _whole(document.get("flags") or 0)
    _attributes(document, out.attributes)
    for event in _list(document, "events"):
        made = out.events.add()
        made.time_unix_nano, made.name = _whole(event.get("timeUnixNano") or 0), event.get("name") or ""
        _attributes(event, made.attributes)
    for link in _list(document, "links"):
        other = out.links.add()
        other.trace_id, other.span_id = _id(link, "traceId", 16), _id(link, "spanId", 8)
        other.trace_state = link.get("traceState") or ""
        _attributes(link, other.attributes)
    status = document.get("status")
    if status is not None:
        out.status.message = status.get("message") or ""
        out.status.code = _enum(status.get("code") or 0, Status.StatusCode)


def _enum(value: Any, names: Any) -> Any:
    return value if isinstance(value, int) else names.Value(value)


def _id(document: Any, name: str, size: int) -> bytes:
    text = document.get(name) or ""
    if not text:
        return b""
    data = bytes.fromhex(text)
    if len(data) != size:
        raise ValueError(f"{name} must be {2 * size} hex digits, not {text!r}")
    return data


def _attributes(document: Any, out: Any) -> None:
    for pair in _list(document, "attributes"):
        made: KeyValue = out.add()
        made.key = pair["key"]
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
                out.bool_value = value
            case "intValue":
                out.int_value = _whole(value)
            case "doubleValue":
                out.double_value = float(value)
            case "bytesValue":
                out.bytes_value = base64.b64decode(value)
            case "arrayValue":
                out.array_value.SetInParent()
                for each in _list(value, "values"):
                    _value(each, out.array_value.values.add(), depth + 1)
            case "kvlistValue":
                out.kvlist_value.SetInParent()
                for pair in _list(value, "values"):
                    made = out.kvlist_value.values.add()
                    made.key = pair["key"]
                    _value(pair.get("value") or {}, made.value, depth + 1)
