"""OTLP bytes by hand, straight from a span's attributes.

A general encoder spends most of its time on messages that nobody looks at again. Here each attribute's key is
encoded once for the process and a span is a handful of joined byte strings; the bytes decode to what the SDK would
have sent, which a test holds.

Source: opentelemetry-proto, trace/v1/trace.proto; protobuf encoding. OTLP/JSON: ids are hex, 64-bit integers text.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from noclobber.access import AttributeValue

__all__ = ["Span", "json_line", "request_bytes"]

KIND_INTERNAL: Final = 1


@dataclass(frozen=True, slots=True)
class Span:
    """One span, ready to be written.

    Attributes:
        library: its scope is `noclobber.{library}`.
        trace_id, span_id, parent_id: integers; parent_id 0 where there is none.
        start_ns, end_ns: unix time, nanoseconds.
    """

    library: str
    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue]


def request_bytes(resource: Mapping[str, AttributeValue], spans: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest with all `spans` of one process, grouped by library."""
    by_library: dict[str, list[bytes]] = {}
    for span in spans:
        by_library.setdefault(span.library, []).append(_field(2, _span(span)))
    scopes = b"".join(
        _field(2, _field(1, _field(1, f"noclobber.{library}".encode())) + b"".join(encoded))
        for library, encoded in by_library.items()
    )
    return _field(1, _field(1, _attributes(1, resource)) + scopes)


def json_line(resource: Mapping[str, AttributeValue], spans: Iterable[Span]) -> str:
    """The same request as one line of OTLP/JSON, without the line's end."""
    by_library: dict[str, list[dict[str, object]]] = {}
    for span in spans:
        by_library.setdefault(span.library, []).append(_json_span(span))
    scopes = [{"scope": {"name": f"noclobber.{library}"}, "spans": each} for library, each in by_library.items()]
    request = {"resourceSpans": [{"resource": {"attributes": _json_attributes(resource)}, "scopeSpans": scopes}]}
    return json.dumps(request, separators=(",", ":"), ensure_ascii=False)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = [bytes((number,)) for number in range(0x80)]


def _field(number: int, data: bytes) -> bytes:
    return _SMALL[number << 3 | 2] + _varint(len(data)) + data


_keys: dict[str, bytes] = {}
KEYS_MAX: Final = 4096


def _key(name: str) -> bytes:
    encoded = _keys.get(name)
    if encoded is None:
        encoded = _field(1, name.encode())
        if len(_keys) < KEYS_MAX:
            _keys[name] = encoded
    return encoded


_texts: dict[tuple[str, str], bytes] = {}
TEXTS_MAX: Final = 16_384
"""Attributes whose bytes are kept: most texts of a process (names, strands, keys) come again and again."""


def _attributes(number: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    out = bytearray()
    tag = number << 3 | 2
    for name, value in attributes.items():
        if isinstance(value, str):
            known = _texts.get((name, value))
            if known is None:
                known = _text_attribute(name, value)
        elif value is None:
            continue
        else:
            encoded = _value(value)
            known = _key(name) + b"\x12" + _varint(len(encoded)) + encoded
        out.append(tag)
        out += _varint(len(known))
        out += known
    return bytes(out)


def _text_attribute(name: str, value: str) -> bytes:
    known = _key(name) + _field(2, _value(value))
    if len(known) <= 256:
        if len(_texts) >= TEXTS_MAX:
            _texts.clear()
        _texts[name, str(value)] = known
    return known


def _value(value: AttributeValue) -> bytes:
    if isinstance(value, str):
        return _field(1, _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    return _field(5, b"".join(_field(1, _value(each)) for each in value))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


FLAGS: Final = 0x100
"""The parent is known not to be remote."""
_TAIL: Final = b"\x7a\x00" + b"\x85\x01" + struct.pack("<I", FLAGS)  # an unset status, and the flags


def _span(span: Span) -> bytes:
    parent = _field(4, span.parent_id.to_bytes(8)) if span.parent_id else b""
    return b"".join(
        (
            b"\x0a\x10", span.trace_id.to_bytes(16), b"\x12\x08", span.span_id.to_bytes(8), parent,
            _field(5, _utf8(span.name)), b"\x30\x01", struct.pack("<BQBQ", 0x39, span.start_ns, 0x41, span.end_ns),
            _attributes(9, span.attributes), _TAIL,
        )
    )  # fmt: skip


def _json_span(span: Span) -> dict[str, object]:
    parent = {"parentSpanId": f"{span.parent_id:016x}"} if span.parent_id else {}
    return {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        **parent,
        "name": span.name,
        "kind": KIND_INTERNAL,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json_attributes(span.attributes),
        "status": {},
        "flags": FLAGS,
    }


def _json_attributes(attributes: Mapping[str, AttributeValue]) -> list[dict[str, object]]:
    return [{"key": name, "value": _json_value(value)} for name, value in attributes.items() if value is not None]


def _json_value(value: AttributeValue) -> dict[str, object]:
    if isinstance(value, str):
        return {"stringValue": _utf8(value).decode()}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"arrayValue": {"values": [_json_value(each) for each in value]}}
