"""Nobody gets in without the token, without TLS or with a stranger's certificate, nor by an odd path or Host.

Over HTTP and gRPC; and the token stands in no log.

Source: alerts-and-safety.md, section 10, test 13; RFC 6750.
"""

import http.client
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from google.rpc.status_pb2 import Status
from made import accesses
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from processes import Process, Receiver, ask, counted, free_ports
from wire import PROTOBUF, post, statuses, talk

from noclobber_collector.receiver.tls import ServerTls, TlsFiles
from noclobber_collector.receiver.token import Token

DATA = accesses(2).SerializeToString()
SECRET = "tok-Very.Secret_42"
EXPORT = "/opentelemetry.proto.collector.{}/Export"
SERVICES = ("trace.v1.TraceService", "logs.v1.LogsService", "metrics.v1.MetricsService")
WRONG = ("", "Bearer", "Bearer ", f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}x", f"Bearer {SECRET.lower()}",
         f"Basic {SECRET}", SECRET, f"Bearer  {SECRET}", f"Token {SECRET}",
         f"Bearer {SECRET}, Bearer {SECRET}")  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """A receiver that asks for a token."""
    with Receiver(tmp_path_factory.mktemp("guarded"), token=SECRET) as made:
        yield made


def nothing_got_in(receiver: Receiver) -> None:
    """Nothing was acknowledged, and the token is in no log."""
    assert receiver.metrics()["requests_total"] == 0
    assert SECRET not in receiver.output
    assert "Traceback" not in receiver.output


# -- Tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", WRONG)
def test_no_token_or_a_wrong_one(guarded: Receiver, shown: str) -> None:
    """401 and UNAUTHENTICATED for every signal, with a Status that does not repeat what was shown."""
    for path in ("/v1/traces", "/v1/logs", "/v1/metrics"):
        answer = guarded.send(DATA, path, **({"authorization": shown} if shown else {}))
        status = Status.FromString(answer.body)
        assert (answer.status, status.code) == (401, 16)
        assert SECRET.lower() not in status.message.lower()
    with grpc.insecure_channel(f"127.0.0.1:{guarded.grpc_port}") as channel:
        for service in SERVICES:
            metadata = (("authorization", shown),) if shown else ()
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(EXPORT.format(service))(DATA, timeout=10, metadata=metadata)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    nothing_got_in(guarded)


@pytest.mark.parametrize(
    "address",
    [f"/v1/traces?token={SECRET}", f"/v1/traces?access_token={SECRET}", f"/v1/traces?authorization=Bearer%20{SECRET}",
     f"/v1/traces;{SECRET}", f"/v1/traces#{SECRET}", f"/{SECRET}/v1/traces"],
)  # fmt: skip
def test_a_token_in_the_address(guarded: Receiver, address: str) -> None:
    """It would stand in logs: it is none, and does not stand in ours."""
    answer = talk(guarded.http_port, post(DATA, PROTOBUF, address))
    assert statuses(answer)[0] in (400, 401, 404)
    nothing_got_in(guarded)


def test_the_right_token() -> None:
    """Whatever the case of the scheme; a collector without a token asks for none, and none is an empty one."""
    token = Token(SECRET)
    assert all(token.admits(f"{scheme} {SECRET}".encode()) for scheme in ("Bearer", "bearer", "BEARER"))
    assert not any(token.admits(shown.encode()) for shown in WRONG)
    assert Token(None).admits(b"")
    assert Token("").admits(b"")
    assert SECRET not in repr(token)


def test_a_wrong_token_takes_as_long_as_a_nearly_right_one() -> None:
    """Its first letters and its length can't be found out by the time of the answer."""
    token = Token(SECRET)

    def took_s(shown: bytes) -> float:
        begun = time.process_time()
        for _ in range(2_000):
            token.admits(shown)
        return time.process_time() - begun

    shown = [b"Bearer " + words.encode() for words in ("x" * len(SECRET), SECRET[:-1] + "x", "x")]
    rounds = [[took_s(each) for each in shown] for _ in range(60)]  # by turns: the machine is now slow and now fast
    took = [min(each) for each in zip(*rounds, strict=True)]
    assert max(took) < 1.5 * min(took), took


# -- What is not there ---------------------------------------------------------------------------------------------

