"""A program with the stock OpenTelemetry SDK: makes spans and exports them in batches; prints their ids.

    python sdk_program.py grpc|http COUNT

Everything else is said by OpenTelemetry's own variables, as a user would.
"""

import logging
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


def main() -> int:
    """Export; 1 if the exporter had anything to complain about."""
    way, count = sys.argv[1], int(sys.argv[2])
    errors = _Errors()
    logging.getLogger("opentelemetry").addHandler(errors)
    provider = TracerProvider()
    exporter = GrpcExporter(insecure=True) if way == "grpc" else HttpExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64))
    tracer = provider.get_tracer("stock", "1.2")
    for number in range(count):
        with tracer.start_as_current_span(f"call {number}", kind=trace.SpanKind.CLIENT) as span:
            span.set_attributes(
                {"text": "ünïcode", "number": number, "big": 2**53 + 1, "share": 0.5, "yes": True, "list": ["a", "b"]}
            )
            span.add_event("retry", {"attempt": 2})
            context = span.get_span_context()
            print(f"{context.trace_id:032x} {context.span_id:016x}", flush=True)
    provider.shutdown()
    for line in errors.found:
        print(line, file=sys.stderr)
    return 1 if errors.found else 0


if __name__ == "__main__":
    sys.exit(main())
