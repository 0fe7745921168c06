"""Fault test 18, the hard way: `noclobber up` with no more than 1 GiB, `noclobber collector` with no more than 256 MiB.

The kernel holds the limit. Clients send as fast as they can. What the kernel can take back (pages of files) it takes
back; whoever needs more than the limit is killed. So nobody may be, and everything that was acknowledged has to be in
the store, once.
"""

import contextlib
import gzip
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from ledger import compare
from limit import MemoryLimit
from load import Load
from made import ACCESS, as_json, request
from memory import memory_of
from processes import Up, ask, counted, metrics_of, wait_until
from results import write_result
from server import Between, Collector, Server, end_quietly
from wire import field

from noclobber_collector.store import open_store

GIB = 1 << 30
COLLECTOR_MAX = 256 << 20
CATCH_UP_S = 300.0
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def loaded(up: Up, pause_s: float) -> int:
    """Spans that its loader has loaded and counted; asking costs it something, so after a pause."""
    time.sleep(pause_s)
    return int(counted(ask(f"{up.pages}/metrics").body.decode())["loader_loaded_spans_total"])


def overwhelm(folder: Path, seconds: float) -> dict[str, object]:
    """Send to it for so long, within a gibibyte; returns what was found."""
    try:
        limit = MemoryLimit(GIB)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    with limit:
        peak = 0.0
        with Up(folder, first=limit.enter) as up:
            up.wait_until_ready()
            engine, begun = up.child("noclobber_sidecar.engine"), time.monotonic()
            with Load(up.ports[1], 4, spans=500, pause_s=0.05) as load:
                while time.monotonic() - begun < seconds:
                    peak = max(peak, memory_of(up)[1])
                    time.sleep(1.0)
            sent = len(load.acknowledged)
            wait_until(lambda: loaded(up, pause_s=1.0) >= sent, CATCH_UP_S, "all that was acknowledged, loaded")
            assert up.child("noclobber_sidecar.engine") == engine, up.output
            assert up.stop() == 0
            assert limit.killed == 0
        found = {"seconds": seconds, "spans": sent, "peak_mib": limit.peak >> 20, "anonymous_mib": round(peak) >> 20}
    store = open_store(f"chdb://{up.data}/store", prepare=False)
    ledger = compare(store.rows, load)
    store.close()
    assert ledger.is_clean, ledger
    return found


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_within_a_gibibyte_for_three_minutes(tmp_path: Path) -> None:
    """Nobody is killed, nothing is lost."""
    write_result("limit-up", overwhelm(tmp_path, 180))


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(4_000)
def test_within_a_gibibyte_for_half_an_hour(tmp_path: Path) -> None:
    """Nor later on."""
    write_result("limit-up-long", overwhelm(tmp_path, 1_800))


def of_scope(content: bytes) -> bytes:
    """A request of one scope with `content` in it."""
    return field(1, field(2, content))


def of_span(content: bytes) -> bytes:
    """A request of one span with `content` in it."""
    return of_scope(field(2, content))


class Heavy:
    """Clients that send large requests of foreign spans, each in a form of its own, as fast as they are answered.

    Args:
        collector: to whom.

    Attributes:
        answers: how often each was given. spans: how many were acknowledged.
    """

    FORMS = ("protobuf", "gzip", "json", "grpc", "grpc gzip")

    def __init__(self, collector: Collector) -> None:
        self._http, self._grpc = f"{collector.http}/v1/traces", f"127.0.0.1:{collector.ports[0]}"
        self.answers: Counter[str] = Counter()
        self.spans = 0

    def send_for(self, seconds: float, clients: int = 10) -> None:
        """Send for so long; further calls send further spans."""
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(clients) as many:
            list(many.map(self._send_until, [until] * clients, range(clients)))

    def _send_until(self, until: float, client: int) -> None:
        form = self.FORMS[client % len(self.FORMS)]
        send = self._over_grpc if "grpc" in form else self._over_http
        spans = 150 if "grpc" in form else 400
        while time.monotonic() < until:
            made = request([{**ACCESS, "prompt": "x" * 20_000}] * spans, scope="foreign")
            answer = send(as_json(made) if form == "json" else made.SerializeToString(), form)
            self.answers[answer] += 1
            self.spans += spans if answer in ("200", "OK") else 0

    def _over_http(self, data: bytes, form: str) -> str:
        packed = {"content_encoding": "gzip"} if form == "gzip" else {}
        kind = "application/json" if form == "json" else "application/x-protobuf"
        body = gzip.compress(data, 1) if form == "gzip" else data
        return str(ask(self._http, body, content_type=kind, **packed).status)

    def _over_grpc(self, data: bytes, form: str) -> str:
        compression = grpc.Compression.Gzip if "gzip" in form else grpc.Compression.NoCompression
        with grpc.insecure_channel(self._grpc) as channel:
            try:
                channel.unary_unary(EXPORT)(data, timeout=30, compression=compression)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[tuple[Collector, Between, Server, MemoryLimit]]:
    """A collector within 256 MiB over a server that is outside; in the end nobody was killed, nor began anew."""
    try:
        limit = MemoryLimit(COLLECTOR_MAX)
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    server = Server(folder / "server")
    between = Between(server.port)
    with limit:
        collector = Collector(folder / "collector", between.url, first=limit.enter)
        try:
            yield collector, between, server, limit
            collector.wait_until_loaded(CATCH_UP_S)
            assert collector.stop() == 0
            assert limit.killed == 0
            assert "starting it again" not in collector.output
        finally:
            between.close()
            end_quietly(collector, server)