PATHS = ("/../../etc/passwd", "/v1/../../etc/passwd", "/v1/traces/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
         "/..%2f..%2fetc%2fpasswd", "/v1/traces%00", "/v1/traces/", "//v1/traces", "/V1/TRACES", "/v1/traces%2f..",
         "\\..\\..\\etc\\passwd", "/metrics/../v1/traces", "/live/../metrics", "/.git/config",
         "/%c0%ae%c0%ae/")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_lead_elsewhere(guarded: Receiver, path: str) -> None:
    """404 or 400, and never a file's content."""
    for method in (b"GET", b"POST"):
        answer = talk(guarded.http_port, post(DATA, PROTOBUF, path).replace(b"POST", method, 1))
        assert statuses(answer)[0] in (400, 404), answer
        assert b"root:" not in answer
    nothing_got_in(guarded)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:80@evil", "x" * 5_000, "", "a\tb", "localhost, evil"])
def test_a_forged_host_changes_nothing(guarded: Receiver, host: str) -> None:
    """The receiver believes no Host and no forwarding header: the answer is the same refusal, without the name."""
    forged = post(
        DATA, PROTOBUF, "/v1/traces", f"x-forwarded-host: {host}", "x-forwarded-for: 127.0.0.1", "forwarded: for=_a"
    ).replace(b"host: x", f"host: {host}".encode())
    answer = talk(guarded.http_port, forged)
    assert statuses(answer) == [401]
    assert b"evil" not in answer
    nothing_got_in(guarded)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "some-name"])
@pytest.mark.parametrize("command", ["up", "collector"])
def test_listening_wider_without_a_token(tmp_path: Path, host: str, command: str) -> None:
    """Refused before anything starts, with what to do."""
    store = ["--store", "http://127.0.0.1:1"] if command == "collector" else []
    words = [sys.executable, "-m", "noclobber.cli", command, "--host", host, "--data", str(tmp_path / "data"), *store]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, env=_environment(), check=False)
    assert ended.returncode == 2
    assert "--token" in ended.stderr
    assert "--insecure-bind" in ended.stderr
    assert not (tmp_path / "data" / "spool").exists()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NOCLOBBER_TOKEN"}


# -- TLS -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ca")


