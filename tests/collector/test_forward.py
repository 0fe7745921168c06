"""Passing spans on: all of them, by OTLP's rules, from disk, without holding up clients or the loader."""

import itertools
import ssl
import time
from pathlib import Path
from typing import Any, Self

import grpc
import pytest
from certificates import Authority
from made import accesses
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_backend import Backend, Came, GrpcBackend, HttpBackend, Told
from processes import Receiver, free_ports, wait_until

from noclobber.cli import CommandError
from noclobber_collector.receiver import forward, options
from noclobber_collector.receiver.backlog import Backlog
from noclobber_collector.receiver.counts import Counts
from noclobber_collector.receiver.forward import Forwarder, ForwardSettings
from noclobber_collector.receiver.outlets import Endpoint, Verdict, outlet
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import LOADED, bare_requests, closed_segments
from noclobber_collector.spool import Spool

PAUSE_S = 0.02


class Passing:
    """A spool with a forwarder on it."""

    def __init__(self, folder: Path, url: str, bytes_max: int = 1 << 30, **endpoint: Any) -> None:
        self.folder, self.counts = folder / "spool", Counts()
        settings = ForwardSettings(Endpoint(url, **endpoint), bytes_max)
        self.forwarder = Forwarder(self.folder, settings, self.counts, PAUSE_S)
        self.spool = Spool(self.folder, close_after_s=0.02, before_close=self.forwarder.keep)

    def __enter__(self) -> Self:
        self.forwarder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.close()
        self.forwarder.stop()

    def put(self, count: int = 2, **more: object) -> list[str]:
        """Make spans durable; their ids."""
        made = accesses(count, **more)
        self.spool.put(made.SerializeToString(), count).result(10)
        return [span.span_id.hex() for span in made.resource_spans[0].scope_spans[0].spans]


@pytest.fixture(params=[HttpBackend, GrpcBackend], ids=["http", "grpc"])
def kind(request: pytest.FixtureRequest) -> Any:
    """A backend of each protocol."""
    return request.param


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the spool more often than in real life."""
    monkeypatch.setattr(forward, "POLL_S", 0.02)


def good(kind: Any) -> int | str:
    return 200 if kind is HttpBackend else "OK"


def test_every_span_goes_on_as_it_came(tmp_path: Path, kind: Any) -> None:
    """Byte for byte, without our own fields, with the headers that were set; several small requests in one."""
    with kind() as backend, Passing(tmp_path, backend.url, headers={"x-team": "a b"}) as passing:
        made = [accesses(3) for _ in range(20)]
        for each in made:
            passing.spool.put(each.SerializeToString(), 3)
        wait_until(lambda: len(backend.taken) == 60, what="the spans")
        assert b"".join(came.data for came in backend.came) == b"".join(each.SerializeToString() for each in made)
        assert {came.headers["x-team"] for came in backend.came} == {"a b"}
        wait_until(lambda: passing.counts["forwarded_spans"] == 60, what="the count")
        wait_until(lambda: not list((passing.folder / "forward").glob("*.seg")), what="an empty backlog")


# -- The specification's tables ------------------------------------------------------------------------------------

HTTP_AGAIN = {429, 502, 503, 504}
GRPC_AGAIN = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
GRPC_NEVER = {"UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
              "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL"}  # fmt: skip
NEVER = {Verdict.NEVER, Verdict.NEVER_US, Verdict.TOO_LARGE}


@pytest.mark.parametrize(
    "code", [300, 301, 400, 401, 403, 404, 405, 408, 413, 415, 418, 422, 429, 500, 501, 502, 503, 504]
)
def test_http_statuses_are_read_as_the_specification_says(code: int) -> None:
    """429, 502, 503 and 504 may be tried again, and nothing else."""
    with HttpBackend([Told(code)]) as backend:
        verdict = outlet(Endpoint(backend.url)).send(b"").verdict
    assert (verdict is Verdict.AGAIN, verdict in NEVER) == (code in HTTP_AGAIN, code not in HTTP_AGAIN)


@pytest.mark.parametrize("code", sorted(GRPC_AGAIN | GRPC_NEVER))
def test_grpc_codes_are_read_as_the_specification_says(code: str) -> None:
    """Every code of the table; RESOURCE_EXHAUSTED only with RetryInfo."""
    with GrpcBackend([Told(code), Told(code, after=1.5)]) as backend:
        way = outlet(Endpoint(backend.url))
        plain, with_info = way.send(b""), way.send(b"")
        way.close()
    assert (plain.verdict is Verdict.AGAIN) == (code in GRPC_AGAIN)
    assert (plain.verdict in NEVER) == (code in GRPC_NEVER)
    assert with_info.verdict is (Verdict.AGAIN if code in GRPC_AGAIN | {"RESOURCE_EXHAUSTED"} else plain.verdict)
    if with_info.verdict is Verdict.AGAIN:
        assert with_info.after_s == 1.5


@pytest.mark.parametrize(("after", "least", "most"), [("2", 2, 2), ("0", 0, 0), ("-5", 0, 0), ("soon", None, None),
                         ("inf", None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0)])  # fmt: skip
def test_retry_after_is_a_number_or_a_date(after: str, least: float | None, most: float | None) -> None:
    """What is neither is not said."""
    with HttpBackend([Told(503, after=after)]) as backend:
        after_s = outlet(Endpoint(backend.url)).send(b"").after_s
    assert after_s is None if least is None or most is None else least <= (after_s or 0) <= most


def test_a_partial_success_is_not_sent_again(tmp_path: Path, kind: Any) -> None:
    """What the other end rejected is counted, and the rest is passed on."""
    with kind([Told(good(kind), rejected=3)]) as backend, Passing(tmp_path, backend.url) as passing:
        passing.put(5)
        wait_until(lambda: passing.counts["forwarded_spans"] == 2, what="the count")
        assert passing.counts["forward_refused_spans"] == 3
        assert len(backend.came) == 1


def test_the_pause_that_was_asked_for_is_kept(tmp_path: Path, kind: Any) -> None:
    """Retry-After, and RetryInfo's delay."""
    code = 503 if kind is HttpBackend else "RESOURCE_EXHAUSTED"
    with kind([Told(code, after=1)]) as backend, Passing(tmp_path, backend.url) as passing:
        passing.put()
        wait_until(lambda: backend.taken, what="the spans")
        assert 0.95 <= backend.came[1].at - backend.came[0].at < 5
        assert passing.counts["forward_retries"] == 1


