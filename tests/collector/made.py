"""OTLP requests made by hand, as protobuf and as OTLP/JSON, for the collector's tests."""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

START_NS = 1_790_000_000_000_000_000
PROCESS: Mapping[str, object] = {
    "service.name": "bank",
    "service.instance.id": "bank-1",
    "host.name": "machine",
    "process.pid": 4711,
    "noclobber.process": "a1b2c3d4e5f60718",
    "noclobber.contract": "1",
    "noclobber.clock": "c10c",
    "noclobber.clock.offset_ns": 1_789_999_000_000_000_000,
    "noclobber.key_id": "k1",
}
ACCESS: Mapping[str, object] = {
    "noclobber.op": "write",
    "noclobber.resource": "redis://127.0.0.1:6379/0/acct:42",
    "noclobber.system": "redis",
    "noclobber.outcome": "ok",
    "noclobber.agent": "withdraw",
    "noclobber.strand": "s1",
    "noclobber.seq": 1,
}
NASTY = ["o'k", 'q"', "b\\s", "tab\tnew\nline", "{x:String}", "'; DROP TABLE accesses; --", "ünïcode", "", "\\N", "%s"]
"""Text that must come back as it went."""
_ids = itertools.count(1)


def put(value: AnyValue, content: object) -> None:
    """Set an AnyValue; a list, a dictionary and None are what OTLP has for them."""
    match content:
        case None:
            return
        case bool():
            value.bool_value = content
        case int():
            value.int_value = content
        case float():
            value.double_value = content
        case str():
            value.string_value = content
        case bytes():
            value.bytes_value = content
        case list():
            value.array_value.SetInParent()
            for item in content:
                put(value.array_value.values.add(), item)
        case dict():
            value.kvlist_value.SetInParent()
            attributes(value.kvlist_value.values, content)


def attributes(out: Any, found: Mapping[str, object]) -> None:
    """Add attributes to a repeated field."""
    for key, content in found.items():
        pair = out.add()
        pair.key = key
        put(pair.value, content)


def request(
    spans: Sequence[Mapping[str, object]],
    process: Mapping[str, object] = PROCESS,
    scope: str = "noclobber.redis",
) -> ExportTraceServiceRequest:
    """A request with one span for each mapping of attributes; ids are new for every span that is made."""
    made = ExportTraceServiceRequest()
    resource = made.resource_spans.add()
    attributes(resource.resource.attributes, process)
    of_scope = resource.scope_spans.add()
    of_scope.scope.name, of_scope.scope.version = scope, "0.1"
    for found in spans:
        number = next(_ids)
        span = of_scope.spans.add()
        span.trace_id, span.span_id = number.to_bytes(16, "big"), (number << 8 | 0xFE).to_bytes(8, "big")
        span.name, span.kind = f"{found.get('noclobber.op', 'call')} {found.get('noclobber.system', 'x')}", 1
        span.start_time_unix_nano = START_NS + number * 1_000
        span.end_time_unix_nano = span.start_time_unix_nano + 500
        attributes(span.attributes, found)
    return made


def accesses(count: int, **more: object) -> ExportTraceServiceRequest:
    """A request of `count` plain accesses, numbered along one strand."""
    return request([{**ACCESS, "noclobber.seq": number, **more} for number in range(1, count + 1)])


def as_json(made: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON of a request: ids in hex, 64-bit numbers as text, enums as numbers."""
    document = MessageToDict(made, use_integers_for_enums=True)
    return json.dumps(_hexed(document)).encode()


def _hexed(node: Any) -> Any:
    if isinstance(node, list):
        return [_hexed(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else _hexed(item)
        for key, item in node.items()
    }
