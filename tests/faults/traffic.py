"""Traffic at a steady rate: a generated history of agents, again and again, each time by other names, at other times.

The requests are made once. A round is then a few operations on bytes for each of them: one token of eight letters
stands in all names that have to differ (ids, resources, strands, units, messages), and is replaced; calls and returns
are 64-bit numbers at known places. So one thread can send a hundred thousand spans a second, and the injected races
come again in every round. Each process sends a mark each second, behind which everything was acknowledged.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from made import request

from noclobber.contract import FRONTIER_END, Attr
from noclobber_collector.requests import from_json

TOKEN = b"T0000000"
NAMED = frozenset(
    {Attr.RESOURCE, Attr.STRAND, Attr.RUN, Attr.UNIT, Attr.MESSAGE_ID, Attr.EFFECT_HASH, Attr.EFFECT_KEY, Attr.TXN_ID,
     Attr.LOCK_OWNER, Attr.MESSAGE_SESSION, Attr.VERSION_BASE_STRAND}
)  # fmt: skip
"""Attributes whose values differ from round to round."""
CONNECTIONS = 4
MARK_EVERY_S = 1.0
CLOCK = "one-machine"


def numbered(at: int) -> str:
    """A round's name in which its number stands: rounds then share issues."""
    return f"{chr(65 + at // 26 % 26)}{at:07d}"


