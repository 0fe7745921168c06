"""`noclobber collector` over a ClickHouse server that fails: real processes, and what stands between them.

The server is the real engine behind HTTP (`clickhouse_over_http`), a process that can be killed. `Between` forwards
what the collector sends, and does to loads what a test wants: lets them wait, refuses some, or holds the answer back
once the server has stored them.
"""

import http.client
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from processes import Process, free_ports, wait_until

from noclobber_collector.segments import closed_segments
from noclobber_collector.store import open_store

SERVER = Path(__file__).parent.parent / "collector" / "clickhouse_over_http.py"
BUSY = b"Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES) (version 26.9)\n"
LOADS = re.compile(rb"INSERT\s+INTO\s+(?!`?(?:ingest|schema_\w+|findings|cursors)\b)", re.IGNORECASE)


class Server(Process):
    """A ClickHouse server on a folder, of its own process."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_ports(1)[0]
        folder.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, str(SERVER), str(folder / "engine"), str(self.port)]
        super().__init__(words, folder / "server.log")
        self.wait_for(f"http://127.0.0.1:{self.port}/ping")

    def again(self) -> "Server":
        """The same server, started anew after its end."""
        return Server(self.folder, self.port)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask it, past whatever stands between it and the collector."""
        store = open_store(f"http://default@127.0.0.1:{self.port}", prepare=False)
        try:
            return store.rows(sql)
        finally:
            store.close()


class Between:
    """Forwards HTTP to a server on this machine.

    Args:
        port: the server's.

    Attributes:
        delay_s: how long each load waits before it is forwarded. refuse: share of loads that are refused.
        hold: set: the answer to a load is held back once the server has given it, and `stored` is set then.
        loads: seen so far. refused: of them.
    """

    def __init__(self, port: int) -> None:
        self.delay_s, self.refuse = 0.0, 0.0
        self.loads = self.refused = 0
        self.hold, self.stored, self.release = threading.Event(), threading.Event(), threading.Event()
        self._port = port
        between = self

        class Forward(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                between.answer(self, b"")

            def do_POST(self) -> None:
                between.answer(self, _body(self))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
        self._http.daemon_threads = True
        self.url = f"http://default@127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self.release.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        """Forward one request, after whatever a load has to suffer."""
        load = LOADS.search(asked.path.replace("+", " ").replace("%20", " ").encode() + b"\n" + body[:4_000])
        if load:
            self.loads += 1
            time.sleep(self.delay_s)
            if random.random() < self.refuse:
                self.refused += 1
                _send(asked, 500, {"X-ClickHouse-Exception-Code": "202"}, BUSY)
                return
        server = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            named = {name: text for name, text in asked.headers.items() if name.lower() not in _HOPS}
            server.request(asked.command, asked.path, body or None, named)
            found = server.getresponse()
            data, headers = found.read(), {k: v for k, v in found.getheaders() if k.lower() not in _HOPS}
        except (OSError, http.client.HTTPException):
            asked.close_connection = True  # as a server that is down
            return
        finally:
            server.close()
        if load and self.hold.is_set():
            self.stored.set()
            self.release.wait(30)
        _send(asked, found.status, headers, data)


_HOPS = frozenset({"host", "connection", "transfer-encoding", "content-length", "server", "date"})


def _body(asked: BaseHTTPRequestHandler) -> bytes:
    if asked.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return asked.rfile.read(int(asked.headers.get("Content-Length", "0")))
    parts = []
    while size := int(asked.rfile.readline().split(b";")[0], 16):
        parts.append(asked.rfile.read(size))
        asked.rfile.readline()
    asked.rfile.readline()
    return b"".join(parts)


def _send(asked: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes) -> None:
    try:
        asked.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(body))}.items():
            asked.send_header(name, text)
        asked.end_headers()
        asked.wfile.write(body)
    except OSError:  # whoever asked was killed meanwhile
        asked.close_connection = True


class Collector(Process):
    """`noclobber collector` on a folder."""

    def __init__(
        self,
        folder: Path,
        store: str,
        *options: str,
        ports: Sequence[int] | None = None,
        first: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self.store, self.options = folder, store, options
        self.ports = list(ports or free_ports(2))
        self.spool = folder / "data" / "spool"
        self.http = f"http://127.0.0.1:{self.ports[1]}"
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            [sys.executable, "-m", "noclobber.cli", "collector", "--store", store, "--data", str(folder / "data"),
             "--otlp-grpc-port", str(self.ports[0]), "--otlp-http-port", str(self.ports[1]), *options],
            folder / "collector.log",
            first=first,
        )  # fmt: skip
        self.wait_for(f"{self.http}/ready")

    def again(self) -> "Collector":
        """The same collector, started anew after its end."""
        return Collector(self.folder, self.store, *self.options, ports=self.ports)

    def kill_receiver(self) -> None:
        """Kill -9 its receiver."""
        (receiver,) = psutil.Process(self.popen.pid).children()
        receiver.send_signal(signal.SIGKILL)

    def rss(self) -> int:
        """Bytes of memory of its processes together."""
        process = psutil.Process(self.popen.pid)
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])

    def wait_until_loaded(self, timeout_s: float) -> float:
        """Wait until the spool is empty; returns the seconds that it took."""
        begun = time.monotonic()
        wait_until(lambda: not closed_segments(self.spool) and not list(self.spool.glob("*.open")), timeout_s,
                   what="an empty spool")  # fmt: skip
        return time.monotonic() - begun


def end_quietly(*processes: Process) -> None:
    """End whatever still runs of a test that failed."""
    for each in processes:
        if each.popen.poll() is None:
            each.popen.terminate()
            try:
                each.popen.wait(30)
            except subprocess.TimeoutExpired:
                each.kill()
