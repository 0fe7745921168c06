"""From the spool into the store: each span once, whatever fails in between."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from made import accesses, request
from processes import wait_until

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import Segment, closed_segments, frame, newest_number
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store
from noclobber_collector.wire import UnreadableError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # ClickHouse leaves its cache of schemas in the working folder
    monkeypatch.setattr("noclobber_collector.loader.PAUSE_FIRST_S", 0.02)
    monkeypatch.setattr("noclobber_collector.loader.PAUSE_MAX_S", 0.05)


def spool_of(folder: Path, *sizes: int) -> list[Segment]:
    """A spool with one closed segment for each size."""
    for size in sizes:
        spool = Spool(folder)
        spool.put(accesses(size).SerializeToString(), size).result(10)
        spool.close()
    return closed_segments(folder)


def run(store: Any, folder: Path, **options: Any) -> Loader:
    """Load all there is."""
    loader = Loader(store, folder, **options)
    loader.start()
    wait_until(lambda: not closed_segments(folder), what="the load")
    loader.stop(10)
    return loader


def stored(store: Store) -> dict[int, int]:
    """Rows by segment."""
    return dict(store.rows("SELECT segment, count() FROM accesses GROUP BY segment"))


class Failing:
    """A store some of whose loads fail, before or after they were done."""

    def __init__(self, inner: Store, fail: Callable[[int], Exception | None], *, after: bool = False) -> None:
        self.inner, self.fail, self.after = inner, fail, after
        self.loads = 0

    def load(self, table: str, data: bytes, fmt: str, settings: Mapping[str, Any]) -> None:
        self.loads += 1
        error = self.fail(self.loads)
        if self.after or error is None:
            self.inner.load(table, data, fmt, settings)
        if error is not None:
            raise error

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        return self.inner.rows(sql, parameters or {})

    def local(self, table: str) -> str:
        return self.inner.local(table)

    def delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        self.inner.delete(table, where, parameters)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self.inner.insert(table, columns, rows)


def test_a_segment_is_loaded_as_soon_as_it_is_closed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is watched; and after few spans the loader does not rest."""
    loader = Loader(store, tmp_path / "spool")
    loader.start()
    wait_until(lambda: loader.counted, what="the first look")
    monkeypatch.setattr("noclobber_collector.loader.POLL_S", 600.0)
    monkeypatch.setattr("noclobber_collector.loader.REST_MAX_S", 600.0)
    monkeypatch.setattr("noclobber_collector.loader.REST", 1e6)
    for number in range(1, 4):
        spool_of(tmp_path / "spool", 2)
        wait_until(lambda: loader.loaded == 2 * number, what="the load")  # noqa: B023  called at once
    assert loader.stop(10)


def test_every_segment_is_counted_noted_and_kept_for_a_while(store: Store, tmp_path: Path) -> None:
    """In order, one part in all, and the analyzer is told after the count."""
    segments = spool_of(tmp_path / "spool", 3, 5, 7)
    told: list[dict[int, int]] = []
    run(store, tmp_path / "spool", on_loaded=lambda: told.append(stored(store)))
    assert told[-1] == {segment.number: segment.spans for segment in segments}
    assert store.rows("SELECT segment, spooled, stored, attempt FROM ingest ORDER BY segment") == [
        (segment.number, segment.spans, segment.spans, 1) for segment in segments
    ]
    assert [segment.loaded for segment in closed_segments(tmp_path / "spool", loaded=True)] == [True] * 3
    rows = store.rows("SELECT segment, row FROM accesses ORDER BY segment, row")
    assert len(rows) == len(set(rows)) == 15


def test_a_file_goes_only_after_its_grace_and_the_newest_stays(store: Store, tmp_path: Path) -> None:
    """The grace runs from the load, not from when the segment was written; the newest number is kept."""
    folder = tmp_path / "spool"
    segments = spool_of(folder, 1, 1, 1)
    for segment in segments:
        os.utime(segment.path, (1, 1))  # it waited long for the store
    loader = Loader(store, folder, keep_loaded_s=1.0)
    begun = time.monotonic()
    loader.start()
    wait_until(lambda: not closed_segments(folder), what="the load")
    assert len(closed_segments(folder, loaded=True)) == 3
    wait_until(lambda: len(closed_segments(folder, loaded=True)) == 1, what="the removal")
    assert time.monotonic() - begun >= 1.0
    assert newest_number(folder) == segments[-1].number
    loader.stop(5)


