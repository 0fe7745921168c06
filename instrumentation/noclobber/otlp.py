"""OTLP bytes by hand, straight from a span's attributes.

A general encoder spends most of its time on messages that nobody looks at again. Here a span is a handful of joined
byte strings: what stands before a text or a number depends on its name and its length alone and is made once, and what
many spans have in common (`Shared`: who acted, where in the code) is encoded once for all of them. The bytes decode to
what the SDK would have sent, which a test holds.

Source: opentelemetry-proto, trace/v1/trace.proto; protobuf encoding. OTLP/JSON: ids are hex, 64-bit integers text.
"""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from noclobber.access import AttributeValue

__all__ = ["Shared", "Span", "json_line", "request_bytes"]

KIND_INTERNAL: Final = 1


class Shared:
    """Attributes that many spans have in common; never changed once made.

    Attributes:
        attributes: by name.
    """

    __slots__ = ("_encoded", "attributes")

    def __init__(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.attributes = attributes
        self._encoded: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """Their bytes in a span."""
        found = self._encoded
        if found is None:
            found = self._encoded = _attributes(9, self.attributes)
        return found


@dataclass(slots=True)
class Span:
    """One span, ready to be written; not to be changed (freezing it would cost three times as much as making it).

    Attributes:
        library: its scope is `noclobber.{library}`.
        trace_id, span_id, parent_id: integers; parent_id 0 where there is none.
        start_ns, end_ns: unix time, nanoseconds.
        own: attributes of this span alone. shared: further ones, in groups; no name stands in two places.
    """

    library: str
    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    end_ns: int
    own: Mapping[str, AttributeValue]
    shared: tuple[Shared, ...] = ()

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """All attributes by name."""
        groups = (*(each.attributes for each in self.shared), self.own)
        return {name: value for each in groups for name, value in each.items()}


def request_bytes(resource: Mapping[str, AttributeValue], spans: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest with all `spans` of one process, grouped by library."""
    by_library: dict[str, list[bytes]] = {}
    for span in spans:
        out = by_library.get(span.library)
        if out is None:
            out = by_library[span.library] = []
        body = _span(span)
        out += b"\x12", _varint(len(body)), body
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
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = [bytes((number,)) for number in range(0x80)]


def _field(number: int, data: bytes) -> bytes:
    return _SMALL[number << 3 | 2] + _varint(len(data)) + data


def _attributes(number: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    """Attributes as field `number` of their message."""
    return b"".join(
        _field(number, _field(1, name.encode()) + _field(2, _value(value)))
        for name, value in attributes.items()
        if value is not None
    )


_heads: dict[tuple[str, int], bytes] = {}
"""What stands before a short text of so many bytes under a name, or before a number of so many (negative)."""
_whole: dict[tuple[str, type, AttributeValue], bytes] = {}
"""Whole attributes whose values are few: truths, and the contract's own words."""
KNOWN_MAX: Final = 16_384
SHORT_MAX: Final = 512


def _own_attributes(attributes: Mapping[str, AttributeValue]) -> list[bytes]:
    """A span's own attributes: the same bytes as `_attributes`, at a fraction of the cost."""
    out: list[bytes] = []
    for name, value in attributes.items():
        kind = type(value)
        if kind is str:
            data = value.encode()  # type: ignore[union-attr]
            size = len(data)
            out += _heads.get((name, size)) or _head(name, size, b"\x0a" + _varint(size)), data
        elif kind is int:
            data = _varint(value & 0xFFFF_FFFF_FFFF_FFFF)  # type: ignore[operator]
            size = len(data)
            out += _heads.get((name, -size)) or _head(name, -size, b"\x18"), data
        elif kind is tuple or kind is list:
            out.append(_attributes(9, {name: value}))
        else:
            known = _whole.get((name, kind, value))
            out.append(_rarer(name, value) if known is None else known)
    return out


def _head(name: str, size: int, value_head: bytes) -> bytes:
    key = _field(1, name.encode()) + b"\x12"
    inner = len(value_head) + abs(size)
    length = _varint(inner)
    head = b"\x4a" + _varint(len(key) + len(length) + inner) + key + length + value_head
    if size <= SHORT_MAX and len(_heads) < KNOWN_MAX:
        _heads[name, size] = head
    return head


def _rarer(name: str, value: AttributeValue) -> bytes:
    encoded = _attributes(9, {name: value})
    if isinstance(value, str | bool) and len(_whole) < KNOWN_MAX:
        _whole[name, type(value), value] = encoded
    return encoded


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
_IDS: Final = struct.Struct(">HQQHQ").pack
_PARENT: Final = struct.Struct(">HQ").pack
_TIMES: Final = struct.Struct("<BQBQ").pack
_names: dict[str, bytes] = {}


def _span(span: Span) -> bytes:
    trace_id, name = span.trace_id, _names.get(span.name)
    out = [_IDS(0x0A10, trace_id >> 64, trace_id & 0xFFFF_FFFF_FFFF_FFFF, 0x1208, span.span_id)]
    if span.parent_id:
        out.append(_PARENT(0x2208, span.parent_id))
    out.append(_name(span.name) if name is None else name)
    out.append(_TIMES(0x39, span.start_ns, 0x41, span.end_ns))
    out += [each.encoded for each in span.shared]
    try:
        out += _own_attributes(span.own)
    except UnicodeEncodeError:
        out.append(_attributes(9, span.own))
    out.append(_TAIL)
    return b"".join(out)


def _name(name: str) -> bytes:
    """A span's name and kind."""
    encoded = _field(5, _utf8(name)) + b"\x30\x01"
    if len(_names) < KNOWN_MAX:
        _names[name] = encoded
    return encoded


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
