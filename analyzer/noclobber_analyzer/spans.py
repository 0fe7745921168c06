"""A span as it comes out of a file or a row, before anybody asks what its facts mean together."""

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["SpanGroup", "SpanRecord"]


class SpanRecord(NamedTuple):
    """One span.

    Attributes:
        trace_id, span_id, parent_span_id: in hex, "" for no parent.
        start_ns, end_ns: as recorded; `end_ns` is 0 while the call is open.
        name: for people.
        facts: what its attributes say, one by one (`decode.fact`); the record's own, to be taken out of it.
        links: (trace id, span id, value of `noclobber.edge`) of each span link.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    start_ns: int
    end_ns: int
    name: str
    facts: dict[str, Any]
    links: tuple[tuple[str, str, str], ...]


class SpanGroup(NamedTuple):
    """Spans of one process and one library; `resource` are the process's attributes."""

    resource: Mapping[str, object]
    scope: str
    spans: list[SpanRecord]