def test_without_one_pauses_double_and_have_chance_in_them(tmp_path: Path, kind: Any) -> None:
    """And what waits goes through in the end, once."""
    code = 503 if kind is HttpBackend else "UNAVAILABLE"
    with kind([Told(code)] * 6) as backend, Passing(tmp_path, backend.url) as passing:
        ids = passing.put()
        wait_until(lambda: backend.taken, what="the spans")
        times = [came.at for came in backend.came]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(gap >= PAUSE_S * 2**number / 2 for number, gap in enumerate(gaps)), gaps
        assert backend.taken == ids


# -- What the other end will never take ----------------------------------------------------------------------------


def test_one_poisoned_request_costs_no_other(tmp_path: Path, kind: Any) -> None:
    """It is found by halves; all others arrive, each once."""

    def judge(came: Came) -> Told:
        return Told(400 if kind is HttpBackend else "INVALID_ARGUMENT") if b"poison" in came.data else Told(good(kind))

    with kind(judge=judge) as backend, Passing(tmp_path, backend.url) as passing:
        ids = []
        for number in range(30):
            made = accesses(2, **({"noclobber.note": "poison"} if number == 17 else {}))
            passing.spool.put(made.SerializeToString(), 2)
            if number != 17:
                ids += [span.span_id.hex() for span in made.resource_spans[0].scope_spans[0].spans]
        wait_until(lambda: passing.counts["forwarded_spans"] == 58, what="the spans")
        assert sorted(backend.taken) == sorted(ids)
        assert passing.counts["forward_refused_spans"] == 2


def test_what_is_too_large_for_the_other_end_goes_in_halves(tmp_path: Path, kind: Any) -> None:
    """A single request, of several resources and scopes; all its spans arrive, each once, in order and whole."""
    most, code = 20_000, 413 if kind is HttpBackend else "RESOURCE_EXHAUSTED"
    made = accesses(300)
    for scopes in (1, 3):
        for _ in range(scopes):
            made.resource_spans[-1].scope_spans.append(accesses(40).resource_spans[0].scope_spans[0])
        made.resource_spans.append(accesses(7).resource_spans[0])
    spans = [s.SerializeToString() for r in made.resource_spans for each in r.scope_spans for s in each.spans]

    def judge(came: Came) -> Told:
        return Told(code) if len(came.data) > most else Told(good(kind))

    with kind(judge=judge) as backend, Passing(tmp_path, backend.url) as passing:
        passing.spool.put(made.SerializeToString(), len(spans))
        wait_until(lambda: passing.counts["forwarded_spans"] == len(spans), what="the spans")
        came = [ExportTraceServiceRequest.FromString(each.data) for each in backend.came if len(each.data) <= most]
        resources = [resource for each in came for resource in each.resource_spans]
        scopes_of = [scope for resource in resources for scope in resource.scope_spans]
        assert [span.SerializeToString() for scope in scopes_of for span in scope.spans] == spans
        assert all(scope.spans for scope in scopes_of)
        assert all(resource.resource == made.resource_spans[0].resource for resource in resources)
        assert passing.counts["forward_refused_spans"] == 0


