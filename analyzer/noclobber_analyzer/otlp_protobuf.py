"""One OTLP request in protobuf to spans.

Concatenated requests are one request (repeated fields append), so a file may hold several. What the attributes mean
is decided in `decode`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from noclobber.contract import Attr
from noclobber_analyzer.decode import fact
from noclobber_analyzer.spans import SpanGroup, SpanRecord

__all__ = ["groups_of_protobuf"]


def groups_of_protobuf(data: bytes) -> Iterator[SpanGroup]:
    """The spans of one ExportTraceServiceRequest, by process and library.

    Raises:
        ValueError: no complete request.
    """
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    for resource_spans in request.resource_spans:
        attributes = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            yield SpanGroup(attributes, scope_spans.scope.name, [_record(span) for span in scope_spans.spans])


def _record(span: Any) -> SpanRecord:
    return SpanRecord(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.name,
        dict(fact(pair.key, _value(pair.value)) for pair in span.attributes),
        tuple(
            (link.trace_id.hex(), link.span_id.hex(), str(_attributes(link.attributes).get(Attr.EDGE, "")))
            for link in span.links
        ),
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> object:
    which = value.WhichOneof("value")
    if which is None:
        return None
    if which == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, which)
