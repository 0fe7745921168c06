"""kill -9 of each process of `noclobber up` under load: what was acknowledged is there, once.

The short form kills each process a few times; the long form (marker `long`) some fifty times each.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from load import Load
from made import PROCESS, request
from processes import Up, ask, wait_until

from noclobber.contract import FRONTIER_END, Attr
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_collector.segments import closed_segments

MODULES = {"receiver": "noclobber_collector.receiver", "engine": "noclobber_sidecar.engine"}
READY_S = 3.0
TAKES = "noclobber takes spans on"


def kill(up: Up, part: str) -> tuple[Up, float]:
    """Kill -9 one process and wait until OTLP is taken again; the sidecar that runs now, and how long that took."""
    if part == "supervisor":
        up.kill()
        begun, said = time.monotonic(), up.output.count(TAKES)
        up = Up(up.data.parent, ports=up.ports)
        wait_until(lambda: up.output.count(TAKES) > said, what="the new receiver")  # the old one may answer yet
        return up, time.monotonic() - begun
    os.kill(up.child(MODULES[part]), signal.SIGKILL)
    begun = time.monotonic()
    up.wait_for(f"{up.http}/ready")
    return up, time.monotonic() - begun


def loaded(up: Up) -> None:
    """Wait until the spool is empty."""
    folder = up.data / "spool"
    wait_until(lambda: not closed_segments(folder) and not list(folder.glob("*.open")), 60, what="an empty spool")


def assert_each_once(up: Up, load: Load) -> None:
    """Acknowledged spans are all there; none is there more often than it was sent; distinct ones stand once."""
    loaded(up)
    up.wait_until_ready()
    rows = up.rows("SELECT lower(hex(trace_id)), lower(hex(span_id)), count() FROM accesses GROUP BY ALL")
    visible = up.rows("SELECT count() FROM (SELECT 1 FROM accesses LIMIT 1 BY trace_id, span_id)")
    found = Counter({(trace, span): count for trace, span, count in rows})
    assert load.acknowledged - found.keys() == set()
    assert {name: count for name, count in found.items() if count > load.sent[name]} == {}
    assert visible == [(len(found),)]
    assert found.keys() <= load.sent.keys()


def kill_under_load(folder: Path, part: str, times: int) -> None:
    up = Up(folder)
    try:
        up.wait_until_ready()
        ready_s = []
        with Load(up.ports[1]) as load:
            for _ in range(times):
                load.wait_for(200)
                time.sleep(random.uniform(0, 0.4))  # kill in whatever it is doing then
                up, took_s = kill(up, part)
                ready_s.append(took_s)
            load.wait_for(200)
        assert_each_once(up, load)
        assert sorted(ready_s)[times // 2] <= READY_S, ready_s
        assert max(ready_s) <= 4 * READY_S, ready_s  # on a machine that does much else
        assert up.stop() == 0
        assert "Traceback" not in up.output, up.output
    finally:
        up.stop()


@pytest.mark.parametrize("part", ["receiver", "engine", "supervisor"])
def test_every_acknowledged_access_is_there_once(tmp_path: Path, part: str) -> None:
    """Also while clients go on sending; OTLP is taken again within three seconds."""
    kill_under_load(tmp_path, part, times=3)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("part", ["receiver", "engine", "supervisor"])
def test_every_acknowledged_access_is_there_once_long(tmp_path: Path, part: str) -> None:
    """The same fifty times each."""
    kill_under_load(tmp_path, part, times=50)


# -- findings ------------------------------------------------------------------------------------------------------


def race(key: int, now_ns: int) -> list[dict[str, object]]:
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
    process = {**PROCESS, "noclobber.clock.offset_ns": now_ns - 10**9}
    spans = [span for key in range(count) for span in race(key, now_ns)]
    for number, found in enumerate(spans):
        each = request([found], process)
        span = each.resource_spans[0].scope_spans[0].spans[0]
        span.start_time_unix_nano = now_ns + number * 1_000_000
        span.end_time_unix_nano = span.start_time_unix_nano + 500_000
        made.append(each.SerializeToString())
    mark = {
        Attr.OP: "mark", Attr.RESOURCE: f"process://{PROCESS['noclobber.process']}", Attr.SYSTEM: "noclobber",
        Attr.OUTCOME: "ok", Attr.FRONTIER_NS: FRONTIER_END, Attr.ACCESSES: len(spans), Attr.DROPPED: 0,
    }  # fmt: skip
    last = request([mark], process)
    span = last.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano = span.end_time_unix_nano = now_ns + len(spans) * 1_000_000
    return [*made, last.SerializeToString()]


def send_until_taken(up: Up, data: bytes) -> None:
    """As an agent's exporter does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            if ask(f"{up.http}/v1/traces", data, 10, content_type="application/x-protobuf").status == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, up.output
        time.sleep(0.05)


@pytest.mark.parametrize("part", ["receiver", "engine", "supervisor"])
def test_no_finding_is_lost_or_doubled(tmp_path: Path, part: str) -> None:
    """Races arrive while processes are killed; in the end there is just what `check` finds in the same bytes."""
    requests = requests_of_races(12)
    (tmp_path / "all.pb").write_bytes(b"".join(requests))
    expected = sorted(finding.id for finding in evaluate(read_otlp([str(tmp_path / "all.pb")])).findings)
    assert len(expected) >= 12
    up = Up(tmp_path)
    try:
        up.wait_until_ready()
        kills = set(range(8, len(requests), len(requests) // 4))
        for number, data in enumerate(requests):
            send_until_taken(up, data)
            if number in kills:
                time.sleep(random.uniform(0.1, 0.6))  # kill in whatever it is doing then
                up, _ = kill(up, part)
        loaded(up)
        up.wait_until_ready()
        sql = "SELECT id FROM findings GROUP BY id HAVING argMax(status, revision) = 'open' ORDER BY id"
        wait_until(lambda: [row[0] for row in up.rows(sql)] == expected, 30, what="the findings")
        per_revision = up.rows("SELECT max(n) FROM (SELECT count() AS n FROM findings GROUP BY id, revision)")
        assert per_revision == [(1,)]
        assert sorted(found["id"] for found in up.get("/findings?limit=500")["findings"]) == expected
        assert up.stop() == 0
    finally:
        up.stop()
