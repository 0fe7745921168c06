"""The real way into the store: requests go through the spool and the loader; and agents that make such requests."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from noclobber.contract import FRONTIER_END
from noclobber_analyzer.finding import Finding
from noclobber_analyzer.tables import findings_of
from noclobber_collector.loader import Loader
from noclobber_collector.requests import check, from_json
from noclobber_collector.spool import Spool

SECOND_NS = 1_000_000_000
EPOCH_NS = 1_760_000_000 * SECOND_NS
Request = dict[str, Any]


def wait_until(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Wait for a condition; its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Intake:
    """Takes requests into a store, through the spools of some collectors."""

    def __init__(self, store: Any, folder: Path) -> None:
        self.store, self.folder = store, folder

    def take(self, requests: Iterable[Request], collector: str = "local", on_loaded: Any = lambda: None) -> None:
        """Make requests durable in one or more segments, and load them."""
        folder = self.folder / collector
        spool = Spool(folder, collector)
        for future in [spool.put(body, check(body)) for body in map(encoded, requests)]:
            future.result(20)
        spool.close()
        loader = Loader(self.store, folder, collector, on_loaded)
        loader.start()
        assert loader.stop(30.0)

    def findings(self, *, status: str = "open") -> list[Finding]:
        """The newest revision of each finding in the store, in order."""
        ids = [str(row[0]) for row in self.store.rows("SELECT DISTINCT id FROM findings")]
        found = [finding for finding, _ in findings_of(self.store, ids).values() if finding.status == status]
        return sorted(found, key=lambda f: (f.first_ns, f.id))

    def counts(self) -> tuple[int, int]:
        """Rows in `findings` and in `defended`."""
        sql = "SELECT (SELECT count() FROM findings), (SELECT count() FROM defended)"
        return tuple(self.store.rows(sql)[0])

    def defended(self) -> dict[str, int]:
        """Defended accesses by reason."""
        return {str(why): int(n) for why, n in self.store.rows("SELECT reason, count() FROM defences GROUP BY reason")}


def encoded(request: Request) -> bytes:
    """A request as the receiver hands it on."""
    return from_json(json.dumps(request).encode())


class Agent:
    """A process that works on shared state; what it did is in `requests`, one access each.

    Args:
        name: of agent, process and strand.
        clock: of its machine; None: its own, which compares with nobody's.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str, clock: str | None = "m1") -> None:
        self.name, self.clock = name, clock or f"clock of {name}"
        self.seq = 0
        self.accesses = 0

    def read(self, resource: str, version: str, at: float, **more: object) -> Request:
        """It got a version; times are seconds since the epoch of the tests."""
        return self.access("read", resource, at, {"noclobber.version.read": version}, **more)

    def write(self, resource: str, base: str | None, version: str, at: float, **more: object) -> Request:
        """It wrote a version computed from a base."""
        words: dict[str, object] = {"noclobber.version.written": version}
        if base is not None:
            words |= {"noclobber.version.base": base, "noclobber.version.base.source": "observed"}
        return self.access("write", resource, at, words, **more)

    def access(
        self, op: str, resource: str, at: float, words: dict[str, object], *, kind: str = "counter",
        took: float = 0.001, seq: int | None = None, **more: object,
    ) -> Request:  # fmt: skip
        """Any access."""
        self.seq = self.seq + 1 if seq is None else seq
        self.accesses += 1
        given = {f"noclobber.{name.replace('__', '.')}": value for name, value in more.items()}
        attributes = {
            "noclobber.op": op, "noclobber.resource": resource, "noclobber.system": "redis", "noclobber.outcome": "ok",
            "noclobber.agent": self.name, "noclobber.strand": f"{self.name}-1", "noclobber.seq": self.seq,
            "noclobber.unit": f"{self.name}-step", "noclobber.unit.kind": "step", "noclobber.version.kind": kind,
            **words, **given,
        }  # fmt: skip
        return self._request(f"{op} redis", at, at + took, attributes)

    def mark(self, at: float, frontier: float | None = None, *, accesses: int | None = None) -> Request:
        """It says how far it is complete; no frontier: it ended."""
        frontier_ns = FRONTIER_END if frontier is None else EPOCH_NS + int(frontier * SECOND_NS)
        attributes = {
            "noclobber.op": "mark", "noclobber.resource": f"process://{self.name}", "noclobber.system": "noclobber",
            "noclobber.outcome": "ok", "noclobber.frontier_ns": frontier_ns,
            "noclobber.accesses": self.accesses if accesses is None else accesses, "noclobber.dropped": 0,
        }  # fmt: skip
        return self._request("mark noclobber", at, at, attributes)

    def _request(self, name: str, start: float, end: float, attributes: dict[str, object]) -> Request:
        number = next(self._numbers)
        process = {
            "service.name": self.name, "host.name": "h1", "process.pid": 7, "noclobber.process": f"p-{self.name}",
            "noclobber.contract": "1", "noclobber.clock": self.clock, "noclobber.key_id": "k",
        }  # fmt: skip
        span = {
            "traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": name, "kind": 1,
            "startTimeUnixNano": str(EPOCH_NS + int(start * SECOND_NS)),
            "endTimeUnixNano": str(EPOCH_NS + int(end * SECOND_NS)), "attributes": _attributes(attributes),
        }  # fmt: skip
        scope = {"scope": {"name": "noclobber.redis"}, "spans": [span]}
        return {"resourceSpans": [{"resource": {"attributes": _attributes(process)}, "scopeSpans": [scope]}]}