class TlsReceiver(Receiver):
    """A receiver with TLS."""

    def __init__(self, folder: Path, authority: Authority, *more: str, token: str = "") -> None:
        pair = authority.issue("server")
        self.context = ssl.create_default_context(cafile=str(authority.cert))
        options = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), *more)
        super().__init__(folder, *options, token=token)

    def wait_for(self, url: str, timeout_s: float = 30.0) -> float:
        """Wait until it has said that it receives."""
        begun = time.monotonic()
        while "receiving OTLP/gRPC" not in self.output or not _listens(self.http_port):
            assert self.popen.poll() is None, self.output
            assert time.monotonic() - begun < timeout_s, self.output
            time.sleep(0.02)
        return time.monotonic() - begun

    def post(self, context: ssl.SSLContext, **headers: str) -> int:
        """Send to it over https; the status."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.http_port, timeout=20, context=context)
        try:
            connection.request("POST", "/v1/traces", DATA, {"content-type": PROTOBUF, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    def metrics_over(self, context: ssl.SSLContext) -> dict[str, float]:
        """Its counters, over https."""
        with urllib.request.urlopen(f"https://127.0.0.1:{self.http_port}/metrics", timeout=20, context=context) as told:
            return counted(told.read().decode())


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def export(channel: grpc.Channel, **words: Any) -> Any:
    """Send to it over gRPC; the code."""
    with channel:
        try:
            channel.unary_unary(EXPORT.format(SERVICES[0]))(DATA, timeout=5, **words)
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined]  # a call too
    return grpc.StatusCode.OK


def test_tls(tmp_path: Path, authority: Authority) -> None:
    """Encrypted clients with the right token are served; plain ones, old TLS and unknown CAs are not."""
    with TlsReceiver(tmp_path, authority, token=SECRET) as receiver:
        bearer = f"Bearer {SECRET}"
        assert receiver.post(receiver.context, authorization=bearer) == 200
        assert receiver.post(receiver.context) == 401
        assert talk(receiver.http_port, post(DATA, PROTOBUF, "/v1/traces", f"authorization: {bearer}")) == b""
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(authority.cert)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            receiver.post(old, authorization=bearer)
        with pytest.raises(ssl.SSLError):
            receiver.post(ssl.create_default_context(), authorization=bearer)
        address, ca = f"127.0.0.1:{receiver.grpc_port}", authority.cert.read_bytes()
        good = (("authorization", bearer),)
        assert (
            export(grpc.secure_channel(address, grpc.ssl_channel_credentials(ca)), metadata=good) is grpc.StatusCode.OK
        )
        assert export(grpc.secure_channel(address, grpc.ssl_channel_credentials(ca))) is grpc.StatusCode.UNAUTHENTICATED
        assert export(grpc.insecure_channel(address), metadata=good) is grpc.StatusCode.UNAVAILABLE
        assert receiver.metrics_over(receiver.context)["requests_total"] == 2
        assert SECRET not in receiver.output
        assert "Traceback" not in receiver.output, receiver.output


def test_the_stock_exporters_over_mtls(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a certificate of the clients' CA they are served."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # requests would believe it more than its caller
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    clients = Authority(tmp_path, "clients")
    with TlsReceiver(tmp_path, authority, "--tls-client-ca", str(clients.cert)) as receiver:
        pair = clients.issue("agent")
        over_http = HttpExporter(
            f"https://127.0.0.1:{receiver.http_port}/v1/traces", certificate_file=str(authority.cert),
            client_certificate_file=str(pair.cert), client_key_file=str(pair.key), timeout=10,
        )  # fmt: skip
        credentials = grpc.ssl_channel_credentials(
            authority.cert.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()
        )
        over_grpc = GrpcExporter(f"https://127.0.0.1:{receiver.grpc_port}", credentials=credentials, timeout=10)
        for exporter in (over_http, over_grpc):
            assert exporter.export(spans()) is SpanExportResult.SUCCESS
            exporter.shutdown()


def spans() -> Any:
    from opentelemetry.sdk.trace import TracerProvider

    span = TracerProvider().get_tracer("t").start_span("s")
    span.end()
    return [span]


def test_mtls_lets_nobody_else_in(tmp_path: Path, authority: Authority) -> None:
    """No certificate, and one of another CA: refused in the handshake, over HTTP and gRPC."""
    clients, others = Authority(tmp_path, "clients"), Authority(tmp_path, "others")
    with TlsReceiver(tmp_path, authority, "--tls-client-ca", str(clients.cert)) as receiver:
        address, ca = f"127.0.0.1:{receiver.grpc_port}", authority.cert.read_bytes()
        for pair in (None, others.issue("intruder")):
            context = ssl.create_default_context(cafile=str(authority.cert))
            if pair is not None:
                context.load_cert_chain(pair.cert, pair.key)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                receiver.post(context)
            shown = (pair.key.read_bytes(), pair.cert.read_bytes()) if pair is not None else (None, None)
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, *shown))
            assert export(channel) is grpc.StatusCode.UNAVAILABLE
        good = ssl.create_default_context(cafile=str(authority.cert))
        good.load_cert_chain(*clients.issue("agent"))
        assert receiver.post(good) == 200
        assert receiver.metrics_over(good)["requests_total"] == 1
        assert "Traceback" not in receiver.output, receiver.output


def test_a_certificate_is_replaced_while_it_runs(tmp_path: Path, authority: Authority) -> None:
    """New connections see the new one; one that is broken leaves the old one in place."""
    now = [0.0]
    pair = authority.issue("live")
    tls = ServerTls(TlsFiles(pair.cert, pair.key), clock=lambda: now[0])
    first = tls.context()
    now[0] += 2
    assert tls.context() is first
    authority.issue("live")
    now[0] += 2
    second = tls.context()
    assert second is not first
    pair.cert.write_text("broken")
    now[0] += 2
    assert tls.context() is second


def test_certificates_that_can_not_be_used_end_the_start(tmp_path: Path, authority: Authority) -> None:
    """One sentence and exit code 1, and nothing is received in the clear instead."""
    pair, other = authority.issue("one"), authority.issue("two")
    ports = free_ports(2)
    words = [sys.executable, "-m", "noclobber_collector.receiver", "--spool", str(tmp_path / "spool"),
             "--otlp-grpc-port", str(ports[0]), "--otlp-http-port", str(ports[1])]  # fmt: skip
    for cert, key in ((pair.cert, other.key), (tmp_path / "none", pair.key)):
        with Process([*words, "--tls-cert", str(cert), "--tls-key", str(key)], tmp_path / "log") as process:
            assert process.popen.wait(20) == 1
            assert "can't be used" in process.output
            assert "Traceback" not in process.output
    with pytest.raises(OSError, match="refused"):
        ask(f"http://127.0.0.1:{ports[1]}/ready")
