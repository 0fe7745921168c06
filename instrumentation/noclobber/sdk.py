"""A recorded span as one of OpenTelemetry's SDK, for exporters that a user brings."""

from collections.abc import Mapping

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from noclobber.access import AttributeValue
from noclobber.otlp import Span

__all__ = ["readable_span"]


def readable_span(resource: Mapping[str, AttributeValue], span: Span) -> ReadableSpan:
    """`span` as the SDK's exporters take it."""
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(span.trace_id, span.parent_id, is_remote=False) if span.parent_id else None
    return ReadableSpan(
        name=span.name,
        context=SpanContext(span.trace_id, span.span_id, is_remote=False, trace_flags=flags),
        parent=parent,
        resource=Resource(dict(resource)),
        attributes=dict(span.attributes),
        kind=SpanKind.INTERNAL,
        instrumentation_scope=InstrumentationScope(f"noclobber.{span.library}"),
        start_time=span.start_ns,
        end_time=span.end_ns,
    )
