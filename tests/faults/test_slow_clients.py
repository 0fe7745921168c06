"""Thousands of connections that send nothing, or next to nothing, end in time and hold up nobody else.

The short form runs a receiver with less patience (a fifth of its own), the long one (marker `long`) the receiver as it
is, with the figures of alerts-and-safety.md, test 12: 10,000 idle, 3,000 with slow headers, 1,000 with slow bodies.
"""

import contextlib
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from made import accesses
from processes import Process, Receiver, ask, free_ports
from results import write_result
from wire import Pipe, post

from noclobber_collector.receiver.connection import HEADS_BYTES_MAX

DATA = accesses(3).SerializeToString()
CROWD = Path(__file__).with_name("crowd.py")
HALF_BODY = post(b"").replace(b"content-length: 0", b"content-length: 900000") + DATA[:10]
P99_S = 0.1
LATE_S = 5.0
"""After its deadline a slow connection may live so much longer, on a machine that does much else."""
START = """
import sys
from noclobber_collector.receiver import __main__, connection, http
connection.PatientOnlySoLong.header_timeout_s = http.BODY_TIMEOUT_S = float(sys.argv.pop(1))
sys.exit(__main__.main())
"""


@contextlib.contextmanager
def patient(folder: Path, seconds: float) -> Iterator[tuple[Process, int]]:
    """A receiver that waits so long for headers and bodies; it and its HTTP port."""
    ports = free_ports(2)
    words = [sys.executable, "-c", START, str(seconds), "--spool", str(folder / "spool"),
             "--otlp-grpc-port", str(ports[0]), "--otlp-http-port", str(ports[1])]  # fmt: skip
    with Process(words, folder / "receiver.log") as process:
        process.wait_for(f"http://127.0.0.1:{ports[1]}/ready")
        yield process, ports[1]


def p99_s(port: int, until: threading.Event, at_least: int) -> float:
    """The 99th percentile of good requests, on a connection that stays and on new ones, by turns."""
    took = []
    with contextlib.ExitStack() as stack:
        pipe = stack.enter_context(Pipe(port))
        while len(took) < at_least or not until.is_set():
            if len(took) % 2:
                begun = time.monotonic()
                with Pipe(port) as fresh:
                    assert fresh.send([post(DATA)])[0].status == 200
            else:
                begun = time.monotonic()
                assert pipe.send([post(DATA)])[0].status == 200
            took.append(time.monotonic() - begun)
            time.sleep(0.002)
    return sorted(took)[int(len(took) * 0.99)]


def hold_on(folder: Path, patience_s: float, idle: int, heads: int, bodies: int) -> dict[str, object]:
    opened = threading.Event()
    with patient(folder, patience_s) as (process, port):
        opened.set()
        quiet_s = p99_s(port, opened, 200)
        opened.clear()
        numbers = map(str, (port, idle, heads, bodies, int(2 * patience_s) + 30))
        crowd = subprocess.Popen([sys.executable, str(CROWD), *numbers], stdout=subprocess.PIPE, text=True)
        told: list[str] = []

        def listen() -> None:
            assert crowd.stdout is not None
            for line in crowd.stdout:
                told.append(line)
                opened.set()

        listening = threading.Thread(target=listen)
        listening.start()
        joining_s = p99_s(port, opened, 200)
        busy_s = p99_s(port, opened, 300)
        files = psutil.Process(process.popen.pid).num_fds()
        listening.join(2 * patience_s + 60)
        assert crowd.wait(10) == 0
        crowd.stdout.close()  # type: ignore[union-attr]  # it is a pipe
        found = json.loads(told[-1])
        print(f"p99 {quiet_s * 1e3:.0f} ms alone, {joining_s * 1e3:.0f} ms while the crowd joins, "
              f"{busy_s * 1e3:.0f} ms in it; "
              f"slow ones lived {max(found['lived_s']):.1f} s; {files} files open")  # fmt: skip
        assert found["left"] == 0
        assert len(found["lived_s"]) >= 0.9 * (heads + bodies)
        assert max(found["lived_s"]) <= patience_s + LATE_S
        assert joining_s < LATE_S  # new ones queue behind the crowd's
        assert busy_s <= max(P99_S, 10 * quiet_s), (busy_s, quiet_s)  # where the machine does much else
        assert ask(f"http://127.0.0.1:{port}/ready").status == 200
        assert "Too many open files" not in process.output
        assert "Traceback" not in process.output, process.output
    return {
        "idle": idle, "slow_headers": heads, "slow_bodies": bodies, "lived_s": round(max(found["lived_s"]), 1),
        "p99_ms": {"alone": round(quiet_s * 1e3, 1), "in_the_crowd": round(busy_s * 1e3, 1)}, "files": files,
    }  # fmt: skip


