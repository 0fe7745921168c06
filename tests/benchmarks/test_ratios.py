"""The short form of the benchmarks: has a change made something dearer by 30 %, against what it is held against?

Ratios of CPU time inside one process, or of sizes, since walls say nothing on a shared machine. Each ratio was
committed in `ratios.json`; one that is 30 % above it fails. What else runs on a machine disturbs a measurement upwards
only, so the best of a few tries counts. How long people wait is not in it: that needs a quiet machine and `nox -s
bench`.

`nox -s ratios`; with NOCLOBBER_RATIOS_WRITE=1 the file is written anew.
"""

import gc
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from bench_report import LOOPS, Ratio
from contract_spans import contract_requests
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from test_agent_cost import CALLS, Client, Discards, Encodes, Hooked, calling, medians, nothing, stock_client
from test_queries import ZIPF, Hour, history
from test_throughput import decoded, segment

from noclobber import recorder, versions
from noclobber.settings import Settings
from noclobber_analyzer.evaluate import evaluate
from noclobber_analyzer.otlp_files import read_otlp
from noclobber_collector.flatten import flatten
from noclobber_collector.store import open_store
from noclobber_dashboard.recorded import Recorded
from noclobber_dashboard.report_page import drawn

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

FILE: Final = Path(__file__).parent / "ratios.json"
LIMIT: Final = 1.3
TRIES: Final = 3
REQUESTS, SPANS = 20, 500
ROWS: Final = 250_000
OPERATIONS, RACES = 20_000, 40
WRITE: Final = bool(os.environ.get("NOCLOBBER_RATIOS_WRITE"))


class Measured(NamedTuple):
    """What was found, and what its baseline took, in one unit."""

    value: float
    base: float
    unit: str


Measure = Callable[[Path], Measured]


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 7) -> Measured:
    """Milliseconds of CPU, of each the least of several rounds; in turn, so that both meet the same machine."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, times in zip((ours, theirs), took, strict=True):
            begun = time.process_time()
            work()
            times.append((time.process_time() - begun) * 1e3)
    return Measured(min(took[0]), min(took[1]), "ms of CPU")


def get_caller(_: Path) -> Measured:
    """A redis GET, in the agent's thread."""
    return _get(time.thread_time_ns, sending=False)


def get_process(_: Path) -> Measured:
    """The same with what the background does for it."""
    return _get(time.process_time_ns, sending=True)


def _get(clock: Callable[[], int], *, sending: bool) -> Measured:
    provider, own = TracerProvider(), recorder.Recorder(Settings(ring_max=1 << 30), Discards())
    provider.add_span_processor(BatchSpanProcessor(Encodes(), max_queue_size=CALLS * 2))
    before, key = recorder.swap(own), versions.use_key(b"a key of thirty-two bytes, always")
    bodies = [
        (calling(Client()), nothing), (calling(Hooked()), own._one_round),
        (calling(stock_client(provider)), provider.force_flush),
    ]  # fmt: skip
    try:
        pairs = [((lambda b=body, r=rest: (b(), r())), nothing) if sending else (body, rest) for body, rest in bodies]
        bare, ours, stock = medians(*pairs, clock=clock)
    finally:
        recorder.swap(before)
        versions.use_key(key)
        provider.shutdown()
    return Measured(ours - bare, stock - bare, "us a call")


def flattened(_: Path) -> Measured:
    """Spans into the columns of the store, against a decoder in plain Python that stores nothing."""
    bodies = contract_requests(REQUESTS, SPANS)
    data, _settings = segment(bodies, "ratios")
    return in_turn(lambda: flatten([data]), lambda: [decoded(body) for body in bodies])


def on_disk(folder: Path) -> Measured:
    """Bytes after merges, against what came."""
    bodies = contract_requests(REQUESTS * 2, SPANS)
    store = open_store(f"chdb://{folder / 'disk'}")
    try:
        data, settings = segment(bodies, "ratios")
        store.load("accesses", flatten([data]), "ArrowStream", settings)
        store.command("OPTIMIZE TABLE accesses FINAL")
        ((size,),) = store.rows(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() "
            "AND table = 'accesses'"
        )
    finally:
        store.close()
    spans = len(bodies) * SPANS
    return Measured(float(size) / spans, sum(map(len, bodies)) / spans, "B a span")


def one_history(folder: Path) -> Measured:
    """The most wanted resource's history, against a look at each row."""
    store = open_store(f"chdb://{folder / 'queries'}")
    try:
        hour = Hour(store, ROWS, ZIPF)
        return in_turn(history(hour, 0), lambda: store.rows("SELECT uniqExact(resource) FROM accesses"), 15)
    finally:
        store.close()


def judged(folder: Path) -> Measured:
    """A file read and judged, every injected lost update found, against the same file parsed and counted."""
    path = folder / "run.jsonl"
    path.write_text(_run())

    def counted() -> int:
        seen = 0
        for line in path.read_bytes().splitlines():
            for scope in json.loads(line)["resourceSpans"][0]["scopeSpans"]:
                seen += sum(len({each["key"]: each["value"] for each in span["attributes"]}) for span in scope["spans"])
        return seen

    assert len(evaluate(read_otlp([str(path)])).findings) == RACES
    return in_turn(lambda: evaluate(read_otlp([str(path)])), counted, 5)


