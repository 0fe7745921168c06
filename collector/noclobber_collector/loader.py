"""From the spool into ClickHouse, and no segment goes before it was counted there.

The loader takes closed segments in order, hands their bytes to ClickHouse, which reads the OTLP itself, and counts
the rows of each segment. Only if the count is right is a segment marked as loaded; its file stays a while longer, and
at the next start every file that is still there is counted again. What is missing is loaded once more under a new
token, what is there in part is deleted and loaded again: chdb once lost an insert that it had acknowledged, and its
log of tokens made that final.

Source: storage.md, sections 4 and 5 of the design; ClickHouse's FORMAT Protobuf, `format_schema_source`.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from noclobber_collector.errors import StoreError, StoreUnreachableError
from noclobber_collector.spool import LOADED, Segment, closed_segments
from noclobber_collector.store import Store

__all__ = ["Loader"]

log = logging.getLogger("noclobber.loader")
POLL_S: Final = 0.05
SPANS_MAX: Final = 25_000
"""Spans in one insert: the engine's memory grows with it."""
KEEP_LOADED_S: Final = 300.0
PAUSE_MAX_S: Final = 10.0
ATTEMPTS_MAX: Final = 3
"""A segment that the store refuses so often is set aside: it would hold up all that come after."""
REFUSED: Final = ".refused"
SETTINGS: Final[dict[str, Any]] = {
    "format_schema_source": "string",
    "format_schema_message_name": "Request",
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 2_000_000,
    "min_insert_block_size_rows": 2_000_000,
    "min_insert_block_size_bytes": 2_000_000_000,
}


