"""Races that arrive while something fails, and what `check` finds in the same bytes."""

import http.client
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from made import PROCESS, request
from processes import ask

from noclobber.contract import FRONTIER_END, Attr
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp

TAKEN_S = 60.0


def race(key: int) -> list[dict[str, object]]:
    """Two strands read one version and both write: the second replaces what it had never seen."""
    resource = f"redis://127.0.0.1:6379/0/acct:{key}"

    def step(agent: str, seq: int, **more: object) -> dict[str, object]:
        named = {f"noclobber.{name.replace('_', '.')}": value for name, value in more.items()}
        return {
            Attr.RESOURCE: resource, Attr.SYSTEM: "redis", Attr.OUTCOME: "ok", Attr.AGENT: agent,
            Attr.STRAND: f"{agent}-{key}", Attr.SEQ: seq, Attr.STEP: f"{agent}-{key}", Attr.UNIT: f"{agent}-{key}",
            Attr.UNIT_KIND: "step", Attr.VERSION_KIND: "fingerprint", **named,
        }  # fmt: skip

    def write(agent: str, overwritten: str) -> dict[str, object]:
        return step(agent, 2, op="write", version_base=f"v{key}", version_base_source="observed",
                    version_overwritten=overwritten, version_written=f"{agent}{key}")  # fmt: skip

    read = {"op": "read", "version_read": f"v{key}"}
    return [step("deposit", 1, **read), step("withdraw", 1, **read),
            write("deposit", f"v{key}"), write("withdraw", f"deposit{key}")]  # fmt: skip


def requests_of_races(count: int) -> list[bytes]:
    """One request for each access, in order, and a mark of the process's end; times are of now."""
    now_ns, made = time.time_ns(), []
    process = {**PROCESS, "noclobber.process": secrets.token_hex(8), "noclobber.clock.offset_ns": now_ns - 10**9}
    spans = [span for key in range(count) for span in race(key)]
    for number, found in enumerate(spans):
        each = request([found], process)
        span = each.resource_spans[0].scope_spans[0].spans[0]
        span.start_time_unix_nano = now_ns + number * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 500_000
        made.append(each.SerializeToString())
    mark = {
        Attr.OP: "mark", Attr.RESOURCE: f"process://{process['noclobber.process']}", Attr.SYSTEM: "noclobber",
        Attr.OUTCOME: "ok", Attr.FRONTIER_NS: FRONTIER_END, Attr.ACCESSES: len(spans), Attr.DROPPED: 0,
    }  # fmt: skip
    last = request([mark], process)
    span = last.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano = span.end_time_unix_nano = now_ns + len(spans) * 1_000_000
    return [*made, last.SerializeToString()]


def found_by_check(folder: Path, *requests: bytes) -> list[str]:
    """Ids of what `check` finds in the same bytes, ascending."""
    path = folder / "checked.pb"
    path.write_bytes(b"".join(requests))
    return sorted(finding.id for finding in evaluate(read_otlp([str(path)])).findings)


def send_until_taken(url: str, data: bytes) -> None:
    """As an agent's exporter does."""
    deadline = time.monotonic() + TAKEN_S
    while True:
        try:
            if ask(f"{url}/v1/traces", data, 10, content_type="application/x-protobuf").status == 200:
                return
        except (OSError, http.client.HTTPException):  # killed in the middle of an answer
            pass
        assert time.monotonic() < deadline, "nobody took a request for a minute"
        time.sleep(0.05)


class Racing:
    """Sends races one access after the other, in a thread, as fast as it is told that time goes by.

    Args:
        url: of OTLP over HTTP. count: of races.
        share: how much of all should have been sent by now, 0 to 1.
    """

    def __init__(self, url: str, count: int, share: Callable[[], float]) -> None:
        self.requests = requests_of_races(count)
        self._url, self._share = url, share
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._share = lambda: 1.0
        self._thread.join()

    def _send(self) -> None:
        for number, data in enumerate(self.requests):
            while number / len(self.requests) > self._share():
                time.sleep(0.02)
            send_until_taken(self._url, data)