def _attributes(words: dict[str, object]) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in words.items()]


def _value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


# -- generated histories -------------------------------------------------------------------------------------------


def generated(folder: Path, *words: str) -> list[Request]:
    """A labelled history as requests, each process ending in order."""
    home = os.environ.get("NOCLOBBER_HISTORIES")
    if not home:
        pytest.skip("NOCLOBBER_HISTORIES does not say where the generator of histories is")
    base = folder / "history"
    subprocess.run(
        [sys.executable, str(Path(home) / "generate.py"), "--out", str(base), *words],
        check=True,
        capture_output=True,
        timeout=100,
    )
    lines = Path(f"{base}.otlp.jsonl").read_text().splitlines()
    return with_ends([json.loads(line) for line in lines])


def with_ends(requests: Sequence[Request]) -> list[Request]:
    """The same with a last mark of each process, which counts what it sent."""
    processes: dict[str, Any] = {}
    sent: dict[str, set[str]] = {}
    for request in requests:
        for each in request["resourceSpans"]:
            process = next(
                a["value"]["stringValue"] for a in each["resource"]["attributes"] if a["key"] == "noclobber.process"
            )
            processes[process] = each["resource"]
            spans = [span for scope in each["scopeSpans"] for span in scope["spans"]]
            sent.setdefault(process, set()).update(span["spanId"] for span in spans)
    return [*requests, *(_end(name, resource, len(sent[name])) for name, resource in processes.items())]


def _end(process: str, resource: Any, accesses: int) -> Request:
    request = Agent(process).mark(10_000, accesses=accesses)
    request["resourceSpans"][0]["resource"] = resource
    return request


def one_by_one(requests: Iterable[Request]) -> list[Request]:
    """The same spans, each in a request of its own."""
    return [
        {"resourceSpans": [{"resource": each["resource"], "scopeSpans": [{"scope": scope["scope"], "spans": [span]}]}]}
        for request in requests
        for each in request["resourceSpans"]
        for scope in each["scopeSpans"]
        for span in scope["spans"]
    ]


def written(folder: Path, requests: Iterable[Request]) -> str:
    """The requests as a file for `check`."""
    path = folder / "offline.jsonl"
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return str(path)


def in_background(work: Callable[[], None]) -> threading.Thread:
    """Run on a thread."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
