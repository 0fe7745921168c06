"""The bytes that are written by hand decode to what OpenTelemetry's SDK would have sent."""

import json

import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber.contract import Op
from noclobber.otlp import Span, json_line, request_bytes
from noclobber.sdk import readable_span

RESOURCE = {"service.name": "agent", "process.pid": 7, "noclobber.clock.offset_ns": 1_767_225_600_000_000_000}
SPANS = [
    Span("redis", "write redis", 2**127 + 5, 2**63 + 1, 0, 1, 2, {"a": "text", "b": Op.READ, "c": True, "d": False}),
    Span("redis", "read redis", 1, 1, 9, 10**18, 10**18 + 1, {"int": 2**63 - 1, "neg": -5, "zero": 0, "f": 1.5}),
    Span("manual", "join python", 3, 4, 0, 5, 5, {"list": ("a", "b"), "empty": (), "long": "x" * 20_000, "ü": "ü€😀"}),
    Span("redis", "mark noclobber", 6, 7, 0, 8, 8, {}),
]


def test_bytes_decode_to_what_the_sdk_sends() -> None:
    """Every field of every span, its flags and status too."""
    ours = ExportTraceServiceRequest.FromString(request_bytes(RESOURCE, SPANS))
    theirs = encode_spans([readable_span(RESOURCE, span) for span in SPANS])
    for request in (ours, theirs):
        request.resource_spans[0].scope_spans.sort(key=lambda scoped: scoped.scope.name)
    assert json_format.MessageToDict(theirs) == json_format.MessageToDict(ours)
    assert theirs == ours


def test_json_line_is_the_same_request() -> None:
    """One line, ids in hex, 64-bit integers as text."""
    line = json_line(RESOURCE, SPANS)
    assert "\n" not in line
    request = json.loads(line)
    for scoped in request["resourceSpans"][0]["scopeSpans"]:
        for span in scoped["spans"]:
            for name in ("traceId", "spanId", "parentSpanId"):
                if name in span:
                    import base64

                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    decoded = json_format.ParseDict(request, ExportTraceServiceRequest())
    assert ExportTraceServiceRequest.FromString(request_bytes(RESOURCE, SPANS)) == decoded


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_text_that_is_no_utf8_is_sent_with_question_marks(text: str) -> None:
    """A name that can't be encoded is no reason to lose its span."""
    span = Span("x", text, 1, 1, 0, 1, 1, {"key": text})
    (sent,) = ExportTraceServiceRequest.FromString(request_bytes({}, [span])).resource_spans[0].scope_spans[0].spans
    assert sent.name == text.encode("utf-8", "replace").decode()
    assert json.loads(json_line({}, [span]))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
