"""`noclobber up` in front of another backend, with TLS on its OTLP ports."""

import ssl
import urllib.request
from pathlib import Path

from certificates import Authority
from made import accesses
from otlp_backend import HttpBackend
from processes import Up, wait_until

DATA = accesses(4).SerializeToString()


def test_spans_stand_in_the_store_and_in_the_backend(tmp_path: Path) -> None:
    """Taken over https, passed on with the backend's token, which stands in no list of processes."""
    authority = Authority(tmp_path, "ca")
    pair = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.cert))
    with HttpBackend() as backend:
        more = ("--forward", backend.url, "--forward-header", "authorization=Bearer tok-back")
        with Up(tmp_path, "--tls-cert", str(pair.cert), "--tls-key", str(pair.key), *more) as up:
            wait_until(lambda: "dashboard and API on" in up.output, 60, what="the engine")
            url = f"https://127.0.0.1:{up.ports[1]}"
            assert f"noclobber takes spans on {url}" in up.output
            request = urllib.request.Request(f"{url}/v1/traces", DATA, {"content-type": "application/x-protobuf"})
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                assert answer.status == 200
            wait_until(lambda: len(backend.taken) == 4, what="the spans in the backend")
            wait_until(lambda: up.rows("SELECT count() FROM accesses") == [(4,)], what="the spans in the store")
            words = Path(f"/proc/{up.child('noclobber_collector.receiver')}/cmdline").read_bytes()
            assert b"tok-back" not in words
        assert {came.headers["authorization"] for came in backend.came} == {"Bearer tok-back"}
        assert "tok-back" not in up.output
        assert "Traceback" not in up.output, up.output
