"""Fault test 19: bytes of the spool change, segments vanish, the loader's notes are stale: it starts always.

Lost is only what was damaged, and that is counted. Each turn damages a spool by chance, some of whose segments were
loaded before, and starts a receiver's spool and a loader on it.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from made import ACCESS, request
from processes import wait_until
from results import write_result

from noclobber_collector.loader import Loader
from noclobber_collector.segments import CLOSED, LOADED, OPEN, closed_segments, sound_requests
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store


@dataclass
class Known:
    """What a turn knows of its spans.

    Attributes:
        requests: by number of the request's first span, the numbers of all its spans.
        damaged: spans in requests that were damaged or torn. gone: in segments that were deleted.
    """

    requests: dict[int, list[int]] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)


def numbers_in(data: bytes) -> list[tuple[int, int, set[int]]]:
    """Begin, end and span numbers of each sound request of a segment."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = []
    for begin, end in sound_requests(data):
        body = data[begin:end]
        at = next(number + 1 for number, byte in enumerate(body) if byte < 0x80)
        spans = ExportTraceServiceRequest.FromString(body[at:]).resource_spans[0].scope_spans[0].spans
        found.append((begin, end, {int.from_bytes(span.trace_id, "big") for span in spans}))
    return found


def fill(folder: Path, known: Known, chance: random.Random) -> None:
    """Some closed segments, and perhaps one that a crash left open, some of its bytes torn."""
    for _ in range(chance.randint(1, 3)):
        spool = Spool(folder, close_after_s=60)
        for _ in range(chance.randint(1, 4)):
            made = request([{**ACCESS, "noclobber.seq": 1} for _ in range(chance.randint(1, 3))])
            spans = made.resource_spans[0].scope_spans[0].spans
            numbers = [int.from_bytes(span.trace_id, "big") for span in spans]
            spool.put(made.SerializeToString(), len(numbers)).result(10)
            known.requests[numbers[0]] = numbers
        spool.close()


def damage(folder: Path, known: Known, chance: random.Random) -> str:
    """One thing that goes wrong; says which."""
    segments = closed_segments(folder, loaded=True)
    segment = chance.choice(segments)
    data = bytearray(segment.path.read_bytes())
    kind = chance.choice(["byte", "byte", "byte", "deleted", "stale", "reopened", "cut", "nothing"])
    spans = [(begin, end, numbers) for begin, end, numbers in numbers_in(bytes(data))]
    if kind == "byte":
        at = chance.randrange(len(data))
        data[at] ^= 1 << chance.randrange(8)
        segment.path.write_bytes(bytes(data))
        left = {number for _, _, numbers in numbers_in(bytes(data)) for number in numbers}
        known.damaged |= {number for _, _, numbers in spans for number in numbers} - left
    elif kind == "deleted":
        segment.path.unlink()
        known.gone |= {number for _, _, numbers in spans for number in numbers}
    elif kind == "stale":  # loaded, says its name, and was not; or the other way round
        segment.path.rename(segment.path.with_suffix(CLOSED if segment.loaded else LOADED))
    elif kind == "reopened":  # a crash before the rename, with the begin of a request behind it
        path = segment.path.with_name(f"{segment.number:020d}{OPEN}")
        segment.path.rename(path)
        path.write_bytes(bytes(data) + bytes(data[: chance.randrange(1, spans[0][1])]))
    elif kind == "cut":
        at = chance.randrange(len(data))
        segment.path.write_bytes(bytes(data[:at]))
        known.damaged |= {number for _, end, numbers in spans if end > at for number in numbers}
    return kind


def turn(store: Store, folder: Path, chance: random.Random) -> str:
    """Fill, load some, damage, start: what is sound is there once, and what is damaged is counted."""
    known = Known()
    fill(folder, known, chance)
    if chance.random() < 0.5:
        start(store, folder)
        fill(folder, known, chance)
    kind = damage(folder, known, chance)
    loader = start(store, folder)
    rows = store.rows(
        "SELECT reinterpretAsUInt64(reverse(substring(trace_id, 9))) AS n, count() FROM accesses GROUP BY n"
    )
    stored = {int(number): int(count) for number, count in rows}
    all_spans = {number for numbers in known.requests.values() for number in numbers}
    missing = all_spans - stored.keys()
    assert missing <= known.damaged | known.gone, (kind, missing)
    assert stored.keys() <= all_spans, kind
    assert set(stored.values()) <= {1}, kind
    counted = loader.damaged + loader.refused
    assert len(missing - known.gone) <= counted, (kind, missing, counted)
    return kind


def start(store: Store, folder: Path) -> Loader:
    """As a receiver and an engine start, until all is loaded."""
    Spool(folder).close()
    loader = Loader(store, folder)
    loader.start()
    wait_until(lambda: not closed_segments(folder) and loader.counted, 60, "the load")
    assert loader.stop(10)
    return loader


def turns(store: Store, folder: Path, times: int, seed: int) -> dict[str, int]:
    chance, kinds = random.Random(seed), dict.fromkeys(("byte", "deleted", "stale", "reopened", "cut", "nothing"), 0)
    for number in range(times):
        spool = folder / f"spool-{number}"
        kinds[turn(store, spool, chance)] += 1
        store.command("TRUNCATE TABLE accesses")
    return kinds


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)  # ClickHouse leaves its cache of schemas in the working folder
    monkeypatch.setattr("noclobber_collector.loader.POLL_S", 0.01)
    monkeypatch.setattr("noclobber_collector.loader.REST_MAX_S", 0.01)
    return


@pytest.mark.usefixtures("_elsewhere")
def test_a_damaged_spool_starts_and_loses_only_what_was_damaged(real_store: Store, tmp_path: Path) -> None:
    """A few starts, by chance; the seed is told where one fails."""
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    turns(real_store, tmp_path, 6, seed)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_elsewhere")
def test_a_hundred_damaged_starts(real_store: Store, tmp_path: Path) -> None:
    """The same, a hundred times."""
    turns(real_store, tmp_path, 100, int(time.time()))


@pytest.mark.long
@pytest.mark.exhaustive
@pytest.mark.timeout(7_200)
@pytest.mark.usefixtures("_elsewhere")
def test_a_thousand_damaged_starts(real_store: Store, tmp_path: Path) -> None:
    """The same, a thousand times; the result is kept."""
    begun = time.time()
    kinds = turns(real_store, tmp_path, 1_000, int(begun))
    write_result("damage", {"starts": 1_000, "by_kind": kinds, "refused_starts": 0, "sound_spans_lost": 0,
                            "minutes": round((time.time() - begun) / 60, 1)})  # fmt: skip