def test_loaded_files_go_sooner_where_their_room_is_needed(store: Store, tmp_path: Path) -> None:
    """The oldest first, after a count: no more is kept than a part of the spool's limit; what was lost comes back."""
    folder = tmp_path / "spool"
    segments = spool_of(folder, *[20] * 12)
    size = segments[0].path.stat().st_size
    run(store, folder)
    store.command("DELETE FROM accesses WHERE segment = {n:UInt64}", {"n": segments[1].number})
    loader = Loader(store, folder, spool_bytes_max=4 * 6 * size, keep_loaded_s=3_600.0)
    loader.counted = True
    loader.start()
    wait_until(lambda: loader.reloaded == 20 and not closed_segments(folder), what="the reload")
    wait_until(lambda: len(list(folder.glob("*.done"))) <= 7, what="the removal")
    kept = [segment.number for segment in closed_segments(folder, loaded=True)]
    assert kept[-4:] == [segment.number for segment in segments[-4:]]
    assert segments[0].number not in kept
    assert stored(store) == {segment.number: 20 for segment in segments}
    loader.stop(5)


def test_what_the_store_lost_is_loaded_again_at_the_next_start(store: Store, tmp_path: Path) -> None:
    """All of it, or the part that is missing: each segment is whole and single afterwards."""
    folder = tmp_path / "spool"
    first, second, third = spool_of(folder, 4, 4, 4)
    run(store, folder)
    store.command("DELETE FROM accesses WHERE segment = {n:UInt64}", {"n": first.number})
    store.command("DELETE FROM accesses WHERE segment = {n:UInt64} AND row % 2 = 0", {"n": second.number})
    loader = Loader(store, folder)
    loader.start()
    wait_until(lambda: loader.loaded == 8, what="the reload")
    loader.stop(10)
    assert stored(store) == {first.number: 4, second.number: 4, third.number: 4}
    assert loader.reloaded == 8
    attempts = dict(store.rows("SELECT segment, max(attempt) FROM ingest GROUP BY segment"))
    assert attempts == {first.number: 2, second.number: 2, third.number: 1}


def test_what_the_store_loses_meanwhile_is_found_before_the_file_goes(store: Store, tmp_path: Path) -> None:
    """The loader lives on; what was deleted on purpose is not brought back; one count serves many."""
    folder = tmp_path / "spool"
    first, second, forgotten, newest = spool_of(folder, 4, 4, 4, 1)
    counts: list[str] = []

    class Counting(Failing):
        def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
            counts.append(sql)
            return super().rows(sql, parameters)

    loader = Loader(Counting(store, lambda _: None), folder, keep_loaded_s=2.0)  # type: ignore[arg-type]
    loader.start()
    wait_until(lambda: not closed_segments(folder), what="the load")
    store.insert("forgotten", ("collector", "segment", "at_ns"), [("local", forgotten.number, time.time_ns())])
    lost = [first.number, forgotten.number]
    store.command("DELETE FROM accesses WHERE segment IN {n:Array(UInt64)}", {"n": lost})
    store.command("DELETE FROM accesses WHERE segment = {n:UInt64} AND row % 2 = 0", {"n": second.number})
    counts.clear()
    wait_until(lambda: len(closed_segments(folder, loaded=True)) == 1, what="the removal")
    assert stored(store) == {first.number: 4, second.number: 4, newest.number: 1}
    assert (loader.reloaded, loader.loaded) == (8, 4 + 4 + 4 + 1 + 8)
    assert len(counts) < 12
    loader.stop(5)


def test_what_has_run_out_is_not_missed(store: Store, tmp_path: Path) -> None:
    """The store drops such rows as often as they are loaded."""
    today = int(time.time()) // 86_400
    segments = [Segment(tmp_path, (day * 86_400_000) << 16, 1, loaded=True) for day in (today, today - 4_000)]
    assert Loader(store, tmp_path)._expired(segments) == {segments[1].number}


def test_a_store_that_takes_a_load_and_says_it_failed(store: Store, tmp_path: Path) -> None:
    """It is counted before anything is sent again."""
    failing = Failing(store, lambda n: StoreError("lost answer") if n == 1 else None, after=True)
    (segment,) = spool_of(tmp_path / "spool", 5)
    run(failing, tmp_path / "spool")
    assert (failing.loads, stored(store)) == (1, {segment.number: 5})


@pytest.mark.parametrize("error", [StoreUnreachableError("no route"), StoreError("memory limit", 241)])
def test_a_store_that_refuses_for_long_is_waited_for(store: Store, tmp_path: Path, error: StoreError) -> None:
    """No segment is set aside because the store is down or full; the reason is said meanwhile."""
    failing = Failing(store, lambda n: error if n <= 20 else None)
    segments = spool_of(tmp_path / "spool", 2, 2)
    loader = Loader(failing, tmp_path / "spool")  # type: ignore[arg-type]
    loader.start()
    wait_until(lambda: failing.loads > 10, what="some tries")
    assert loader.health()["last_error"] == str(error)
    assert loader.health()["waiting_spans"] == 4
    wait_until(lambda: not closed_segments(tmp_path / "spool"), what="the load")
    loader.stop(10)
    assert stored(store) == {segment.number: 2 for segment in segments}
    assert loader.refused == 0