def _run() -> str:
    """Strands that read and write in turn; now and then two have read before both write."""
    rng, spans, at = random.Random(7), [], 1_700_000_000_000_000_000
    seqs: dict[int, int] = {}
    versions_of: dict[int, int] = {}

    def one(strand: int, op: str, key: int, **told: str) -> None:
        nonlocal at
        at += 1000
        seqs[strand] = seqs.get(strand, 0) + 1
        own: dict[str, Any] = {
            "op": op, "resource": f"redis://h/0/acct:{key}", "system": "redis", "outcome": "ok",
            "agent": f"agent-{strand % 9}", "strand": f"s{strand}", "version.kind": "counter", **told,
        }  # fmt: skip
        attributes = [{"key": f"noclobber.{name}", "value": {"stringValue": it}} for name, it in own.items()]
        attributes.append({"key": "noclobber.seq", "value": {"intValue": str(seqs[strand])}})
        spans.append({
            "traceId": f"{strand + 1:032x}", "spanId": f"{len(spans) + 1:016x}", "name": f"{op} redis", "kind": 1,
            "startTimeUnixNano": str(at), "endTimeUnixNano": str(at + 500), "attributes": attributes,
        })  # fmt: skip

    def write(strand: int, key: int, base: int) -> None:
        known = versions_of[key]
        versions_of[key] = known + 1
        told = {"version.base": str(base), "version.base.source": "explicit", "version.overwritten": str(known)}
        one(strand, "write", key, **told, **{"version.written": str(known + 1)})

    every = OPERATIONS // 2 // RACES
    for number in range(OPERATIONS // 2):
        strands, key = rng.sample(range(100), 2), rng.randrange(1000)
        base = versions_of.setdefault(key, 1)
        racing = strands if number % every == 0 else strands[:1]
        for strand in racing:
            one(strand, "read", key, **{"version.read": str(base)})
        for strand in racing:
            write(strand, key, base)
    process = {"noclobber.process": "p", "noclobber.contract": "1", "host.name": "h", "service.name": "bench"}
    resource = {"attributes": [{"key": name, "value": {"stringValue": it}} for name, it in process.items()]}
    return "".join(
        json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [
            {"scope": {"name": "noclobber.redis"}, "spans": spans[first : first + SPANS]}]}]}) + "\n"
        for first in range(0, len(spans), SPANS)
    )  # fmt: skip


def finding_drawn(folder: Path) -> Measured:
    """What the page of a finding is made of, against a loop of plain Python."""
    path = folder / "drawn.jsonl"
    path.write_text(_run())
    kept = read_otlp([str(path)])
    findings, recorded = evaluate(kept).findings[:10], Recorded(kept.accesses)

    def loop() -> None:
        for number in range(LOOPS):
            str(number)

    return in_turn(lambda: [drawn(each, recorded) for each in findings], loop)


MEASURES: Final[dict[str, tuple[str, str, Measure]]] = {
    "GET, caller": ("capture", "the stock instrumentation", get_caller),
    "GET, process": ("capture", "the stock instrumentation", get_process),
    "spans into columns": ("ingest", "decoded in plain Python", flattened),
    "in the store after merges": ("disk", "as it came, in protobuf", on_disk),
    "one resource's history": ("queries", "a look at each row", one_history),
    "read and judged": ("detection", "parsed and counted", judged),
    "ten findings drawn": ("dashboard", "a loop of plain Python", finding_drawn),
}


@pytest.fixture(autouse=True)
def quiet_heap() -> Iterator[None]:
    """The test runner's own objects are no part of anything measured."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", MEASURES)
def test_nothing_became_dearer(name: str, tmp_path: Path, ratio: Ratio) -> None:
    """No ratio is more than 30 % above the one that was committed."""
    area, baseline, measure = MEASURES[name]
    committed: dict[str, float] = json.loads(FILE.read_text()) if FILE.exists() else {}
    best = _best(measure, tmp_path, committed.get(name, 0.0))
    found = best.value / best.base
    ratio(area, name, best.value, best.unit, baseline, best.base)
    print(f"\n{name}: {best.value:.4g} {best.unit}, {found:.3g} of {baseline}; committed {committed.get(name, 0):.3g}")
    if WRITE:
        FILE.write_text(json.dumps(dict(sorted({**committed, name: round(found, 4)}.items())), indent=1) + "\n")
        return
    assert found <= LIMIT * committed[name]


def _best(measure: Measure, folder: Path, committed: float) -> Measured:
    """The least ratio of some tries, the first that is no dearer than before ends them; the middle one to commit."""
    tries: list[Measured] = []
    for number in range(TRIES):
        place = folder / str(number)
        place.mkdir()
        tries.append(measure(place))
        if not WRITE and _ratio(tries[-1]) <= committed * LIMIT:
            break
    return sorted(tries, key=_ratio)[TRIES // 2 if WRITE else 0]


def _ratio(measured: Measured) -> float:
    return measured.value / measured.base


def test_each_committed_ratio_is_measured() -> None:
    """What was renamed or taken away leaves nothing behind."""
    assert set(json.loads(FILE.read_text())) == set(MEASURES)