def test_an_end_that_finds_all_too_large_is_not_asked_span_by_span(tmp_path: Path, kind: Any) -> None:
    """Halves end at a size that everybody takes; what is left is counted."""
    code = 413 if kind is HttpBackend else "RESOURCE_EXHAUSTED"
    with kind(then=Told(code)) as backend, Passing(tmp_path, backend.url) as passing:
        passing.spool.put(accesses(1000).SerializeToString(), 1000)
        wait_until(lambda: passing.counts["forward_refused_spans"] == 1000, what="the count")
        assert len(backend.came) < 80


def test_a_refusal_of_the_sender_is_not_asked_again_for_each_request(tmp_path: Path, kind: Any) -> None:
    """A wrong token is no request's fault: nothing is halved, and it is counted."""
    code = 401 if kind is HttpBackend else "UNAUTHENTICATED"
    with kind(then=Told(code)) as backend, Passing(tmp_path, backend.url) as passing:
        for _ in range(30):
            passing.spool.put(accesses(2).SerializeToString(), 2)
        wait_until(lambda: passing.counts["forward_refused_spans"] == 60, what="the count")
        assert len(backend.came) < 10


# -- Outages -------------------------------------------------------------------------------------------------------


def test_an_outage_loses_nothing(tmp_path: Path) -> None:
    """The loader is done with segments, and removes them, while the other end is down; all arrive afterwards."""
    (port,) = free_ports(1)
    with Passing(tmp_path, f"http://127.0.0.1:{port}") as passing:
        ids = []
        for number in range(1, 11):
            ids += passing.put(3)
            links = passing.folder / "forward"
            wait_until(lambda number=number, links=links: len(closed_segments(links)) == number, what="the link")
            for segment in closed_segments(passing.folder):
                segment.path.unlink()
        assert passing.counts["forward_retries"] > 0
        with HttpBackend(port=port) as backend:
            wait_until(lambda: len(backend.taken) == len(ids), what="the spans")
            assert backend.taken == ids


def test_a_loader_that_removes_files_at_once_leaves_none_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are kept for no time, while nobody gathers: each was linked before the loader could see it, once."""
    rename = Path.rename

    def load_at_once(path: Path, target: Path) -> Path:
        made = rename(path, target)
        if target.suffix == ".seg":
            made.unlink()
        return made

    spool = Spool(tmp_path / "spool", close_after_s=60)
    made = accesses(2)
    spool.put(made.SerializeToString(), 2).result(10)
    spool.close()
    (closed,) = closed_segments(tmp_path / "spool")
    closed.path.rename(closed.path.with_name(f"{closed.number:020d}.open"))  # as a crash leaves it
    monkeypatch.setattr(Path, "rename", load_at_once)
    with HttpBackend() as backend, Passing(tmp_path, backend.url) as passing:
        wait_until(lambda: len(backend.taken) == 2, what="what the start repaired")
        monkeypatch.setattr("noclobber_collector.receiver.forward.POLL_S", 1.0)
        ids = [span.span_id.hex() for span in made.resource_spans[0].scope_spans[0].spans]
        for number in range(1, 6):
            ids += passing.put(3)
            wait_until(lambda number=number: passing.spool.stock.waiting >= number, what="the close")
        assert not closed_segments(passing.folder, loaded=True)
        wait_until(lambda: len(backend.taken) >= len(ids), what="the spans")
        assert backend.taken == ids


def test_more_than_may_wait_is_dropped_oldest_first_and_counted(tmp_path: Path) -> None:
    """The disk of the spool is not filled by an endpoint that never comes back."""
    (port,) = free_ports(1)
    with Passing(tmp_path, f"http://127.0.0.1:{port}", bytes_max=6_000) as passing:
        ids = []
        for number in range(12):
            ids.append(passing.put(3))
            wait_until(lambda number=number: len(closed_segments(passing.folder)) > number, what="the segment")
        wait_until(lambda: passing.counts["forward_dropped_spans"] > 0, what="the drop")
        wait_until(lambda: passing.counts["forward_bytes"] <= 6_000, what="room")
        time.sleep(0.3)  # until a turn has seen the last one
        with HttpBackend(port=port) as backend:
            left = 36 - passing.counts["forward_dropped_spans"]
            wait_until(lambda: len(backend.taken) >= left, what="the rest")
            assert backend.taken == [each for group in ids for each in group][-left:]


def test_a_restart_goes_on_where_it_ended(tmp_path: Path) -> None:
    """What was passed on is not passed on again, what was not is, also from segments that are loaded meanwhile."""
    with HttpBackend() as backend:
        with Passing(tmp_path, backend.url) as passing:
            first = passing.put()
            wait_until(lambda: backend.taken == first, what="the first")
        spool = Spool(tmp_path / "spool")
        made = accesses(2)
        spool.put(made.SerializeToString(), 2).result(10)
        spool.close()
        newest = closed_segments(tmp_path / "spool")[-1]
        newest.path.rename(newest.path.with_suffix(LOADED))
        with Passing(tmp_path, backend.url) as passing:
            second = [span.span_id.hex() for span in made.resource_spans[0].scope_spans[0].spans]
            wait_until(lambda: len(backend.taken) >= 4, what="the second")
            third = passing.put()
            wait_until(lambda: len(backend.taken) >= 6, what="the third")
        assert backend.taken == [*first, *second, *third]


def test_the_first_start_leaves_alone_what_was_loaded_long_ago(tmp_path: Path) -> None:
    """What is not loaded yet goes on."""
    spool = Spool(tmp_path / "spool", close_after_s=0.0)
    for count in (1, 2):
        spool.put(accesses(count).SerializeToString(), count).result(10)
        wait_until(lambda count=count: len(closed_segments(tmp_path / "spool")) == count, what="the segment")
    spool.close()
    oldest = closed_segments(tmp_path / "spool")[0]
    oldest.path.rename(oldest.path.with_suffix(LOADED))
    backlog = Backlog(tmp_path / "spool", 1 << 30)
    backlog.gather()
    assert [segment.spans for segment in backlog.waiting()] == [2]


def test_a_file_system_without_links_gets_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost their bytes at once, and do the same."""
    import os

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with HttpBackend() as backend, Passing(tmp_path, backend.url) as passing:
        ids = passing.put()
        wait_until(lambda: backend.taken == ids, what="the spans")


