"""Clients that send accesses for as long as they may, and remember what was acknowledged."""

import http.client
import itertools
import threading
import time
from collections import Counter
from typing import Self

from made import ACCESS, request

PAUSE_S = 0.01
SPANS = 10


class Load:
    """Clients, each a thread, that send small requests to one port; a request that fails is sent again, as agents do.

    Attributes:
        acknowledged: (trace id, span id) in hex of all spans in requests that got a 200.
        sent: how often each span was sent.
        refused: answers other than 200. cut: connections that broke or were refused.
    """

    def __init__(self, port: int, clients: int = 4) -> None:
        self._port = port
        self.acknowledged: set[tuple[str, str]] = set()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[int] = Counter()
        self.cut = 0
        self.waits_s: list[float] = []
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._send_all, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, more: int, timeout_s: float = 30.0) -> None:
        """Wait until so many more spans were acknowledged."""
        goal, deadline = len(self.acknowledged) + more, time.monotonic() + timeout_s
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, (len(self.acknowledged), goal, self.refused, self.cut)
            time.sleep(0.01)

    def _send_all(self, client: int) -> None:
        counter = itertools.count(1)
        while not self._ending.is_set():
            strand = {**ACCESS, "noclobber.strand": f"client-{client}", "noclobber.resource": f"redis://h/0/{client}"}
            with self._lock:
                made = request([{**strand, "noclobber.seq": next(counter)} for _ in range(SPANS)])
            names = [(s.trace_id.hex(), s.span_id.hex()) for s in made.resource_spans[0].scope_spans[0].spans]
            begun = time.monotonic()
            while not self._send(made.SerializeToString(), names) and not self._ending.is_set():
                time.sleep(0.05)
            self.waits_s.append(time.monotonic() - begun)
            time.sleep(PAUSE_S)

    def _send(self, data: bytes, names: list[tuple[str, str]]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=15)
        with self._lock:
            self.sent.update(names)
        try:
            connection.request("POST", "/v1/traces", data, {"content-type": "application/x-protobuf"})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            with self._lock:
                self.cut += 1
            return False
        finally:
            connection.close()
        with self._lock:
            if status == 200:
                self.acknowledged.update(names)
            else:
                self.refused[status] += 1
        return status == 200
