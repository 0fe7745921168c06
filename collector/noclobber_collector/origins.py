"""Where do the spans of a segment lie, and what is said once for many of them?

A segment is a row of requests, each with resources, each with scopes, each with spans. Down to the spans they are read
one by one, since there are few; what a resource says is remembered, since a process says it with each request. From the
spans on all is read side by side (`flatten`).

Source: opentelemetry-proto 1.x, trace_service.proto, trace.proto, resource.proto; `segments` (fields of our own).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from noclobber_collector.any_value import as_text
from noclobber_collector.columns import PROCESS_COLUMNS
from noclobber_collector.wire import (
    PADDING,
    TooManyError,
    UnreadableError,
    few_fields_of_one,
    fields_of_one,
    run_of,
    varint,
)

__all__ = ["LISTS", "MAPS", "SELDOM", "WHOLES", "WORDS", "Origins", "origins_of"]

RESOURCE_SPANS, SEGMENT, COLLECTOR = 0x0A, 1000 << 3, 1003 << 3 | 2
RESOURCE, SCOPE_SPANS, SCHEMA = 0x0A, 0x12, 0x1A
SCOPE, SPANS = 0x0A, 0x12
SCOPE_NAME, SCOPE_VERSION, SCOPE_ATTRIBUTE, SCOPE_DROPPED = 0x0A, 0x12, 0x1A, 0x20
OURS: Final = "noclobber."
UINT32_MAX: Final = (1 << 32) - 1
SCOPES_MAX: Final = 50_000
"""Scopes of some segments, each with all that is said once for its spans."""
SPANS_MAX: Final = 100_000
"""Their spans."""
RESOURCES_KEPT: Final = 1024
"""Resources whose meaning is remembered."""
LARGE: Final = 2 << 10
"""Bytes of a resource that is not, and of a scope that is as large."""
LARGE_MAX: Final = 2 << 20
"""Bytes of all of these in some segments: as Python objects they take twenty times as many."""
_NUMBERS: Final = tuple(PROCESS_COLUMNS)[-2:]
WORDS: Final = ("collector", *tuple(PROCESS_COLUMNS)[:-2], "scope", "scope_version", "scope_schema", "resource_schema")
"""Columns of texts that are the same for all spans of a scope."""
WHOLES: Final = ("segment", *_NUMBERS, "scope_dropped", "resource_dropped")
"""Columns of numbers that are so."""
MAPS: Final = ("resource_rest", "scope_rest")
"""Columns of attributes, as text, that are so."""
LISTS: Final = ("resource_entities",)
"""Columns of lists that are so."""
SELDOM: Final = frozenset(("scope_schema", "resource_schema", "scope_dropped", "resource_dropped", *MAPS, *LISTS))
"""Columns of these in which mostly nothing stands."""


@dataclass(slots=True)
class Origins:
    """The spans of a segment, in order, and what is the same for all spans of one scope.

    Attributes:
        begin, end: where each span lies. counts: how many of them each scope has.
        said: by column (WORDS, WHOLES, MAPS, LISTS), what is said for each scope.
        ours: whether a scope's spans may be accesses: noclobber's own scope and process stand behind them.
        large_bytes: of large resources and scopes.
    """

    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    said: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in (*WORDS, *WHOLES, *MAPS, *LISTS)})
    ours: list[bool] = field(default_factory=list)
    large_bytes: int = 0

    def expect(self, size: int) -> None:
        """Take note of a resource or scope of so many bytes that is read next.

        Raises:
            TooManyError: these are too large together.
        """
        if size > LARGE:
            self.large_bytes += size
            if self.large_bytes > LARGE_MAX:
                raise TooManyError(f"resources and scopes of more than {LARGE_MAX} bytes")


def origins_of(data: bytes) -> Origins:
    """The spans of all requests in `data`, which are framed as in a segment, and `wire.padded`.

    Raises:
        UnreadableError: they are damaged.
        TooManyError: there are more than SCOPES_MAX scopes or SPANS_MAX spans, or these say too much.
    """
    found = Origins()
    at, limit = 0, len(data) - PADDING
    while at < limit:
        size, begin = varint(data, at)
        at = begin + size
        if at > limit:
            raise UnreadableError("a request ends behind its segment")
        _add_request(found, data, begin, at)
    return found


def _add_request(found: Origins, data: bytes, begin: int, end: int) -> None:
    resources = []
    said: dict[str, Any] = {"segment": 0, "collector": ""}
    for tag, start, stop in fields_of_one(data, begin, end):
        if tag == RESOURCE_SPANS:
            resources.append((start, stop))
            if len(resources) > SCOPES_MAX:
                raise TooManyError(f"more than {SCOPES_MAX} resources")
        elif tag == SEGMENT:
            said["segment"] = varint(data, start)[0]
        elif tag == COLLECTOR:
            said["collector"] = data[start:stop].decode()
    for start, stop in resources:
        _add_resource(found, data, start, stop, said)


def _add_resource(found: Origins, data: bytes, begin: int, end: int, said: Mapping[str, Any]) -> None:
    parts = few_fields_of_one(data, begin, end)
    resource = b"".join(data[start:stop] for tag, start, stop in parts if tag == RESOURCE)  # joined is merged
    schema = _last_text(data, parts, SCHEMA)
    found.expect(len(resource))
    read = _process.__wrapped__ if len(resource) > LARGE else _process
    process = {**said, **read(resource), "resource_schema": schema}
    for tag, start, stop in parts:
        if tag == SCOPE_SPANS:
            _add_scope(found, data, (start, stop), process)


def _add_scope(found: Origins, data: bytes, place: tuple[int, int], said: Mapping[str, Any]) -> None:
    scope: dict[str, Any] = {
        "scope": "", "scope_version": "", "scope_schema": "", "scope_dropped": 0, "scope_rest": {},
    }  # fmt: skip
    before = len(found.begin)
    if len(found.counts) >= SCOPES_MAX or before > SPANS_MAX:
        raise TooManyError(f"more than {SCOPES_MAX} scopes or {SPANS_MAX} spans")
    begin, end = place
    while begin < end:
        begin = run_of(SPANS, data, (begin, end), (found.begin, found.end))
        for tag, start, stop in fields_of_one(data, begin, end):
            begin = stop
            if tag == SPANS:
                found.begin.append(start)
                found.end.append(stop)
                break
            if tag == SCOPE:
                found.expect(stop - start)
                _add_to_scope(scope, data, start, stop)
            elif tag == SCHEMA:
                scope["scope_schema"] = data[start:stop].decode()
    found.counts.append(len(found.begin) - before)
    for column, value in {**said, **scope}.items():
        found.said[column].append(value)
    found.ours.append(scope["scope"].startswith(OURS) and said["process"] != "")


def _add_to_scope(scope: dict[str, Any], data: bytes, begin: int, end: int) -> None:
    """Read what a scope says; what it does not say stays."""
    for tag, start, stop in fields_of_one(data, begin, end):
        if tag == SCOPE_NAME:
            scope["scope"] = data[start:stop].decode()
        elif tag == SCOPE_VERSION:
            scope["scope_version"] = data[start:stop].decode()
        elif tag == SCOPE_ATTRIBUTE:
            pair = KeyValue.FromString(data[start:stop])
            scope["scope_rest"].setdefault(pair.key, as_text(pair.value))
        elif tag == SCOPE_DROPPED:
            scope["scope_dropped"] = varint(data, start)[0] & UINT32_MAX


def _last_text(data: bytes, parts: list[tuple[int, int, int]], wanted: int) -> str:
    """The text of a field; the last counts."""
    return next((data[start:stop].decode() for tag, start, stop in reversed(parts) if tag == wanted), "")


@lru_cache(RESOURCES_KEPT)
def _process(resource: bytes) -> Mapping[str, Any]:
    """The columns that a resource fills, and what else it says, as text; of two of one name the first counts."""
    read = Resource.FromString(resource)
    columns: dict[str, Any] = {}
    rest: dict[str, str] = {}
    names = {attribute: column for column, attribute in PROCESS_COLUMNS.items()}
    for pair in read.attributes:
        column, kind = names.get(pair.key, ""), pair.value.WhichOneof("value")
        if column and kind == ("int_value" if column in _NUMBERS else "string_value"):
            columns.setdefault(column, getattr(pair.value, kind))
        else:
            rest.setdefault(pair.key, as_text(pair.value))
    return {
        **{column: columns.get(column, 0 if column in _NUMBERS else "") for column in PROCESS_COLUMNS},
        "resource_rest": rest,
        "resource_dropped": read.dropped_attributes_count,
        "resource_entities": [
            {"schema_url": each.schema_url, "type": each.type, "id_keys": list(each.id_keys),
             "description_keys": list(each.description_keys)}
            for each in read.entity_refs
        ],
    }  # fmt: skip
