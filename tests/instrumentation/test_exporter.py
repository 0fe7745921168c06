"""Outbox and sender against a real HTTP server that is down, slow or refuses: nothing is lost, nothing overtakes."""

import contextlib
import gzip
import http.server
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from noclobber import exporter, recorder
from noclobber.access import Access, Call
from noclobber.contract import FRONTIER_END, Op
from noclobber.exporter import Sender, transport_for
from noclobber.outbox import MEMORY_BYTES_MAX, Outbox
from noclobber.settings import Settings
from noclobber.sinks import CollectorSink, FileSink, SeveralSinks, sink_for

WAIT_S = 20.0


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        time.sleep(0.005)


class Collector:
    """Keeps what it acknowledged; answers as told first."""

    def __init__(self, port: int = 0) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.taken: list[bytes] = []
        self.asked: list[float] = []
        self.hold = threading.Event()
        self.hold.set()
        collector = self

        class Endpoint(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked.append(time.monotonic())
                collector.hold.wait(WAIT_S)
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                status, headers = collector.answers.pop(0) if collector.answers else (200, {})
                if status == 200:
                    collector.taken.append(body)
                self.send_response(status)
                for name, value in {**headers, "content-length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Endpoint)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> Settings:
        return Settings(endpoint=f"http://127.0.0.1:{self.port}/v1/traces", timeout_s=5.0)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with contextlib.closing(Collector()) as made:
        yield made


@contextlib.contextmanager
def sending(outbox: Outbox, settings: Settings) -> Iterator[Sender]:
    sender = Sender(outbox, transport_for(settings))
    sender.start()
    try:
        yield sender
    finally:
        sender.stop(5.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds."""
    monkeypatch.setattr(exporter, "PAUSE_FIRST_S", 0.005)
    monkeypatch.setattr(exporter, "PAUSE_MAX_S", 0.02)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_outage_loses_nothing_and_keeps_the_order(collector: Collector, hasty: None, status: int) -> None:
    """What is refused for now is sent again before anything that came after it."""
    collector.answers = [(status, {})] * 3
    outbox = Outbox(None, "p", 1 << 20)
    for number in range(5):
        assert outbox.put(b"%d" % number, 1)
    with sending(outbox, collector.settings) as sender:
        assert outbox.wait_empty(WAIT_S)
    assert collector.taken == [b"0", b"1", b"2", b"3", b"4"]
    assert (sender.refused, sender.outages, len(collector.asked)) == (0, 1, 8)


def test_retry_after_is_kept(collector: Collector, hasty: None) -> None:
    """The collector's own pause counts, not ours; a bad one is passed over."""
    collector.answers = [(503, {"retry-after": "0.3"}), (503, {"retry-after": "soon"})]
    outbox = Outbox(None, "p", 1 << 20)
    outbox.put(b"x", 1)
    with sending(outbox, collector.settings):
        assert outbox.wait_empty(WAIT_S)
    first, second, third = collector.asked
    assert second - first >= 0.3
    assert third - second < 0.3


@pytest.mark.parametrize("status", [400, 401, 404, 413])
def test_what_will_never_be_taken_is_counted(
    collector: Collector, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal for good drops that export alone, counts its accesses and says so once."""
    collector.answers = [(status, {})] * 2
    outbox = Outbox(None, "p", 1 << 20)
    for number in range(3):
        outbox.put(b"%d" % number, 7)
    with caplog.at_level(logging.WARNING, "noclobber"), sending(outbox, collector.settings) as sender:
        assert outbox.wait_empty(WAIT_S)
    assert (collector.taken, sender.refused) == ([b"2"], 14)
    assert len(caplog.records) == 1


def test_a_server_that_can_not_digest_an_export_does_not_stop_the_rest(collector: Collector, hasty: None) -> None:
    """One export that always ends in 500 is given up after a bounded number of tries."""
    collector.answers = [(500, {})] * exporter.FAULTS_MAX
    outbox = Outbox(None, "p", 1 << 20)
    outbox.put(b"poison", 1)
    outbox.put(b"good", 1)
    with sending(outbox, collector.settings) as sender:
        assert outbox.wait_empty(WAIT_S)
    assert (collector.taken, sender.refused) == ([b"good"], 1)


def test_a_collector_that_comes_later_gets_everything(tmp_path: Path, hasty: None) -> None:
    """Nobody listens at first; what is too much for memory lies on disk, and all arrives in order."""
    with contextlib.closing(Collector()) as gone:
        port = gone.port
    outbox = Outbox(tmp_path, "p", 64 << 20)
    payloads = [b"%04d" % number + os.urandom(MEMORY_BYTES_MAX // 4) for number in range(10)]
    with sending(outbox, Settings(endpoint=f"http://127.0.0.1:{port}/v1/traces")) as sender:
        assert all(outbox.put(payload, 1) for payload in payloads)
        assert len(list(tmp_path.glob("*.otlp"))) >= 5
        wait_until(lambda: sender.outages)
        with contextlib.closing(Collector(port)) as collector:
            assert outbox.wait_empty(WAIT_S)
            assert [payload[:4] for payload in collector.taken] == [b"%04d" % number for number in range(10)]
            assert collector.taken == payloads
    assert (list(tmp_path.glob("*.otlp")), outbox.bytes) == ([], 0)


def test_an_idle_connection_that_was_closed_costs_no_pause(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that the server closed meanwhile is opened again at once."""
    monkeypatch.setattr(exporter, "PAUSE_FIRST_S", 60.0)
    transport = transport_for(collector.settings)
    assert transport.send(b"a").done
    transport._connection.sock.shutdown(2)  # type: ignore[attr-defined]  as a server's timeout would
    assert transport.send(b"b").done
    transport.close()


def test_gzip_and_a_token_are_sent(collector: Collector) -> None:
    """Compression and headers as they were set."""
    settings = Settings(endpoint=collector.settings.endpoint, gzip=True, headers={"authorization": "Bearer t"})
    transport = transport_for(settings)
    assert transport.send(b"x" * 1000).done
    transport.close()
    assert collector.taken == [b"x" * 1000]


def test_a_header_that_can_not_be_sent_does_not_end_the_sender(collector: Collector, hasty: None) -> None:
    """A token with a line break fails each request, and is no reason to die in silence."""
    outbox = Outbox(None, "p", 1 << 20)
    outbox.put(b"x", 3)
    settings = Settings(endpoint=collector.settings.endpoint, headers={"authorization": "Bearer a\nb"})
    with sending(outbox, settings) as sender:
        assert outbox.wait_empty(WAIT_S)
        assert sender._thread.is_alive()
    assert sender.refused == 3


def test_the_outbox_is_bounded(tmp_path: Path) -> None:
    """What is over the limit is refused, and there is room again when something left."""
    outbox = Outbox(tmp_path, "p", 100)
    assert outbox.put(b"x" * 60, 1)
    assert not outbox.put(b"x" * 60, 1)
    first = outbox.first(0)
    assert first is not None
    outbox.done(first)
    assert (outbox.put(b"x" * 60, 1), outbox.bytes) == (True, 60)


def test_a_folder_that_can_not_be_written_refuses_beyond_memory() -> None:
    """Memory still serves; what is beyond it is refused, so that it is counted."""
    outbox = Outbox(Path("/proc/none"), "p", 64 << 20)
    assert outbox.put(b"x" * MEMORY_BYTES_MAX, 1)
    assert not outbox.put(b"x", 1)


def test_what_a_process_left_is_sent_by_another(tmp_path: Path, collector: Collector) -> None:
    """At its end it leaves its exports on disk; the next process of the user that reaches a collector sends them."""
    before = Outbox(tmp_path, "before", 1 << 20)
    for number in range(3):
        before.put(b"old %d" % number, 1)
    before.leave()
    assert before.lost == 0
    outbox = Outbox(tmp_path, "after", 1 << 20)
    outbox.put(b"new", 1)
    with sending(outbox, collector.settings):
        wait_until(lambda: len(collector.taken) == 4)
    assert collector.taken == [b"new", b"old 0", b"old 1", b"old 2"]
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    """Files whose process holds their lock are left alone."""
    living = Outbox(tmp_path, "living", 64 << 20)
    living.put(b"x" * MEMORY_BYTES_MAX, 1)
    living.put(b"on disk", 1)
    assert Outbox(tmp_path, "other", 1 << 20).adopt() == 0
    living.leave()
    assert Outbox(tmp_path, "other", 64 << 20).adopt() == 2


def test_the_end_is_bounded(collector: Collector, tmp_path: Path) -> None:
    """A collector that never answers does not hold the program: what it did not take stays on disk."""
    collector.hold.clear()
    sink = CollectorSink(Settings(endpoint=collector.settings.endpoint, spool=tmp_path, timeout_s=30.0))
    assert sink.send({}, [], 0)
    wait_until(lambda: collector.asked)
    start = time.monotonic()
    sink.close(0.5)
    assert time.monotonic() - start < 2.0
    assert len(list(tmp_path.glob("*.otlp"))) == 1


def test_an_end_without_a_collector_is_quick(tmp_path: Path) -> None:
    """Where nobody listens one last try is made, not a wait."""
    with contextlib.closing(Collector()) as gone:
        endpoint = gone.settings.endpoint
    sink = CollectorSink(Settings(endpoint=endpoint, spool=tmp_path))
    assert sink.send({}, [], 0)
    start = time.monotonic()
    sink.close(5.0)
    assert time.monotonic() - start < 1.0
    assert len(list(tmp_path.glob("*.otlp"))) == 1


def test_marks_vouch_only_for_what_was_acknowledged(collector: Collector, tmp_path: Path, hasty: None) -> None:
    """Through an outage the last mark comes last, and counts exactly what came; what was refused is dropped instead."""
    collector.answers = [(503, {}), (400, {}), (503, {})]
    mine = recorder.Recorder(Settings(flush_interval_s=0.01), CollectorSink(collector.settings))
    mine.run()
    for _ in range(3):
        for _ in range(5):
            mine.end(mine.begin("test"), _read)
        assert mine.flush(WAIT_S)
    mine.shutdown(WAIT_S)
    spans = [
        {each.key: each.value for each in span.attributes}
        for body in collector.taken
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    marks = [span for span in spans if span["noclobber.op"].string_value == "mark"]
    assert marks[-1] is spans[-1]
    assert marks[-1]["noclobber.frontier_ns"].int_value == FRONTIER_END
    assert len(spans) - len(marks) == marks[-1]["noclobber.accesses"].int_value == 10
    assert marks[-1]["noclobber.dropped"].int_value == 5


def _read(call: Call) -> list[Access]:
    return [Access(Op.READ, "x", "test")]


def test_a_file_that_can_not_be_written_leaves_the_collector(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """One sink that can't be had is said in one sentence, and the other serves."""
    with caplog.at_level(logging.WARNING, "noclobber"):
        sink = sink_for(Settings(endpoint=collector.settings.endpoint, file=Path("/proc/none/out.jsonl")))
    assert isinstance(sink, CollectorSink)
    sink.close(1.0)
    assert "/proc/none/out.jsonl" in caplog.text


def test_processes_share_a_file_line_by_line(tmp_path: Path) -> None:
    """Lines of several writers never mix; `{pid}` gives each its own file."""
    path = tmp_path / "deep" / "out.jsonl"
    sinks = [FileSink(path) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda s=s: [s.send({"a": "b" * 9000}, [], 0) for _ in range(50)]) for s in sinks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sink in sinks:
        sink.close(0)
    lines = path.read_text().splitlines()
    assert (len(lines), len(set(lines))) == (200, 1)
    FileSink(tmp_path / "{pid}.jsonl").close(0)
    assert (tmp_path / f"{os.getpid()}.jsonl").exists()


def test_several_sinks_each_get_everything(tmp_path: Path) -> None:
    """One that refuses is told, and the others have it all the same."""
    sinks = [FileSink(tmp_path / name) for name in "ab"]
    both = SeveralSinks(sinks)
    assert both.send({}, [], 0)
    both.close(1.0)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() != ""