def test_a_crowd_that_holds_on(tmp_path: Path) -> None:
    """1,000 idle, 300 with slow headers, 100 with slow bodies: good requests pass, slow ones end."""
    hold_on(tmp_path, 2.0, 1_000, 300, 100)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_crowd_that_holds_on_long(tmp_path: Path) -> None:
    """Ten times as many, and the receiver's own patience of ten seconds: slow ones end within 15."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 16_000:
        pytest.skip(f"14,000 connections need as many files; this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 16_000), hard))
    write_result("slow-clients", hold_on(tmp_path, 10.0, 10_000, 3_000, 1_000))


def test_a_refused_body_that_never_ends(tmp_path: Path) -> None:
    """A wrong path is answered at once; the rest of its body does not keep the connection."""
    with patient(tmp_path, 0.5) as (_, port), socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(HALF_BODY.replace(b"/v1/traces", b"/v1/nothing"))
        assert slow.recv(4096).startswith(b"HTTP/1.1 404")
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 15:
                slow.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - begun < 10


EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def half_a_call() -> bytes:
    """HTTP/2 by hand (RFC 9113, RFC 7541): a call of which the first bytes of a request come, and no more."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    said = {":method": "POST", ":scheme": "http", ":path": EXPORT, ":authority": "x", "te": "trailers",
            "content-type": "application/grpc"}  # fmt: skip
    head = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(text)]) + text.encode() for name, text in said.items()
    )
    begun = b"\0" + (3 << 20).to_bytes(4, "big") + DATA[:10]
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, head) + frame(0, 0, 1, begun)


def test_slow_calls_make_room_for_others(tmp_path: Path) -> None:
    """Over gRPC each takes the room of the largest request while it is read: who takes long gives it up to others."""
    with Receiver(tmp_path) as receiver, contextlib.ExitStack() as stack:
        for _ in range(8):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", receiver.grpc_port), timeout=20))
            slow.sendall(half_a_call())
        time.sleep(0.5)
        with grpc.insecure_channel(f"127.0.0.1:{receiver.grpc_port}") as channel:
            for _ in range(20):
                channel.unary_unary(EXPORT)(DATA, timeout=10)
        assert receiver.metrics()["spans_total"] == 60


def _all_of(connection: socket.socket) -> bytes:
    """What comes until the end."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            found += part
    return found


@pytest.mark.parametrize("before", [b"", post(DATA, path="/v1/nowhere")], ids=["alone", "behind a request"])
def test_long_headers_share_a_room(tmp_path: Path, before: bytes) -> None:
    """Half-sent ones fill it: more are asked to come again, ordinary requests pass, and what is closed makes room."""
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 60_000
    rest = b"\r\n" + post(DATA).partition(b"\r\n")[2]
    with contextlib.ExitStack() as crowd, Receiver(tmp_path) as receiver:
        process = psutil.Process(receiver.popen.pid)
        assert receiver.send(DATA).status == 200
        rested = process.memory_info().rss
        connections = []
        for _ in range(400):
            connections.append(crowd.enter_context(socket.create_connection(("127.0.0.1", receiver.http_port))))
            connections[-1].sendall(before + head)
        said = [_all_of(each) if before else each.recv(12) for each in connections[300:]]
        assert [b"HTTP/1.1 503" in each for each in said] == [True] * 100
        assert process.memory_info().rss - rested < 3 * HEADS_BYTES_MAX
        assert receiver.send(DATA).status == 200
        crowd.close()
        with socket.create_connection(("127.0.0.1", receiver.http_port)) as raw:
            for _ in range(300):  # of each what it held is given back
                raw.sendall(head)
                time.sleep(0.005)
                raw.sendall(rest)
                assert raw.recv(65_536).startswith(b"HTTP/1.1 200")
