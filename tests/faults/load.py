"""Clients that send accesses for as long as they may, and remember what was acknowledged."""

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Self

from made import ACCESS, request

SPANS = 10
PAUSE_S = 0.01
ANSWER_S = 15.0
READ = {**ACCESS, "noclobber.op": "read", "noclobber.version.kind": "counter", "noclobber.version.read": "1"}
"""Nobody races here: that is what `races` is for."""
_loads = itertools.count(1)


class Load:
    """Clients, each a thread, that send small requests to one port, and send again what was not acknowledged.

    Args:
        port: of OTLP over HTTP.
        clients: how many.
        spans: of each request.
        pause_s: of each client between two requests.
        more: further attributes of each span.

    Attributes:
        strand: what the strands of this load begin with; no two loads of a test run share it.
        acknowledged: numbers of all spans in requests that got a 200; the number is the span's trace id.
        sent: how often each span was sent.
        refused: answers other than 200. cut: connections that broke or were refused.
        waits_s: from the first try of each request to its acknowledgement.
        answers_s: of each acknowledged try alone.
    """

    def __init__(
        self,
        port: int,
        clients: int = 4,
        *,
        spans: int = SPANS,
        pause_s: float = PAUSE_S,
        more: Mapping[str, object] | None = None,
    ) -> None:
        self._port, self._spans, self._pause_s, self._more = port, spans, pause_s, dict(more or {})
        self.strand = f"client-{next(_loads)}-"
        self.acknowledged: set[int] = set()
        self.sent: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.cut = 0
        self.waits_s: list[float] = []
        self.answers_s: list[float] = []
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
        strand = f"{self.strand}{client}"
        one = {**READ, "noclobber.strand": strand, "noclobber.resource": f"redis://h/0/{strand}"}
        while not self._ending.is_set():
            seqs = [next(counter) for _ in range(self._spans)]
            step = f"{strand}-{seqs[0]}"
            each = {**one, "noclobber.unit": step, "noclobber.unit.kind": "step", "noclobber.step": step, **self._more}
            made = request([{**each, "noclobber.seq": seq} for seq in seqs])
            numbers = [int.from_bytes(span.trace_id, "big") for span in made.resource_spans[0].scope_spans[0].spans]
            data = made.SerializeToString()
            begun = time.monotonic()
            while not self._send(data, numbers) and not self._ending.is_set():
                time.sleep(0.05)
            self.waits_s.append(time.monotonic() - begun)
            time.sleep(self._pause_s)

    def _send(self, data: bytes, numbers: list[int]) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        with self._lock:
            self.sent.update(numbers)
        begun = time.monotonic()
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
                self.acknowledged.update(numbers)
                self.answers_s.append(time.monotonic() - begun)
            else:
                self.refused[status] += 1
        return status == 200
