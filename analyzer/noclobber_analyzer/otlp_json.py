"""One OTLP/JSON request to spans: the shape is checked while it is parsed, so a wrong one is named with its place.

msgspec parses straight into the typed records below and skips what they do not name. A span's attributes it leaves as
they are written: most of them were met before, byte for byte, and `_Memory` knows already what they say. Ids are hex
and 64-bit numbers may be text, as the OTLP specification's JSON encoding says. What an attribute means is decided in
`decode`.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from noclobber.contract import Attr
from noclobber_analyzer.decode import NO_FACT, Fact, fact
from noclobber_analyzer.spans import SpanGroup, SpanRecord

__all__ = ["NotARequest", "groups_of_json"]

REMEMBERED_MAX: Final = 1 << 14
"""Attributes remembered at a time: what repeats is learnt again at once."""


class NotARequest(Exception):  # noqa: N818  a fact about one line; its reader knows the file and makes the error
    """Valid JSON, but no request that carries telemetry."""


class _Array(msgspec.Struct, gc=False):
    values: list["_Value"] = []


class _Value(msgspec.Struct, gc=False, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    bool_value: bool | None = None
    array_value: _Array | None = None


class _Attribute(msgspec.Struct, gc=False):
    key: str
    value: _Value | None = None


class _Link(msgspec.Struct, gc=False, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    attributes: list[_Attribute] = []


class _Span(msgspec.Struct, gc=False, rename="camel"):
    trace_id: str
    span_id: str
    start_time_unix_nano: int | str
    end_time_unix_nano: int | str = 0
    parent_span_id: str = ""
    name: str = ""
    attributes: list[msgspec.Raw] = []
    links: list[_Link] = []


class _Scope(msgspec.Struct, gc=False):
    name: str = ""


class _ScopeSpans(msgspec.Struct, gc=False):
    scope: _Scope | None = None
    spans: list[_Span] = []


class _Resource(msgspec.Struct, gc=False):
    attributes: list[_Attribute] = []


class _ResourceSpans(msgspec.Struct, gc=False, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] = []


class _Request(msgspec.Struct, gc=False, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None
    resource_metrics: msgspec.Raw | None = None
    resource_logs: msgspec.Raw | None = None


class _Memory(dict[bytes, Fact]):
    """What each attribute says, by the bytes that it is written in."""

    def __missing__(self, written: bytes) -> Fact:
        attribute = _ATTRIBUTE.decode(written)
        said = NO_FACT if attribute.value is None else fact(attribute.key, _value(attribute.value))
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        self[written] = said
        return said


_DECODER: Final = msgspec.json.Decoder(_Request)
_ATTRIBUTE: Final = msgspec.json.Decoder(_Attribute)
_MEMORY: Final = _Memory()
_TRACES: Final[dict[str, str]] = {}
"""Trace ids as they were written, and in lower case: the spans of one trace share the text."""


def groups_of_json(text: bytes) -> Iterator[SpanGroup]:
    """The spans of one ExportTraceServiceRequest, by process and library.

    Raises:
        msgspec.ValidationError: another shape. msgspec.DecodeError, ValueError: no JSON, or a number that is none.
        NotARequest: an object without spans, metrics or logs.
    """
    request = _DECODER.decode(text)
    if request.resource_spans is None:
        if request.resource_metrics is None and request.resource_logs is None and text.strip() != b"{}":
            raise NotARequest
        return
    for resource_spans in request.resource_spans:
        attributes = _attributes(resource_spans.resource.attributes) if resource_spans.resource else {}
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope.name if scope_spans.scope else ""
            yield SpanGroup(attributes, scope, [_record(span) for span in scope_spans.spans])


def _record(span: _Span) -> SpanRecord:
    trace_id = _TRACES.setdefault(span.trace_id, span.trace_id.lower())
    if len(_TRACES) > REMEMBERED_MAX:
        _TRACES.clear()
    return SpanRecord(
        trace_id,
        span.span_id.lower(),
        span.parent_span_id.lower(),
        int(span.start_time_unix_nano),
        int(span.end_time_unix_nano),
        span.name,
        dict(map(_MEMORY.__getitem__, map(bytes, span.attributes))),
        tuple(_link(link) for link in span.links) if span.links else (),
    )


def _link(link: _Link) -> tuple[str, str, str]:
    return (link.trace_id.lower(), link.span_id.lower(), str(_attributes(link.attributes).get(Attr.EDGE, "")))


def _attributes(attributes: list[_Attribute]) -> dict[str, object]:
    return {a.key: _value(a.value) for a in attributes if a.value is not None}


def _value(value: _Value) -> object:
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return int(value.int_value)
    if value.bool_value is not None:
        return value.bool_value
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values]
    return None