def test_requests_come_out_of_a_segment_as_they_went_in(tmp_path: Path) -> None:
    """Also the largest, the empty one, and one that has fields with our numbers."""
    spool = Spool(tmp_path / "spool")
    made = [accesses(1).SerializeToString(), b"", b"\xc0\x3e\x05\xc8\x3e\x01" + accesses(1).SerializeToString(), bytes(
        accesses(1, **{"noclobber.pad": "x" * 100_000}).SerializeToString())]  # fmt: skip
    for each in made:
        spool.put(each, 1).result(10)
    spool.close()
    found = [
        each for segment in closed_segments(tmp_path / "spool")
        for each in bare_requests(segment.path.read_bytes(), segment.number)
    ]  # fmt: skip
    assert found == made


# -- The whole receiver --------------------------------------------------------------------------------------------


def test_a_receiver_in_front_of_another(tmp_path: Path, kind: Any) -> None:
    """A noclobber before a backend, here another noclobber with a token: spans of any kind arrive, ids and all."""
    with Receiver(tmp_path / "back", token="tok-back") as back:
        url = back.http if kind is HttpBackend else f"grpc://127.0.0.1:{back.grpc_port}"
        header = ("--forward-header", "authorization=Bearer tok-back")
        with Receiver(tmp_path / "front", "--forward", url, *header) as front:
            made = accesses(3, **{"noclobber.op": "", "gen_ai.system": "x"})
            assert front.send(made.SerializeToString()).status == 200
            wait_until(lambda: back.metrics()["spans_total"] == 3, what="the spans")
            wait_until(lambda: front.metrics()["forwarded_spans_total"] == 3, what="the count")
            assert front.metrics()["forward_bytes"] == 0
            assert "tok-back" not in front.output
        wait_until(lambda: closed_segments(back.spool), what="the segment's end")
        [segment] = closed_segments(back.spool)
        [found] = bare_requests(segment.path.read_bytes(), segment.number)
        assert ExportTraceServiceRequest.FromString(found) == made
        assert count_spans(found) == 3


def test_an_end_that_hangs_delays_no_acknowledgement(tmp_path: Path) -> None:
    """Acknowledged as fast as without, closed in time, and the receiver ends in order."""
    data = accesses(3).SerializeToString()
    with HttpBackend() as backend:
        backend.hang_s = 3.0
        with Receiver(tmp_path, "--forward", backend.url) as receiver:
            took = []
            for _ in range(100):
                begun = time.monotonic()
                assert receiver.send(data).status == 200
                took.append(time.monotonic() - begun)
            assert sorted(took)[90] < 1.0, took
            wait_until(lambda: closed_segments(receiver.spool), what="closed segments, as the loader sees them")
            assert receiver.stop() == 0


