"""A span as it comes out of a file, before anybody asks what it means."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["SpanGroup", "SpanRecord"]


class SpanRecord(NamedTuple):
    """One span: ids in hex ("" for no parent), times as recorded, links as (trace id, span id, `noclobber.edge`)."""

    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    name: str
    attributes: Mapping[str, object]
    links: tuple[tuple[str, str, str], ...]


class SpanGroup(NamedTuple):
    """Spans of one process and one library."""

    resource: Mapping[str, object]
    scope: str
    spans: list[SpanRecord]
