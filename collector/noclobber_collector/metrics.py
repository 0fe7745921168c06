"""What can be measured of receiver, spool and loader: a declared table, told in Prometheus's text format.

Every metric stands in a table with its kind, unit, meaning and source before anybody counts it; the guide's page is
held to the tables by a test, and a value without a row is a mistake. Live analysis has a table of its own of the same
form (`noclobber_analyzer.metrics`).

Source: Prometheus, "Metric and label naming"; alerts-and-safety.md, section 12 of the design.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

__all__ = ["COLLECTOR", "CONTENT_TYPE", "Metric", "Values", "exposition"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LABELS_MAX: Final = 200
"""Values of one metric that are told, the greatest first: a label may be a process, and these come and go."""
Values = Mapping[str, float | Mapping[str, float]]
"""By metric: its value, or its values by label."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of a table.

    Attributes:
        name: with its unit, and `_total` where it only grows.
        kind: counter or gauge. unit: of the value. help: one sentence. source: who counts it.
        label: what its values are told apart by; "" where it has one.
    """

    name: str
    kind: str
    unit: str
    help: str
    source: str
    label: str = ""


COLLECTOR: Final = (
    Metric("noclobber_receiver_received_spans_total", "counter", "spans", "Spans in well-formed requests", "receiver"),
    Metric("noclobber_receiver_spans_total", "counter", "spans", "Spans acknowledged: they are on disk", "receiver"),
    Metric("noclobber_receiver_refused_spans_total", "counter", "spans",
           "Spans not acknowledged, for want of room or time; clients come again", "receiver"),
    Metric("noclobber_receiver_requests_total", "counter", "requests", "Requests acknowledged", "receiver"),
    Metric("noclobber_receiver_refused_total", "counter", "requests",
           "Requests refused for want of room; clients come again", "receiver"),
    Metric("noclobber_receiver_malformed_total", "counter", "requests",
           "Requests that were no OTLP, or too large, or sent elsewhere than OTLP is", "receiver"),
    Metric("noclobber_receiver_unauthorized_total", "counter", "requests", "Requests without the right token",
           "receiver"),
    Metric("noclobber_receiver_logs_dropped_total", "counter", "requests", "Log requests accepted and dropped",
           "receiver"),
    Metric("noclobber_receiver_metrics_dropped_total", "counter", "requests", "Metric requests accepted and dropped",
           "receiver"),
    Metric("noclobber_receiver_rejected_spans_total", "counter", "spans",
           "Spans without ids, taken out of requests that were acknowledged", "receiver"),
    Metric("noclobber_receiver_failed_total", "counter", "requests",
           "Requests refused because the receiver itself failed; clients come again", "receiver"),
    Metric("noclobber_receiver_slow_closed_total", "counter", "connections",
           "Connections and requests ended because the rest of a header or body did not come in time", "receiver"),
    Metric("noclobber_receiver_evicted_total", "counter", "connections",
           "Waiting connections closed to make room for new ones", "receiver"),
    Metric("noclobber_receiver_connections_refused_total", "counter", "connections",
           "Connections refused because all others were busy", "receiver"),
    Metric("noclobber_receiver_forwarded_spans_total", "counter", "spans",
           "Spans that the other OTLP endpoint has acknowledged", "forwarder"),
    Metric("noclobber_receiver_forward_retries_total", "counter", "requests",
           "Times the other OTLP endpoint was not reached or asked to come again", "forwarder"),
    Metric("noclobber_receiver_forward_refused_spans_total", "counter", "spans",
           "Spans that the other OTLP endpoint will never take", "forwarder"),
    Metric("noclobber_receiver_forward_dropped_spans_total", "counter", "spans",
           "Spans not passed on because more waited than may", "forwarder"),
    Metric("noclobber_receiver_forward_bytes", "gauge", "bytes", "Bytes that wait to be passed on", "forwarder"),
    Metric("noclobber_queue_bytes", "gauge", "bytes", "Bytes that wait in memory for the disk", "spool"),
    Metric("noclobber_queue_bytes_max", "gauge", "bytes", "Capacity of that queue", "spool"),
    Metric("noclobber_spool_bytes", "gauge", "bytes", "Bytes that wait to be loaded", "spool"),
    Metric("noclobber_spool_bytes_max", "gauge", "bytes", "Limit of bytes that wait and bytes that are kept, together",
           "spool"),
    Metric("noclobber_spool_kept_bytes", "gauge", "bytes",
           "Bytes of segments that are loaded and kept for a while; they make room where it is needed", "spool"),
    Metric("noclobber_spool_segments", "gauge", "segments", "Closed segments that wait to be loaded", "spool"),
    Metric("noclobber_spool_oldest_seconds", "gauge", "seconds", "Age of the oldest of them", "spool"),
    Metric("noclobber_spool_free_bytes", "gauge", "bytes", "Free bytes of the spool's disk", "spool"),
    Metric("noclobber_spool_fsync_seconds_total", "counter", "seconds", "Seconds spent in the disk's sync", "spool"),
    Metric("noclobber_spool_commits_total", "counter", "groups", "Groups of requests made durable", "spool"),
    Metric("noclobber_spool_repaired_bytes_total", "counter", "bytes",
           "Bytes of torn tails cut off at the start; they were never acknowledged", "spool"),
    Metric("noclobber_spool_damaged_spans_total", "counter", "spans",
           "Spans written before a crash whose bytes had changed on disk, as found at the start", "spool"),
    Metric("noclobber_loader_seen_seconds", "gauge", "seconds",
           "Since the loader last told of itself; many: the engine is down", "loader"),
    Metric("noclobber_loader_loaded_spans_total", "counter", "spans", "Spans loaded and counted in the store",
           "loader"),
    Metric("noclobber_loader_reloaded_spans_total", "counter", "spans",
           "Spans that the store had lost, loaded again", "loader"),
    Metric("noclobber_loader_refused_spans_total", "counter", "spans",
           "Spans that the store will never take; they lie in the spool as `.refused`", "loader"),
    Metric("noclobber_loader_damaged_spans_total", "counter", "spans", "Spans whose bytes had changed on disk",
           "loader"),
    Metric("noclobber_loader_load_seconds_total", "counter", "seconds", "Seconds spent in loads that were counted",
           "loader"),
    Metric("noclobber_loader_loads_total", "counter", "loads", "Loads that were counted", "loader"),
    Metric("noclobber_loader_failures_total", "counter", "loads", "Loads that failed, and were tried again", "loader"),
)  # fmt: skip
"""Everything that a receiver tells on its /metrics, what its loader told of itself included."""


def exposition(table: Iterable[Metric], values: Values) -> bytes:
    """The metrics of a table for which there are values, and those of this process.

    Raises:
        KeyError: a value that no row declares.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import generate_latest

    rows = {row.name: row for row in table}
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Told([(rows[name], value) for name, value in values.items()]))
    return generate_latest(registry)


class _Told:
    """Metrics as they are now, in the form in which the library asks for them."""

    def __init__(self, told: Sequence[tuple[Metric, float | Mapping[str, float]]]) -> None:
        self._told = told

    def collect(self) -> "Iterator[Family]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for row, value in self._told:
            family = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
            made = family(row.name, row.help, labels=[row.label] if row.label else [])
            if isinstance(value, Mapping):
                for label, each in sorted(value.items(), key=lambda pair: -pair[1])[:LABELS_MAX]:
                    made.add_metric([label], each)
            else:
                made.add_metric([], value)
            yield made
