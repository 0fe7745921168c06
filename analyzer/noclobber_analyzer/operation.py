"""What operators ask of an analyzer: `/live`, `/ready`, `/metrics`.

Inside an engine these stand beside the dashboard. An analyzer that runs alone has no port unless it is given one; then
this small server answers orchestrators and Prometheus. Alive is one whose thread runs. Ready is one whose last turn
the store did not fail: an analyzer that can't reach its store waits for it and loses nothing, so it must not be
restarted for that.

The figures are a table, as the collector's are (`noclobber_collector.metrics`).
"""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol, Self

from noclobber_collector.metrics import CONTENT_TYPE, Metric, Values, exposition

__all__ = ["ANALYZER", "Operation", "of_analyzer"]

Answer = tuple[int, str, bytes]
"""Status, content type, body."""
REQUEST_TIMEOUT_S: Final = 10
ANALYZER: Final = (
    Metric("noclobber_analyzer_lag_seconds", "gauge", "seconds",
           "How far live analysis is behind what is loaded", "analyzer"),
    Metric("noclobber_analyzer_accesses_total", "counter", "accesses", "Accesses taken, each once", "analyzer"),
    Metric("noclobber_analyzer_kept_accesses", "gauge", "accesses", "Accesses kept in memory to judge by", "analyzer"),
    Metric("noclobber_analyzer_evicted_accesses_total", "counter", "accesses",
           "Accesses that fell out of memory for want of room", "analyzer"),
    Metric("noclobber_analyzer_late_unchecked_total", "counter", "accesses",
           "Accesses that came too late to be judged", "analyzer"),
    Metric("noclobber_analyzer_dirty_resources", "gauge", "resources", "Resources that wait to be judged", "analyzer"),
    Metric("noclobber_analyzer_waiting_resources", "gauge", "resources",
           "Resources whose verdict waits for the frontier of a process", "analyzer"),
    Metric("noclobber_analyzer_step_seconds", "gauge", "seconds", "How long the last step took", "analyzer"),
    Metric("noclobber_analyzer_revisions_total", "counter", "revisions", "Revisions of findings written", "analyzer"),
    Metric("noclobber_analyzer_failed_total", "counter", "resources", "Resources whose judgement failed: report it",
           "analyzer"),
    Metric("noclobber_silent_processes", "gauge", "processes",
           "Processes that sent no mark for 10 s and did not end in order", "analyzer"),
    Metric("noclobber_delivery_attempts_total", "counter", "attempts", "Attempts to deliver alerts", "sender",
           "endpoint"),
    Metric("noclobber_deliveries_total", "counter", "alerts", "Alerts delivered", "sender", "endpoint"),
    Metric("noclobber_deliveries_pending", "gauge", "alerts", "Alerts that wait to be delivered", "sender", "endpoint"),
)  # fmt: skip
"""What an analyzer and its sender of alerts tell, alone or in an engine."""


class Analyzer(Protocol):
    """What is asked of the live analyzer."""

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""

    def stats(self) -> dict[str, object]:
        """Its figures."""


class Sender(Protocol):
    """What is asked of the sender of alerts."""

    def health(self) -> Mapping[str, Any]:
        """Its lanes' figures."""


def of_analyzer(analyzer: Analyzer, sender: Sender) -> Values:
    """The values of `ANALYZER` now."""
    return {**_of_stats(analyzer.stats()), **_of_sender(sender.health())}


class Operation:
    """Answers at an address of its own until it is closed.

    Args:
        host: address to listen on.
        port: 0 is any free one.
        analyzer: who is asked. sender: the same.

    Raises:
        OSError: the address can't be listened on.
    """

    def __init__(self, host: str, port: int, analyzer: Analyzer, sender: Sender) -> None:
        pages: Mapping[str, Callable[[], Answer]] = {
            "/live": lambda: _plain("" if analyzer.alive else "the analyzer does not run"),
            "/ready": lambda: _plain(_unready(analyzer)),
            "/metrics": lambda: (200, CONTENT_TYPE, exposition(ANALYZER, of_analyzer(analyzer, sender))),
        }

        class Answers(BaseHTTPRequestHandler):
            timeout = REQUEST_TIMEOUT_S  # nobody holds a thread for longer

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                status, kind, body = page() if page is not None else (404, "text/plain", b"/live, /ready, /metrics\n")
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, port), Answers)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="operation", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _unready(analyzer: Analyzer) -> str:
    if not analyzer.alive:
        return "the analyzer does not run"
    # the log says why; its words may name hosts, and anybody may ask here
    return "it waits for the store" if analyzer.stats()["last_error"] else ""


def _plain(reason: str) -> Answer:
    return (503 if reason else 200), "text/plain; charset=utf-8", f"{reason or 'ok'}\n".encode()


def _of_stats(stats: Mapping[str, Any]) -> Values:
    own = {
        "lag_seconds": "behind_seconds", "accesses_total": "accesses", "kept_accesses": "kept_accesses",
        "evicted_accesses_total": "evicted_accesses", "late_unchecked_total": "late_unchecked",
        "dirty_resources": "dirty_resources", "waiting_resources": "waiting_resources",
        "step_seconds": "step_seconds", "revisions_total": "written", "failed_total": "failed",
    }  # fmt: skip
    values: dict[str, float] = {f"noclobber_analyzer_{name}": float(stats[word]) for name, word in own.items()}
    return {**values, "noclobber_silent_processes": float(len(stats["silent_processes"]))}


def _of_sender(health: Mapping[str, Any]) -> Values:
    return {
        "noclobber_delivery_attempts_total": {name: float(lane["attempts"]) for name, lane in health.items()},
        "noclobber_deliveries_total": {name: float(lane["delivered"]) for name, lane in health.items()},
        "noclobber_deliveries_pending": {name: float(lane["pending"]) for name, lane in health.items()},
    }