def test_tls_to_the_other_end(tmp_path: Path) -> None:
    """Its CA is trusted, our certificate shown; an unknown CA is no answer, and nothing is sent."""
    ours, clients = Authority(tmp_path, "ours"), Authority(tmp_path, "clients")
    server, client = ours.issue("server"), clients.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    context.load_verify_locations(clients.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.cert.read_bytes())], clients.cert.read_bytes(), require_client_auth=True
    )
    backends: list[Backend] = []
    with HttpBackend(context=context) as over_http, GrpcBackend(credentials=credentials) as over_grpc:
        for backend in (over_http, over_grpc):
            way = outlet(Endpoint(backend.url, ca=ours.cert, cert=client.cert, key=client.key))
            assert way.send(b"").verdict is Verdict.SENT
            way.close()
            stranger = outlet(Endpoint(backend.url, ca=clients.cert, cert=client.cert, key=client.key))
            assert stranger.send(b"").verdict is Verdict.AGAIN
            stranger.close()
            backends.append(backend)
    assert [len(backend.came) for backend in backends] == [1, 1]


# -- Settings ------------------------------------------------------------------------------------------------------


def words(*typed: str) -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    options.add_options(parser)
    parser.set_defaults(host="127.0.0.1", otlp_grpc_port=4317, otlp_http_port=4318)
    return parser.parse_args(typed)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["--forward", "localhost:4318"], "no OTLP endpoint"),
        (["--forward", "ftp://x"], "no OTLP endpoint"),
        (["--forward", "http://localhost:4318"], "this collector itself"),
        (["--forward", "grpc://127.0.0.1:4317"], "this collector itself"),
        (["--forward", "http://ann:secret@b:1"], "no name and password"),
        (["--forward", "http://b:1", "--forward-header", "token"], "NAME=VALUE"),
        (["--forward", "http://b:1", "--forward-header", "a=b\nc: d"], "no header may have"),
        (["--forward", "https://b:1", "--forward-ca", "/nothing"], "can't be used"),
        (["--forward", "https://b:1", "--forward-cert", "/nothing"], "belong together"),
        (["--tls-cert", "/nothing"], "both --tls-cert and --tls-key"),
        (["--tls-cert", "/nothing", "--tls-key", "/nothing"], "can't be used"),
    ],
)
def test_mistakes_are_one_sentence(typed: list[str], reason: str) -> None:
    """Found before anything starts."""
    with pytest.raises(CommandError, match=reason):
        options.check(words(*typed))


def test_settings_come_from_flags_and_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags win; headers are those of both, percent-decoded as OpenTelemetry's own; secrets are in no argument."""
    monkeypatch.setenv("NOCLOBBER_FORWARD", "http://one:1")
    monkeypatch.setenv("NOCLOBBER_FORWARD_HEADERS", "a=1%202,authorization=Bearer%20x")
    found = words("--forward-header", "b=3 %", "--forward-bytes-max", "5")
    made = options.forward_of(found)
    assert made is not None
    assert made.endpoint.url == "http://one:1"
    assert made.endpoint.headers == {"a": "1 2", "authorization": "Bearer x", "b": "3 %"}
    assert made.bytes_max == 5
    assert "Bearer" not in repr(made)
    typed = words("--forward", "http://two:2?key=secret", "--forward-header", "b=secret", "--forward-bytes-max", "7")
    told = options.words_for_process(typed)
    assert "--forward-bytes-max=7" in told
    assert "secret" not in " ".join(told)
    assert options.environment(typed)["NOCLOBBER_FORWARD"] == "http://two:2?key=secret"
    for name, value in options.environment(found).items():
        monkeypatch.setenv(name, value)
    again = options.forward_of(words())
    assert again is not None
    assert again.endpoint.url == "http://one:1"
    assert again.endpoint.headers == made.endpoint.headers


def test_batches_keep_order_and_size() -> None:
    """One that is larger than the limit goes alone."""
    sizes = [1, forward.BATCH_BYTES, 5, 6, forward.BATCH_BYTES - 11, 1, 2 * forward.BATCH_BYTES, 3]
    batches = list(forward._batches(bytes(size) for size in sizes))
    assert [[len(each) for each in batch] for batch in batches] == [
        [1], [forward.BATCH_BYTES], [5, 6, forward.BATCH_BYTES - 11], [1], [2 * forward.BATCH_BYTES], [3],
    ]  # fmt: skip