def foreign(server: Server) -> int:
    """Spans of `Heavy` that are stored; none twice, or this fails."""
    ((rows, spans),) = server.rows("SELECT count(), uniqExact(trace_id, span_id) FROM accesses WHERE scope = 'foreign'")
    assert rows == spans
    return int(rows)


def overwhelm_collector(folder: Path, seconds: float) -> dict[str, object]:
    """Full batches and large requests at once, then an outage of the store with a backlog of large spans."""
    with limited(folder) as (collector, between, server, limit):
        peak = 0.0
        with ThreadPoolExecutor(1) as watch, Load(collector.ports[1], 3, spans=2_000, pause_s=0) as load:
            heavy = Heavy(collector)
            done = watch.submit(heavy.send_for, seconds)
            while not done.done():
                peak = max(peak, memory_of(collector)[1])
                time.sleep(0.1)
            done.result()
        collector.wait_until_loaded(CATCH_UP_S)
        between.refuse = 1.0
        heavy.send_for(seconds)
        backlog = metrics_of(collector.http)["spool_bytes"]
        between.refuse = 0.0
        drained_s = collector.wait_until_loaded(CATCH_UP_S)
        assert compare(server.rows, load).is_clean
        assert foreign(server) == heavy.spans
        assert set(heavy.answers) <= {"200", "OK", "503", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}, heavy.answers
        assert min(heavy.answers["200"], heavy.answers["OK"]) > 0
        return {"seconds": seconds, "spans": len(load.acknowledged), "large_spans": heavy.spans,
                "answers": dict(heavy.answers), "backlog_mib": round(backlog) >> 20, "drained_s": round(drained_s, 1),
                "peak_mib": limit.peak >> 20, "anonymous_mib": round(peak) >> 20}  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_collector_within_256_mib(tmp_path: Path) -> None:
    """Full batches, large bodies over both protocols, a backlog of large spans: refused rather than killed."""
    found = overwhelm_collector(tmp_path, 4)
    assert int(str(found["backlog_mib"])) > 32


MIB = 1 << 20
IDS = field(1, bytes(15) + b"\x01") + field(2, bytes(7) + b"\x01")
"""Of a span."""
PAIRS = b"".join(field(9, field(1, number.to_bytes(3, "big").hex().encode())) for number in range(380_000))
HOSTILE = {
    "spans without ids": of_scope(b"\x12\x00" * 260_000),
    "spans of ids": of_scope(field(2, IDS) * 150_000),
    "events": of_span(IDS + b"\x5a\x00" * 700_000),
    "links": of_span(IDS + b"\x6a\x00" * 390_000),
    "numbers": of_span(IDS + b"\x50\x00" * (9 * MIB)),
    "numbers of many": of_scope(field(2, IDS + b"\x50\x00" * 900) * 10_000),
    "names": of_span(IDS + PAIRS),
    "resources": b"\x0a\x00" * 780_000,
    "scopes": field(1, b"\x12\x00" * 700_000) + of_span(IDS),
    "a resource's names": field(1, field(1, PAIRS.replace(b"\x4a\x08", b"\x0a\x08")) + field(2, field(2, IDS))),
    "a resource's numbers": field(1, b"\x20\x00" * (9 * MIB) + field(2, field(2, IDS))),
    "entities": field(1, field(1, field(3, b"\x1a\x00" * 700_000)) + field(2, field(2, IDS))),
    "a list": of_span(IDS + field(9, field(1, b"a") + field(2, field(5, b"\x0a\x00" * 700_000)))),
    "nothing that is known": of_span(IDS + b"\xa2\x06\x00\x50\x00" * (3 * MIB)),
}
"""Bodies that are small for what they hold."""


@pytest.mark.long
@pytest.mark.timeout(420)
def test_a_collector_within_256_mib_that_is_sent_what_nobody_sends(tmp_path: Path) -> None:
    """Each twice, at once with others, packed and not: taken or refused, and what is taken is stored."""
    with limited(tmp_path) as (collector, _, _, limit), ThreadPoolExecutor(3) as many:

        def send(each: tuple[str, bool]) -> tuple[str, int]:
            body, packed = HOSTILE[each[0]], {"content_encoding": "gzip"} if each[1] else {}
            data = gzip.compress(body, 1) if each[1] else body
            kind = "application/x-protobuf"
            return each[0], ask(f"{collector.http}/v1/traces", data, content_type=kind, **packed).status

        answers = list(many.map(send, [(name, packed) for packed in (False, True) for name in HOSTILE]))
        assert {status for _, status in answers} <= {200, 413, 503}, answers
        assert sum(status == 200 for _, status in answers) >= len(HOSTILE)
        collector.wait_until_loaded(CATCH_UP_S)
        assert limit.killed == 0


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(1_500)
def test_a_collector_within_256_mib_for_minutes(tmp_path: Path) -> None:
    """Nor later on."""
    write_result("limit-collector", overwhelm_collector(tmp_path, 45))
