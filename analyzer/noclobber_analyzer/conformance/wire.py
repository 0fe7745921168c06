"""Spans as they were written, nothing mended: types, names and repetitions as they stand in the file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from noclobber_analyzer.errors import InputError
from noclobber_analyzer.otlp_files import files_in, opened

__all__ = ["WireSpan", "read_wire"]

INTERNAL: Final = 1


@dataclass(frozen=True, slots=True)
class WireSpan:
    """One span, and where it stands.

    Attributes:
        place: file, and line where lines mean something.
        scope: name of the scope. resource: attributes of the resource.
        trace_id, span_id: as written. name, kind, start_ns, end_ns: the same; kind 0 where there is none.
        attributes: by name, the last where one comes twice. twice: names that do.
    """

    place: str
    scope: str
    resource: Mapping[str, object]
    trace_id: str
    span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, object]
    twice: tuple[str, ...]

    @property
    def where(self) -> str:
        """File, line and span, for people."""
        return f"{self.place}, span {self.span_id}"


def read_wire(paths: Sequence[str]) -> Iterator[WireSpan]:
    """Every span of these files, in order.

    Raises:
        InputError: no OTLP.
    """
    for path in files_in(paths):
        try:
            with opened(path) as stream:
                data = stream.read()
        except (OSError, EOFError) as error:
            raise InputError(path, None, f"cannot be read: {error}") from error
        yield from _json(path, data) if data.startswith((b"{", b" ")) else _protobuf(path, data)


def _json(path: str, data: bytes) -> Iterator[WireSpan]:
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield from _request(f"{path}:{number}", json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(path, number, f"no ExportTraceServiceRequest ({error!r})") from error


def _request(place: str, request: Mapping[str, Any]) -> Iterator[WireSpan]:
    for resource_spans in request["resourceSpans"]:
        resource, _ = _attributes(resource_spans.get("resource", {}).get("attributes", []))
        for scope_spans in resource_spans.get("scopeSpans", []):
            scope = scope_spans.get("scope", {}).get("name", "")
            for span in scope_spans.get("spans", []):
                attributes, twice = _attributes(span.get("attributes", []))
                yield WireSpan(
                    place, scope, resource, str(span["traceId"]), str(span["spanId"]), span.get("name", ""),
                    _kind(span.get("kind", 0)), int(span["startTimeUnixNano"]), int(span.get("endTimeUnixNano", 0)),
                    attributes, twice,
                )  # fmt: skip


def _kind(value: object) -> int:
    """OTLP/JSON has numbers; some writers give the name."""
    return INTERNAL if value == "SPAN_KIND_INTERNAL" else value if isinstance(value, int) else 0


def _attributes(pairs: Iterable[Mapping[str, Any]]) -> tuple[dict[str, object], tuple[str, ...]]:
    found: dict[str, object] = {}
    twice = []
    for pair in pairs:
        if pair["key"] in found:
            twice.append(pair["key"])
        found[pair["key"]] = _value(pair.get("value") or {})
    return found, tuple(twice)


def _value(value: Mapping[str, Any]) -> object:
    match next(iter(value.items()), None):
        case ("intValue", number):
            return int(number)
        case ("doubleValue", number):
            return float(number)
        case ("arrayValue", array):
            return [_value(each) for each in array.get("values", [])]
        case (_, other):
            return other
    return None


def _protobuf(path: str, data: bytes) -> Iterator[WireSpan]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(data)
    except DecodeError as error:
        raise InputError(path, None, f"neither JSON lines nor a complete request in protobuf ({error})") from error
    for resource_spans in request.resource_spans:
        resource, _ = _pairs(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes, twice = _pairs(span.attributes)
                yield WireSpan(
                    path, scope_spans.scope.name, resource, span.trace_id.hex(), span.span_id.hex(), span.name,
                    span.kind, span.start_time_unix_nano, span.end_time_unix_nano, attributes, twice,
                )  # fmt: skip


def _pairs(pairs: Iterable[Any]) -> tuple[dict[str, object], tuple[str, ...]]:
    return _attributes({"key": pair.key, "value": _as_json(pair.value)} for pair in pairs)


def _as_json(value: Any) -> dict[str, Any]:
    """A protobuf value in OTLP/JSON's words, so that both are read by one function."""
    match value.WhichOneof("value"):
        case "int_value":
            return {"intValue": value.int_value}
        case "double_value":
            return {"doubleValue": value.double_value}
        case "array_value":
            return {"arrayValue": {"values": [_as_json(each) for each in value.array_value.values]}}
        case None:
            return {}
        case which:
            return {which: getattr(value, which)}