def lettered(at: int) -> str:
    """A round's name of letters alone, which is part of a resource's pattern: each round has issues of its own."""
    return "".join(chr(97 + at // 26**place % 26) for place in range(7)) + "x"


class Race(NamedTuple):
    """An injected race: its kind, resource and spans, and when the last of these returns, since the round began."""

    kind: str
    resource: str
    last_ns: int
    spans: frozenset[str]


class _Body(NamedTuple):
    """One request: its bytes, where call and return of each span stand in them, and these times within the round."""

    data: bytes
    places: Any
    times_ns: Any
    spans: int


class Template:
    """A history that can be sent again and again.

    Args:
        folder: where the generator may write.
        generator: `generate.py`.
        words: its options.
        rate: spans a second when it is sent.
    """

    def __init__(self, folder: Path, generator: Path, words: Sequence[str], rate: float) -> None:
        base = folder / "traffic"
        subprocess.run(
            [sys.executable, str(generator), "--out", str(base), "--hosts", "1", *words],
            check=True,
            capture_output=True,
        )
        found = [json.loads(line) for line in Path(f"{base}.otlp.jsonl").read_text().splitlines()]
        labels = [json.loads(line) for line in Path(f"{base}.labels.jsonl").read_text().splitlines()]
        spans = [span for each in found for span in _spans(each)]
        first_ns = min(int(span["startTimeUnixNano"]) for span in spans)
        last_ns = max(int(span["endTimeUnixNano"]) for span in spans)
        self.rate, self.spans = rate, len(spans)
        self.takes_ns = int(len(spans) / rate * 1e9)
        stretch = self.takes_ns / (last_ns - first_ns)
        ended: dict[str, int] = {}
        self.processes = list({json.dumps(group["resource"]): group["resource"] for each in found
                               for group in each["resourceSpans"]}.values())  # fmt: skip
        for group in (group for each in found for group in each["resourceSpans"]):
            group["resource"]["attributes"].append({"key": Attr.CLOCK, "value": {"stringValue": CLOCK}})
        for span in spans:
            for key in ("startTimeUnixNano", "endTimeUnixNano"):
                span[key] = str(int((int(span[key]) - first_ns) * stretch) + 1)
            ended[span["spanId"]] = int(span["endTimeUnixNano"])
            span["traceId"] = TOKEN.hex() + span["traceId"][16:]
            for attribute in span["attributes"]:
                _name(attribute)
        self.races = [
            Race(
                label["kind"],
                label["resource"],
                max(ended[span] for span in label["spans"]),
                frozenset(label["spans"]),
            )
            for label in labels
            if label["certainty"]
        ]
        self.bodies = [_body(each) for each in found]
        returns_ns = [int(body.times_ns[1::2].min()) for body in self.bodies]
        self.left_ns = [min([*returns_ns[at + 1 :], self.takes_ns]) for at in range(len(returns_ns))]


def _spans(found: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return (span for group in found["resourceSpans"] for scope in group["scopeSpans"] for span in scope["spans"])


def _name(attribute: dict[str, Any]) -> None:
    """Put the token into a name; a lock's fencing token stays at its end."""
    token, value = TOKEN.decode(), attribute["value"]
    if attribute["key"] in NAMED:
        value["stringValue"] += f"-{token}"
    elif attribute["key"] in (Attr.LOCKS, Attr.RESULT_RESOURCES):
        for each in value["arrayValue"]["values"]:
            name, sharp, number = each["stringValue"].partition("#")
            each["stringValue"] = f"{name}-{token}{sharp}{number}"


def _body(found: dict[str, Any]) -> _Body:
    data = from_json(json.dumps(found).encode())
    places, times = [], []
    at = 0
    for span in _spans(found):
        start, end = (int(span[key]) for key in ("startTimeUnixNano", "endTimeUnixNano"))
        at = data.index(b"\x39" + start.to_bytes(8, "little") + b"\x41" + end.to_bytes(8, "little"), at)
        places += [at + 1, at + 10]
        times += [start, end]
    return _Body(data, np.array(places)[:, None] + np.arange(8), np.array(times, dtype=np.uint64), len(places) // 2)


class Traffic:
    """Sends a template at its rate until it is told to stop.

    Args:
        port: of OTLP over HTTP. template: what is sent. token: the name of a round, eight letters.

    Attributes:
        acknowledged: spans that were acknowledged. refused: answers other than 200, each sent again.
        begun_ns: when each round began, by its token.
        late_s: how far the sender was behind its schedule at most.
    """

    def __init__(self, port: int, template: Template, token: Callable[[int], str] = numbered) -> None:
        self.acknowledged = self.refused = 0
        self.late_s = 0.0
        self.begun_ns: dict[str, int] = {}
        self._port, self._template, self._token = port, template, token
        self._work: deque[tuple[int, bytes, int]] = deque()
        self._flying: dict[int, int] = {}
        self._done = False
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(4 * CONNECTIONS)

    def send(self, seconds: float) -> None:
        """Send for so long, in whole rounds; ends when all is acknowledged and each process has said its last mark."""
        self._done = False
        threads = [threading.Thread(target=self._connection) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        begun_ns = time.time_ns()
        marked_at = 0.0
        for number in range(max(1, round(seconds * 1e9 / self._template.takes_ns))):
            round_ns = begun_ns + number * self._template.takes_ns
            token = self._token(len(self.begun_ns))
            self.begun_ns[token] = round_ns
            for body, left_ns in zip(self._template.bodies, self._template.left_ns, strict=True):
                self._wait(round_ns + int(body.times_ns[-1]))
                self._put(_at(body, token.encode(), round_ns), round_ns + int(body.times_ns[1::2].min()), body.spans)
                if time.monotonic() - marked_at >= MARK_EVERY_S:
                    marked_at = time.monotonic()
                    self._mark(round_ns + left_ns)
        self._done = True
        for thread in threads:
            thread.join()
        self._post_marks(FRONTIER_END)

    def _wait(self, until_ns: int) -> None:
        ahead_s = (until_ns - time.time_ns()) / 1e9
        self.late_s = max(self.late_s, -ahead_s)
        if ahead_s > 0:
            time.sleep(ahead_s)

    def _put(self, data: bytes, first_ns: int, spans: int) -> None:
        self._slots.acquire()
        with self._lock:
            self._flying[id(data)] = first_ns
            self._work.append((id(data), data, spans))

    def _mark(self, left_ns: int) -> None:
        """Whatever returned before the first of what is still to be sent, or on its way, is acknowledged."""
        with self._lock:
            oldest_ns = min([*self._flying.values(), left_ns])
        self._post_marks(oldest_ns)

    def _post_marks(self, frontier_ns: int) -> None:
        for resource in self._template.processes:
            words = {
                a["key"]: a["value"].get("stringValue") or int(a["value"]["intValue"]) for a in resource["attributes"]
            }
            mark = {Attr.OP: "mark", Attr.RESOURCE: "process://p", Attr.SYSTEM: "noclobber", Attr.OUTCOME: "ok",
                    Attr.FRONTIER_NS: frontier_ns, Attr.DROPPED: 0}  # fmt: skip
            made = request([mark], words)
            span = made.resource_spans[0].scope_spans[0].spans[0]
            span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            self._post(connection, made.SerializeToString())
            connection.close()

    def _connection(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._done or self._work:
            try:
                name, data, spans = self._work.popleft()
            except IndexError:
                time.sleep(0.001)
                continue
            self._post(connection, data)
            with self._lock:
                self.acknowledged += spans
                del self._flying[name]
            self._slots.release()
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, data: bytes) -> None:
        while True:
            connection.request("POST", "/v1/traces", data, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return
            self.refused += 1
            time.sleep(0.2)


def _at(body: _Body, token: bytes, begun_ns: int) -> bytes:
    """A request of a round: by its names, at its time."""
    data = np.frombuffer(bytearray(body.data.replace(TOKEN, token)), dtype=np.uint8)
    data[body.places] = (body.times_ns + np.uint64(begun_ns)).view(np.uint8).reshape(-1, 8)
    return data.tobytes()