def test_70_percent_of_inserts_refused(store: Store, tmp_path: Path) -> None:
    """Sent equals stored, exactly once, soon after the load."""
    folder, done = tmp_path / "spool", threading.Event()
    failing = Failing(store, lambda n: StoreError("busy", 202) if n % 10 < 7 else None)
    loader = Loader(failing, folder)  # type: ignore[arg-type]
    loader.start()
    spool = Spool(folder, close_after_s=0.02)
    sent = 0
    while not done.is_set() and sent < 600:
        spool.put(accesses(10).SerializeToString(), 10).result(10)
        sent += 10
    spool.close()
    wait_until(lambda: not closed_segments(folder), what="the load")
    loader.stop(10)
    assert store.rows("SELECT count(), uniqExact(trace_id, span_id) FROM accesses") == [(sent, sent)]


def test_a_segment_that_the_store_cannot_read_is_set_aside_alone(store: Store, tmp_path: Path) -> None:
    """Those before and after it are loaded, it lies there for a person, and it is counted."""
    folder = tmp_path / "spool"
    good, bad, last = spool_of(folder, 3, 3, 3)
    broken = b"\x0a\x05\xff\xff\xff\xff\xff"  # no resource spans, under a checksum that fits
    bad.path.write_bytes(frame(broken, bad.number, 1, b"local"))
    loader = run(store, folder)
    assert stored(store) == {good.number: 3, last.number: 3}
    assert loader.refused == 3
    assert [path.name for path in folder.glob("*.refused")] == [f"{bad.number:020d}.3.refused"]


def test_what_is_left_to_the_store_to_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are a stream that ClickHouse reads; it passes over fields that it does not know."""

    def unreadable(*_: object) -> None:
        raise UnreadableError("for a test")

    monkeypatch.setattr("noclobber_collector.loader.rows_of", unreadable)
    segments = spool_of(tmp_path / "spool", 3, 4)
    run(store, tmp_path / "spool")
    assert stored(store) == {segment.number: segment.spans for segment in segments}


def test_damage_on_disk_costs_only_what_was_damaged(store: Store, tmp_path: Path) -> None:
    """The checksum is looked at before the load; the rest of the segment is loaded."""
    folder = tmp_path / "spool"
    spool = Spool(folder, close_after_s=60)
    for _ in range(3):
        spool.put(accesses(2).SerializeToString(), 2).result(10)
    spool.close()
    (segment,) = closed_segments(folder)
    data = bytearray(segment.path.read_bytes())
    data[len(data) // 2] ^= 1
    segment.path.write_bytes(bytes(data))
    loader = run(store, folder)
    assert (stored(store), loader.damaged) == ({segment.number: 4}, 2)


def test_a_segment_that_somebody_deleted_stops_nothing(store: Store, tmp_path: Path) -> None:
    """What is gone is gone; the rest is loaded."""
    first, second = spool_of(tmp_path / "spool", 2, 2)
    first.path.unlink()
    run(store, tmp_path / "spool")
    assert stored(store) == {second.number: 2}


def test_a_start_without_a_store_counts_once_it_is_there(store: Store, tmp_path: Path) -> None:
    """The count at the start is not given up because the store was not there yet."""
    folder = tmp_path / "spool"
    (segment,) = spool_of(folder, 2)
    run(store, folder)
    store.command("TRUNCATE TABLE accesses")
    down = [True]

    class Down(Failing):
        def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
            if down:
                raise StoreUnreachableError("no route")
            return super().rows(sql, parameters)

    loader = Loader(Down(store, lambda _: None), folder)  # type: ignore[arg-type]
    loader.start()
    wait_until(lambda: loader.health()["last_error"], what="the failure")
    down.clear()
    wait_until(lambda: stored(store) == {segment.number: 2}, what="the reload")
    loader.stop(5)


def test_batches_are_of_one_day_and_bounded(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An insert never spans two partitions, so that it stays one part."""
    monkeypatch.setattr("noclobber_collector.loader.SPANS_MAX", 5)
    folder = tmp_path / "spool"
    day = 86_400_000
    now = int(time.time() * 1000) // day * day
    folder.mkdir()
    for at in (now - 2, now - 1, now, now + 1, now + 2):
        data = frame(accesses(2).SerializeToString(), at << 16, 1, b"local")
        (folder / f"{at << 16:020d}.2.seg").write_bytes(data)
    counting = Failing(store, lambda _: None)
    run(counting, folder)
    assert counting.loads == 3
    assert sum(stored(store).values()) == 10


