"""Where finished spans go: a collector, a file, or an exporter of OpenTelemetry's SDK that the user gave."""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noclobber.access import AttributeValue
from noclobber.otlp import Span, json_line, request_bytes
from noclobber.recorder import Sink
from noclobber.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger("noclobber")
__all__ = ["CollectorSink", "ExporterSink", "FileSink", "SeveralSinks", "sink_for"]


def sink_for(settings: Settings) -> Sink:
    """The sink that the settings ask for; one that can't be had is logged, and the others serve."""
    sinks: list[Sink] = []
    if settings.send:
        sinks.append(CollectorSink(settings))
    if settings.file is not None:
        try:
            sinks.append(FileSink(settings.file))
        except OSError as error:
            log.warning("noclobber can't write its spans to %s: %s", settings.file, error.strerror or error)
    return sinks[0] if len(sinks) == 1 else SeveralSinks(sinks)


class CollectorSink(Sink):
    """Sends to a collector, through an outbox that survives outages."""

    def __init__(self, settings: Settings) -> None:
        from noclobber.exporter import Sender, transport_for
        from noclobber.outbox import Outbox
        from noclobber.strands import process_id

        self._outbox = Outbox(settings.spool, process_id(), settings.spool_bytes_max)
        self._sender = Sender(self._outbox, transport_for(settings))
        self._sender.start()

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:
        """Queue one export."""
        return self._outbox.put(request_bytes(resource, spans), accesses)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the collector."""
        return not len(self._outbox)

    @property
    def refused(self) -> int:
        """Accesses that the collector will never take."""
        return self._sender.refused

    @property
    def cpu_ns(self) -> int:
        """CPU that the sender's thread took."""
        return self._sender.cpu_ns

    def flush(self, timeout_s: float) -> bool:
        """Wait for the collector."""
        return self._outbox.wait_empty(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Send what is queued; leave the rest on disk for a later process."""
        self._sender.stop(timeout_s)
        self._outbox.leave()

    def abandon(self) -> None:
        """The spool's locks are the parent's."""
        self._outbox.abandon()


class FileSink(Sink):
    """Appends OTLP/JSON lines to a file, which several processes may share.

    A name with `{pid}` gives each process a file of its own.
    """

    def __init__(self, path: Path) -> None:
        path = Path(str(path).replace("{pid}", str(os.getpid())))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:  # noqa: ARG002
        """Append one line; one write, so that lines of several processes never mix."""
        line = memoryview((json_line(resource, spans) + "\n").encode())
        while line:  # more than one write only where the disk is full or the line is huge
            line = line[os.write(self._descriptor, line) :]
        return True

    def close(self, timeout_s: float) -> None:  # noqa: ARG002
        """Close the file."""
        os.close(self._descriptor)

    def abandon(self) -> None:
        """Close the child's copy."""
        os.close(self._descriptor)


class SeveralSinks(Sink):
    """Gives every export to each of several sinks; none at all is a sink that takes everything."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:
        """Whether all took it."""
        taken = [sink.send(resource, spans, accesses) for sink in self._sinks]  # by each, whatever the others say
        return all(taken)

    @property
    def idle(self) -> bool:
        """Whether all are."""
        return all(sink.idle for sink in self._sinks)

    @property
    def refused(self) -> int:
        """The most that any of them lost."""
        return max((sink.refused for sink in self._sinks), default=0)

    @property
    def cpu_ns(self) -> int:
        """What all of them took."""
        return sum(sink.cpu_ns for sink in self._sinks)

    def flush(self, timeout_s: float) -> bool:
        """Flush each."""
        return all(sink.flush(timeout_s) for sink in self._sinks)

    def close(self, timeout_s: float) -> None:
        """Close each."""
        for sink in self._sinks:
            sink.close(timeout_s)

    def abandon(self) -> None:
        """Each."""
        for sink in self._sinks:
            sink.abandon()


class ExporterSink(Sink):
    """Hands spans to a SpanExporter of OpenTelemetry's SDK, as the SDK's own spans."""

    def __init__(self, exporter: "SpanExporter") -> None:
        self._exporter = exporter
        self._lock = threading.Lock()

    def send(self, resource: dict[str, AttributeValue], spans: Sequence[Span], accesses: int) -> bool:  # noqa: ARG002
        """Convert and export."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        from noclobber.sdk import readable_span

        with self._lock:
            return self._exporter.export([readable_span(resource, span) for span in spans]) is SpanExportResult.SUCCESS

    def close(self, timeout_s: float) -> None:  # noqa: ARG002
        """Shut the exporter down."""
        self._exporter.shutdown()