class Loader:
    """Loads a spool into a store, on a thread of its own.

    Args:
        store: where to.
        folder: the spool's folder; a receiver may write to it meanwhile, in another process.
        collector: name of this spool in the store, where several collectors share one.
        on_loaded: called after each load that was counted, in the loader's thread.

    Attributes:
        loaded: spans loaded and counted since the start. reloaded: spans that had to be loaded again.
        refused: spans that the store will never take; their segments lie in the spool as `.refused`.
    """

    def __init__(
        self, store: Store, folder: Path, collector: str = "local", on_loaded: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._folder, self._collector, self._on_loaded = store, folder, collector, on_loaded
        folder.mkdir(parents=True, exist_ok=True)
        self._settings = {
            **SETTINGS,
            "format_schema": files("noclobber_collector.schema").joinpath("otlp.proto").read_text(),
        }
        self._attempts: dict[int, int] = {}
        self._stopping = threading.Event()
        self._pause_s = 0.0
        self._last_error = ""
        self._last_loaded_at = 0.0
        self._load_s = 0.0
        self.loaded = self.reloaded = self.refused = 0
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        """Count what is left from before, then load what comes."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Load what is closed, then end; whether everything was loaded within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and closed_segments(self._folder) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self._stopping.set()
        self._thread.join(max(0.1, deadline - time.monotonic()))
        return not closed_segments(self._folder)

    def health(self) -> dict[str, object]:
        """What an operator asks: backlog, rates, the last trouble."""
        waiting = closed_segments(self._folder)
        return {
            "loaded_spans": self.loaded,
            "reloaded_spans": self.reloaded,
            "refused_spans": self.refused,
            "waiting_segments": len(waiting),
            "waiting_spans": sum(each.spans for each in waiting),
            "load_seconds": round(self._load_s, 3),
            "last_loaded_at": self._last_loaded_at,
            "last_error": self._last_error,
        }

    def _run(self) -> None:
        self._with_patience(self._recount)
        while not self._stopping.is_set():
            if not self._with_patience(self._load_waiting):
                self._stopping.wait(POLL_S)

    def _with_patience(self, work: Callable[[], bool]) -> bool:
        """Do `work`; after a failure wait, longer each time. Whether anything was done."""
        try:
            done = work()
        except StoreError as error:
            self._pause_s = min(max(0.5, self._pause_s * 2), PAUSE_MAX_S)
            if str(error) != self._last_error:
                log.warning("loading waits: %s", error)
            self._last_error = str(error)
            self._stopping.wait(self._pause_s)
            return False
        self._pause_s, self._last_error = 0.0, ""
        return done

    def _recount(self) -> bool:
        """Segments that were loaded before the last end: are they really there?"""
        for segment in closed_segments(self._folder, loaded=True):
            if segment.loaded and self._count([segment]).get(segment.number, 0) != segment.spans:
                log.warning("segment %s is not whole in the store; loading it again", segment.number)
                segment.path.rename(segment.path.with_suffix(".seg"))
                self.reloaded += segment.spans
        return True

    def _load_waiting(self) -> bool:
        batch = list(_batch(closed_segments(self._folder)))
        if not batch:
            self._forget_old()
            return False
        try:
            self._load(batch)
        except StoreUnreachableError:
            raise
        except StoreError as error:
            self._blame(batch, error)
            raise
        return True

    def _load(self, batch: Sequence[Segment]) -> None:
        begun = time.perf_counter()
        present = self._count(batch)
        missing = [segment for segment in batch if present.get(segment.number, 0) != segment.spans]
        for segment in missing:
            if present.get(segment.number):
                self._delete(segment)
        if missing:
            attempt = sum(self._attempts.get(segment.number, 0) for segment in missing)
            token = f"{self._collector}-{missing[0].number}-{missing[-1].number}-{attempt}-{time.time_ns()}"
            data = b"".join(segment.path.read_bytes() for segment in missing)
            self._store.load("incoming", data, "Protobuf", {**self._settings, "insert_deduplication_token": token})
            present = self._count(batch)
        for segment in batch:
            stored = present.get(segment.number, 0)
            if stored != segment.spans:
                raise StoreError(f"segment {segment.number} has {segment.spans} spans, the store {stored}")
        self._note(batch)
        for segment in batch:
            self._attempts.pop(segment.number, None)
            segment.path.rename(segment.path.with_suffix(LOADED))
        self.loaded += sum(segment.spans for segment in batch)
        self._load_s += time.perf_counter() - begun
        self._last_loaded_at = time.time()
        self._on_loaded()

    def _blame(self, batch: Sequence[Segment], error: StoreError) -> None:
        """Count a failure; one segment that keeps failing alone is set aside."""
        for segment in batch:
            self._attempts[segment.number] = self._attempts.get(segment.number, 0) + 1
        worst = batch[0]
        if self._attempts[worst.number] <= ATTEMPTS_MAX:
            return
        try:
            self._load([worst])
        except StoreUnreachableError:
            return
        except StoreError:
            log.error("the store refuses segment %s for good: %s", worst.number, error)
            self.refused += worst.spans
            worst.path.rename(worst.path.with_suffix(REFUSED))

    def _count(self, segments: Sequence[Segment]) -> dict[int, int]:
        rows = self._store.rows(
            "SELECT segment, count() FROM accesses WHERE collector = {collector:String} AND segment IN {numbers:Array(UInt64)}"
            " GROUP BY segment",
            {"collector": self._collector, "numbers": [segment.number for segment in segments]},
        )
        return {int(number): int(count) for number, count in rows}

    def _delete(self, segment: Segment) -> None:
        self._store.command(
            "DELETE FROM accesses WHERE collector = {collector:String} AND segment = {number:UInt64}",
            {"collector": self._collector, "number": segment.number},
        )

    def _note(self, batch: Sequence[Segment]) -> None:
        now = time.time_ns()
        rows = [
            (self._collector, each.number, self._attempts.get(each.number, 0) + 1, each.spans, each.spans, now)
            for each in batch
        ]
        self._store.insert("ingest", ("collector", "segment", "attempt", "spooled", "stored", "loaded_ns"), rows)

    def _forget_old(self) -> None:
        limit = time.time() - KEEP_LOADED_S
        for segment in closed_segments(self._folder, loaded=True):
            if segment.loaded and segment.path.stat().st_mtime < limit:
                segment.path.unlink()


def _batch(segments: Sequence[Segment]) -> Iterator[Segment]:
    """The first segments, of one day and not too many spans; one that is too large by itself goes alone."""
    spans = 0
    for _, of_day in groupby(segments, key=lambda segment: segment.day):
        for segment in of_day:
            if spans and spans + segment.spans > SPANS_MAX:
                return
            spans += segment.spans
            yield segment
        return
