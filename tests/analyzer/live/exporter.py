"""The OpenTelemetry Collector's ClickHouse exporter, as far as its table and its rows go: for tests.

The real one is a Go program that no package brings. Here stand its table and what it does to a span: every attribute
becomes text (`pcommon.Value.AsString`), ids hex, kinds and codes words.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from noclobber_collector.store import Store

__all__ = ["COLUMNS", "export", "make_table"]

COLUMNS: Final[Mapping[str, str]] = {
    "Timestamp": "DateTime64(9)", "TraceId": "String", "SpanId": "String", "ParentSpanId": "String",
    "TraceState": "String", "SpanName": "LowCardinality(String)", "SpanKind": "LowCardinality(String)",
    "ServiceName": "LowCardinality(String)", "ResourceAttributes": "Map(LowCardinality(String), String)",
    "ScopeName": "String", "ScopeVersion": "String", "SpanAttributes": "Map(LowCardinality(String), String)",
    "Duration": "UInt64", "StatusCode": "LowCardinality(String)", "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))", "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": "Array(Map(LowCardinality(String), String))", "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)", "Links.TraceState": "Array(String)",
    "Links.Attributes": "Array(Map(LowCardinality(String), String))",
}  # fmt: skip
KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
CODES: Final = ("Unset", "Ok", "Error")


def make_table(store: Store, name: str, without: Sequence[str] = (), **types: str) -> None:
    """The exporter's table; `without` some columns, as earlier versions, or with other types."""
    columns = ", ".join(f"`{c}` {types.get(c, kind)}" for c, kind in COLUMNS.items() if c not in without)
    store.command(f"CREATE OR REPLACE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY (ServiceName, Timestamp)")


def export(store: Store, name: str, requests: Iterable[Mapping[str, Any]], without: Sequence[str] = ()) -> None:
    """Write OTLP/JSON requests as the exporter would."""
    columns = [column for column in COLUMNS if column not in without]
    rows = [[row[column] for column in columns] for request in requests for row in _rows(request, without)]
    store.insert(name, columns, rows)


def _rows(request: Mapping[str, Any], without: Sequence[str]) -> Iterator[dict[str, Any]]:
    for of_resource in request["resourceSpans"]:
        resource = _texts(of_resource["resource"]["attributes"])
        for of_scope in of_resource["scopeSpans"]:
            scope = of_scope.get("scope", {})
            for span in of_scope["spans"]:
                yield _row(span, resource, scope, without)


def _row(
    span: Mapping[str, Any], resource: Mapping[str, str], scope: Mapping[str, str], without: Sequence[str]
) -> dict[str, Any]:
    start_ns, end_ns = int(span["startTimeUnixNano"]), int(span.get("endTimeUnixNano", 0))
    attributes = _texts(span.get("attributes", []))
    if "ScopeName" in without:
        attributes["otel.library.name"] = scope.get("name", "")
    events, links, status = span.get("events", []), span.get("links", []), span.get("status", {})
    return {
        "Timestamp": start_ns, "TraceId": span["traceId"], "SpanId": span["spanId"],
        "ParentSpanId": span.get("parentSpanId", ""), "TraceState": span.get("traceState", ""),
        "SpanName": span.get("name", ""), "SpanKind": KINDS[int(span.get("kind", 0))],
        "ServiceName": resource.get("service.name", ""), "ResourceAttributes": resource,
        "ScopeName": scope.get("name", ""), "ScopeVersion": scope.get("version", ""), "SpanAttributes": attributes,
        "Duration": (end_ns - start_ns) % 2**64, "StatusCode": CODES[int(status.get("code", 0))],
        "StatusMessage": status.get("message", ""), "Events.Timestamp": [int(e["timeUnixNano"]) for e in events],
        "Events.Name": [e.get("name", "") for e in events],
        "Events.Attributes": [_texts(e.get("attributes", [])) for e in events],
        "Links.TraceId": [k["traceId"] for k in links], "Links.SpanId": [k["spanId"] for k in links],
        "Links.TraceState": [k.get("traceState", "") for k in links],
        "Links.Attributes": [_texts(k.get("attributes", [])) for k in links],
    }  # fmt: skip


def _texts(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {pair["key"]: _text(pair["value"]) for pair in attributes}


def _text(value: Mapping[str, Any]) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    match kind:
        case "intValue":
            return int(content)
        case "arrayValue":
            return [_plain(item) for item in content.get("values", [])]
        case "kvlistValue":
            return {pair["key"]: _plain(pair["value"]) for pair in content.get("values", [])}
        case "bytesValue":
            return base64.b64encode(base64.b64decode(content)).decode()
        case _:
            return content