def test_batches_are_bounded_by_their_bytes(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's memory grows with them; what is larger by itself goes alone."""
    data = [accesses(2, text="x" * size).SerializeToString() for size in (1_000, 1_000, 9_000, 1_000, 1_000, 1_000)]
    monkeypatch.setattr("noclobber_collector.loader.BYTES_MAX", 3 * len(data[0]) + 500)
    folder = tmp_path / "spool"
    folder.mkdir()
    for number, each in enumerate(data, (int(time.time() * 1000) // 86_400_000 * 86_400_000) << 16):
        (folder / f"{number:020d}.2.seg").write_bytes(frame(each, number, 1, b"local"))
    counting = Failing(store, lambda _: None)
    run(counting, folder)
    assert counting.loads == 3
    assert sum(stored(store).values()) == 12


def crowded() -> bytes:
    """A request of six spans that has several of everything."""
    made = accesses(6, **{f"k{number}": "v" for number in range(5)})
    (resource,) = made.resource_spans
    for number in range(4):
        resource.scope_spans.add().scope.name = f"scope {number}"
    for span in resource.scope_spans[0].spans:
        for number in range(4):
            span.events.add().name = f"event {number}"
    return made.SerializeToString()


@pytest.mark.parametrize("limit", ["flatten.MESSAGES_MAX", "flatten.NAMES_MAX", "wire.FIELDS_MAX", "origins.SCOPES_MAX",
                                   "wire.FIELDS_OF_ONE_MAX", "origins.SPANS_MAX", "origins.LARGE_MAX"])  # fmt: skip
def test_what_would_take_much_memory_is_left_to_the_store(
    load: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    """Millions of fields, scopes or events in a segment of few bytes; nothing of them is lost."""
    monkeypatch.setattr(f"noclobber_collector.{limit}", 3)
    monkeypatch.setattr("noclobber_collector.origins.LARGE", 100)
    caplog.set_level("INFO", "noclobber.loader")
    store = load(crowded())
    assert "left to the store" in caplog.text
    assert store.rows("SELECT count(), sum(length(events.name)), any(rest['k4']) FROM accesses") == [(6, 24, "v")]


@pytest.mark.parametrize(("limit", "most"), [("flatten.MESSAGES_MAX", 9), ("wire.FIELDS_MAX", 99)])
def test_what_is_too_much_at_once_is_read_by_halves(
    load: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: str, most: int
) -> None:
    """Spans with many events or attributes each are no reason to leave them to the store."""
    monkeypatch.setattr(f"noclobber_collector.{limit}", most)
    caplog.set_level("INFO", "noclobber.loader")
    store = load(crowded())
    assert "left to the store" not in caplog.text
    assert store.rows("SELECT count(), sum(length(events.name)), max(row) FROM accesses") == [(6, 24, 5)]


def test_foreign_spans_keep_everything(load: Callable[..., Store]) -> None:
    """Nothing of another instrumentation's span is dropped in silence: types, nesting, events, links."""
    odd: dict[str, object] = {
        "db.system.name": "redis", "n": -5, "yes": True, "no": False, "x": 0.25, "raw": b"\x00\xff",
        "list": ["a", 1, True, 0.5], "map": {"k": 1}, "": "empty key", "noclobber.op": "write",
    }  # fmt: skip
    made = request([odd], scope="opentelemetry.instrumentation.redis")
    store = load(made.SerializeToString())
    (row,) = store.dicts("SELECT * FROM accesses")
    assert row["op"] == ""
    assert row["rest"] == {"db.system.name": "redis", "": "empty key"}
    assert row["rest_ints"] == {"n": -5}
    assert row["rest_bools"] == {"yes": 1, "no": 0}
    assert row["rest_doubles"] == {"x": 0.25}
    assert row["rest_others"]["list"] == '["a",1,true,0.5]'
    assert row["rest_others"]["raw"] == "AP8="
    assert row["rest_others"].keys() == {"list", "raw", "map"}
    assert row["resource_rest"] == {"service.instance.id": "bank-1"}


def test_a_load_is_one_part(load: Callable[..., Store]) -> None:
    """So that it is atomic, and merges have little to do."""
    data = [accesses(n).SerializeToString() for n in (1, 2, 3)]
    store = load(*data)
    assert store.rows("SELECT count() FROM accesses") == [(sum(map(count_spans, data)),)]
    assert store.rows("SELECT uniqExact(_part) FROM accesses") == [(1,)]
