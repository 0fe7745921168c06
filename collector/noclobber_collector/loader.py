"""From the spool into ClickHouse, and no segment goes before it was counted there.

The loader takes closed segments in order, checks their checksums, hands their rows to ClickHouse as ready columns, and
counts the rows of each segment. Only if the count is right is a segment marked as loaded; its file stays a
while longer, and is counted again at the next start and before it goes: a server that crashes may lose what it had
counted, and nobody here would have seen it end. What is missing is loaded once more under a new token, what is there in
part is deleted and loaded again: chdb once lost an insert that it had acknowledged, and its log of tokens made that
final.

A store that is down, full or slow is waited for, however long that takes. Only a segment that the store finds
unreadable, alone, is set aside: it would hold up all that come after.

Source: storage.md, sections 4 and 5 of the design; docs/decisions/0010-rows-come-as-columns.md.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from noclobber_collector.errors import StoreError
from noclobber_collector.flatten import release_unused, rows_of, written
from noclobber_collector.logs import advice
from noclobber_collector.phases import Phase, Phases
from noclobber_collector.retention import kept_days
from noclobber_collector.segments import (
    CLOSED,
    LOADED,
    REFUSED,
    Segment,
    closed_segments,
    newest_number,
    salvage,
    size_of,
    sound_requests,
)
from noclobber_collector.spool import BYTES_MAX as SPOOL_BYTES_MAX
from noclobber_collector.store import Store
from noclobber_collector.told import tell
from noclobber_collector.wire import PADDING, UnreadableError, padded

__all__ = ["Loader"]

log = logging.getLogger("noclobber.loader")
POLL_S: Final = 0.05
LOOK_S: Final = 0.01
"""So often the loader looks whether the folder has changed; it is listed then, and each POLL_S in any case."""
TELLS_APART_NS: Final = 50_000_000
"""Two changes of a folder that lie so far apart bear different times, on whatever file system."""
REST: Final = 3.0
REST_MAX_S: Final = 0.4
REST_SPANS: Final = 3_000
"""An insert costs some 20 ms whatever is in it, which counts where the rows themselves keep a core busy: after one of
so many spans the loader rests REST times as long as it took, up to REST_MAX_S, and takes all that came meanwhile. Few
spans are loaded as soon as their segment is closed, since no more than four of these come in a second; and it does not
rest while more waits than one insert takes."""
SPANS_MAX: Final = 30_000
"""Spans in one insert: the engine's memory grows with it."""
BYTES_MAX: Final = 16 << 20
"""Their bytes: the loader's memory grows by three times as many. 20,000 accesses have so many."""
REST_FULL_S: Final = 0.9
"""Rest after an insert that was full, and a part of it after one that was less: at the highest rates inserts are large,
and what was inserted in large parts is merged less often, which costs more than anything else that is done to a row."""
KEEP_LOADED_S: Final = 300.0
KEPT_SHARE: Final = 4
"""Files that are loaded take no more than this part of the spool's limit."""
TIDY_EVERY_S: Final = 5.0
TELL_EVERY_S: Final = 1.0
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
MISCOUNTS_MAX: Final = 5
"""So often a segment may be counted wrong after its load before it is set aside."""
COUNTED_AT_ONCE: Final = 1_000
UNREADABLE: Final = frozenset({6, 26, 27, 32, 33, 53, 117, 128, 131, 434, 436, 437, 444})
"""ClickHouse's codes for bytes that it can't read: trying again gives the same answer."""
SETTINGS: Final[dict[str, Any]] = {
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 2_000_000,
    "min_insert_block_size_rows": 2_000_000,
    "min_insert_block_size_bytes": 2_000_000_000,
}


class _MiscountError(StoreError):
    """After a load the store counts another number of rows than the segment has spans."""


class Loader:
    """Loads a spool into a store, on a thread of its own.

    Args:
        store: where to.
        folder: the spool's folder; a receiver may write to it meanwhile, in another process.
        collector: name of this spool in the store, where several collectors share one.
        on_loaded: called after each load that was counted, in the loader's thread.
        keep_loaded_s: how long a loaded segment's file stays; None: as `NOCLOBBER_KEEP_LOADED_S` says, else 5 minutes.
        spool_bytes_max: the spool's limit: files go sooner where they would take more than a part of it, or more than
            the disk still has free.

    Attributes:
        loaded: spans loaded and counted since the start. reloaded: spans that had to be loaded again.
        refused: spans that the store will never take; their segments lie in the spool as `.refused`.
        damaged: spans whose bytes had changed on disk. counted: what was loaded before this start is known to be there.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        collector: str = "local",
        on_loaded: Callable[[], None] = lambda: None,
        keep_loaded_s: float | None = None,
        *,
        spool_bytes_max: int = SPOOL_BYTES_MAX,
    ) -> None:
        self._store, self._folder, self._collector, self._on_loaded = store, folder, collector, on_loaded
        folder.mkdir(parents=True, exist_ok=True)
        self._keep_loaded_s = _keep_loaded_s() if keep_loaded_s is None else keep_loaded_s
        self._kept_share, self._kept_bytes = spool_bytes_max // KEPT_SHARE, 0
        self._settings = dict(SETTINGS)
        self._protobuf = {
            "format_schema_source": "string",
            "format_schema_message_name": "Request",
            "format_schema": files("noclobber_collector.schema").joinpath("otlp.proto").read_text(),
        }
        self._attempts: dict[int, int] = {}
        self._newest_at_start = newest_number(folder)
        self._counted_last = 0
        self._alone = self._changed_at = 0
        self._phases = Phases("loader")
        self._stopping = threading.Event()
        self._pause_s = 0.0
        self._last_error = ""
        self._last_loaded_at = self._tidied_at = 0.0
        self._load_s = self._last_load_s = 0.0
        self._loads = self._failures = 0
        self._told_at = 0.0
        self.counted = False
        self.loaded = self.reloaded = self.refused = self.damaged = 0
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)

    def start(self) -> None:
        """Count what is left from before, then load what comes."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Load what is closed, then end; whether everything was loaded within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and closed_segments(self._folder) and time.monotonic() < deadline:
            if self._last_error:
                break  # the store does not take it now, and the next start will
            time.sleep(POLL_S)
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(max(0.1, deadline - time.monotonic()))
        return not closed_segments(self._folder)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def health(self) -> dict[str, object]:
        """What an operator asks: backlog, rates, the last trouble."""
        waiting = closed_segments(self._folder)
        return {
            "loaded_spans": self.loaded,
            "reloaded_spans": self.reloaded,
            "refused_spans": self.refused,
            "damaged_spans": self.damaged,
            "waiting_segments": len(waiting),
            "waiting_spans": sum(each.spans for each in waiting),
            "load_seconds": round(self._load_s, 3),
            "last_loaded_at": self._last_loaded_at,
            "last_error": self._last_error,
        }

    def values(self) -> dict[str, float]:
        """By the names of `metrics.COLLECTOR`."""
        own = {
            "loaded_spans": self.loaded, "reloaded_spans": self.reloaded, "refused_spans": self.refused,
            "damaged_spans": self.damaged, "load_seconds": self._load_s, "loads": self._loads,
            "failures": self._failures,
        }  # fmt: skip
        return {f"noclobber_loader_{name}_total": float(value) for name, value in own.items()}

    def _tell(self) -> None:
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            tell(self._folder, self.values())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._tell()
            try:
                if not self.counted:
                    self._recount()
                    self.counted = True
                self._changed_at = _settled_at(self._folder)
                loaded = self.loaded
                self._tidy()
                busy = self._load_waiting()
                self._phases.enter(Phase.IDLE)
                self._pause_s, self._last_error = 0.0, ""
                if not busy:
                    self._wait_for_segments()
                elif not self._is_behind():
                    self._stopping.wait(rest_s(self.loaded - loaded, self._last_load_s))
            except Exception as error:
                self._wait_after(error)

    def _wait_for_segments(self) -> None:
        """Until the folder changes, and POLL_S at most."""
        deadline = time.monotonic() + POLL_S
        while not self._stopping.wait(LOOK_S) and time.monotonic() < deadline:
            if _changed_at(self._folder) != self._changed_at:
                return

    def _wait_after(self, error: Exception) -> None:
        """Be patient: longer each time, and one line for each cause."""
        self._failures += 1
        self._pause_s = min(max(PAUSE_FIRST_S, self._pause_s * 2), PAUSE_MAX_S)
        if str(error) != self._last_error:
            expected = isinstance(error, StoreError | OSError)
            log.warning(
                "loading waits, nothing is lost: %s",
                error,
                exc_info=None if expected else error,
                extra=advice("the spool keeps what arrives; see that the store answers and has room"),
            )
        self._last_error = str(error)
        self._phases.enter(Phase.IDLE)
        self._stopping.wait(self._pause_s)

    def _recount(self) -> None:
        """Segments that were loaded before the last end: are they really there?"""
        kept = [segment for segment in closed_segments(self._folder, loaded=True) if segment.loaded]
        for at in range(0, len(kept), COUNTED_AT_ONCE):
            self._still_there(kept[at : at + COUNTED_AT_ONCE])

    def _still_there(self, loaded: Sequence[Segment]) -> list[Segment]:
        """Those of some loaded segments that are whole in the store, or need not be; the others wait to be loaded."""
        present = self._count(loaded)
        short = [segment for segment in loaded if present.get(segment.number, 0) != segment.spans]
        if not short:
            return list(loaded)
        missing = {each.number for each in short} - self._forgotten(short) - self._expired(short)
        for segment in short:
            if segment.number in missing:
                log.warning("segment %s is not whole in the store; loading it again", segment.number)
                segment.path.rename(segment.path.with_suffix(CLOSED))
                self._attempts[segment.number] = 1
                self.reloaded += segment.spans
        return [segment for segment in loaded if segment.number not in missing]

    def _is_behind(self) -> bool:
        """Whether more waits than one insert takes."""
        waiting = closed_segments(self._folder)
        return len(list(_batch(waiting))) < len(waiting)

    def _load_waiting(self) -> bool:
        """Load the next segments; whether there were any."""
        batch = list(_batch(closed_segments(self._folder)))
        if self._alone:
            batch = batch[:1]
        if not batch:
            return False
        try:
            self._load(batch)
        except StoreError as error:
            if not self._is_to_blame(batch, error):
                raise
        else:
            self._alone = max(0, self._alone - 1)
        return True

    def _load(self, batch: Sequence[Segment]) -> None:
        begun = time.perf_counter()
        data = {segment.number: self._sound_bytes(segment) for segment in batch}
        batch = [segment for segment in batch if data[segment.number] is not None]
        if not batch:
            return
        present = self._count([each for each in batch if self._may_be_loaded(each)])
        missing = [segment for segment in batch if present.get(segment.number, 0) != segment.spans]
        for segment in missing:
            self._attempts[segment.number] = self._attempts.get(segment.number, 0) + 1
            if present.get(segment.number):
                self._delete(segment)
        if missing:
            self._phases.enter(Phase.INSERT)
            token = f"{self._collector}-{missing[0].number}-{missing[-1].number}-{time.time_ns()}"
            self._insert([data.pop(segment.number) or b"" for segment in missing], token)
            present = self._count(batch)
        for segment in batch:
            if present.get(segment.number, 0) != segment.spans:
                stored = present.get(segment.number, 0)
                raise _MiscountError(f"segment {segment.number} has {segment.spans} spans, the store {stored}")
        self._phases.enter(Phase.NOTE)
        self._note(batch)
        self._phases.enter(Phase.MARK)
        for segment in batch:
            self._attempts.pop(segment.number, None)
            self._kept_bytes += size_of(segment.path)
            os.utime(segment.path)  # its file stays a while from now on
            segment.path.rename(segment.path.with_suffix(LOADED))
        self.loaded += sum(segment.spans for segment in batch)
        self._last_load_s = time.perf_counter() - begun
        self._load_s += self._last_load_s
        self._loads += 1
        self._last_loaded_at = time.time()
        self._on_loaded()

    def _may_be_loaded(self, segment: Segment) -> bool:
        """Whether rows of it may be there: it was tried before, by us or by the process before us."""
        return segment.number <= self._newest_at_start or segment.number in self._attempts

    def _insert(self, segments: list[bytes], token: str) -> None:
        """Put the rows of segments into the store: as columns, or, where these can't be made of them, as they are.

        The list is emptied, and no bytes are held for longer than needed: they may be many.
        """
        settings = {**self._settings, "insert_deduplication_token": token}
        data = padded(segments)
        segments.clear()
        try:
            rows = rows_of(data)
        except UnreadableError as error:
            log.info("segments are left to the store to read: %s", error)
            data, rows = data[:-PADDING], None
        if rows is None:
            self._store.load("incoming", data, "Protobuf", {**settings, **self._protobuf})
        else:
            del data
            stream = written(rows)
            del rows
            release_unused()
            self._store.load("accesses", stream, "ArrowStream", settings)

    def _sound_bytes(self, segment: Segment) -> bytes | None:
        """The segment's bytes; None where some are damaged: it then lies there anew without them."""
        data = segment.path.read_bytes()
        if sum(end - begin for begin, end in sound_requests(data, segment.number)) == len(data):
            return data
        lost = salvage(segment)
        self.damaged += lost
        log.error(
            "segment %s was damaged on disk; %d of its %d spans are lost", segment.number, lost, segment.spans,
            extra=advice("look after the disk: bytes changed after they had been written"),
        )  # fmt: skip
        return None

    def _is_to_blame(self, batch: Sequence[Segment], error: StoreError) -> bool:
        """Whether the segments themselves, not the store, are why a load failed; if it is one alone, set it aside."""
        miscounted = isinstance(error, _MiscountError)
        if not miscounted and error.code not in UNREADABLE:
            return False
        if len(batch) > 1:
            self._alone = len(batch)
            return True
        segment = batch[0]
        if miscounted and self._attempts.get(segment.number, 0) < MISCOUNTS_MAX:
            return False
        log.error(
            "the store will never take segment %s, which is set aside: %s", segment.number, error,
            extra=advice(f"report it; rename {REFUSED} to {CLOSED} to have it tried again"),
        )  # fmt: skip
        self.refused += segment.spans
        segment.path.rename(segment.path.with_suffix(REFUSED))
        return True

    def _count(self, segments: Sequence[Segment]) -> dict[int, int]:
        if not segments:
            return {}
        self._phases.enter(Phase.VERIFY)
        rows = self._store.rows(
            "SELECT segment, count() FROM accesses WHERE collector = {collector:String} "
            "AND segment IN {numbers:Array(UInt64)} GROUP BY segment SETTINGS max_threads = 1",
            {"collector": self._collector, "numbers": [segment.number for segment in segments]},
        )
        return {int(number): int(count) for number, count in rows}

    def _forgotten(self, segments: Sequence[Segment]) -> set[int]:
        """Those of which rows were deleted on purpose: they are not whole, and must not be."""
        rows = self._store.rows(
            "SELECT DISTINCT segment FROM forgotten WHERE collector = {collector:String} "
            "AND segment IN {numbers:Array(UInt64)}",
            {"collector": self._collector, "numbers": [segment.number for segment in segments]},
        )
        return {int(number) for (number,) in rows}

    def _expired(self, segments: Sequence[Segment]) -> set[int]:
        """Those whose day has run out: the store drops their rows as often as they are loaded."""
        days = kept_days(self._store, "accesses")
        today = time.time() / 86_400
        return {each.number for each in segments if days is not None and each.day + days <= today}

    def _delete(self, segment: Segment) -> None:
        where = "collector = {collector:String} AND segment = {number:UInt64}"
        self._store.delete("accesses", where, {"collector": self._collector, "number": segment.number})

    def _note(self, batch: Sequence[Segment]) -> None:
        """Tell the analyzer: what is noted here was counted. A segment loaded again is noted as a further attempt."""
        now = time.time_ns()
        rows = [
            (self._collector, each.number, max(1, self._attempts.get(each.number, 1)), each.spans, each.spans, now)
            for each in batch
        ]
        self._store.insert("ingest", ("collector", "segment", "attempt", "spooled", "stored", "loaded_ns"), rows)

    def _tidy(self) -> None:
        """Remove files that were loaded long enough ago, or whose room is needed, and are counted once more.

        The newest is counted, too, and stays: its number is where the next one goes on.
        """
        crowded = self._kept_bytes > self._kept_max()
        if not crowded and time.monotonic() - self._tidied_at < min(TIDY_EVERY_S, self._keep_loaded_s):
            return
        self._tidied_at = time.monotonic()
        segments = closed_segments(self._folder, loaded=True)
        newest = segments[-1].number if segments else 0
        due = self._due(segments, newest, self._kept_max() // 2 if crowded else None)
        for at in range(0, len(due), COUNTED_AT_ONCE):
            there = self._still_there(due[at : at + COUNTED_AT_ONCE])
            self._phases.enter(Phase.UNLINK)
            for segment in there:
                if segment.number != newest:
                    segment.path.unlink()
                else:
                    self._counted_last = newest
        self._phases.enter(Phase.IDLE)

    def _due(self, segments: Sequence[Segment], newest: int, bytes_max: int | None) -> list[Segment]:
        """Loaded segments whose time is up, and so many of the oldest that no more than `bytes_max` are left."""
        limit = time.time() - self._keep_loaded_s
        found = [(each, each.path.stat()) for each in segments if each.loaded]
        left = sum(status.st_size for each, status in found if each.number != newest)
        due = []
        for each, status in found:
            if each.number == newest:
                if status.st_mtime <= limit and newest != self._counted_last:
                    due.append(each)
            elif status.st_mtime <= limit or (bytes_max is not None and left > bytes_max):
                due.append(each)
                left -= status.st_size
        self._kept_bytes = left
        return due

    def _kept_max(self) -> int:
        """Bytes that loaded files may take now."""
        disk = os.statvfs(self._folder)
        return min(self._kept_share, disk.f_bavail * disk.f_frsize)


def rest_s(spans: int, took_s: float) -> float:
    """How long to rest after an insert of so many spans."""
    if spans < REST_SPANS:
        return 0.0
    return max(min(REST * took_s, REST_MAX_S), REST_FULL_S * min(1.0, spans / SPANS_MAX))


def _changed_at(folder: Path) -> int:
    """When a file of the folder came, went or was renamed last."""
    return folder.stat().st_mtime_ns


def _settled_at(folder: Path) -> int:
    """The same; 0 where that was just now: a further change might bear the same time."""
    changed = _changed_at(folder)
    return changed if time.time_ns() - changed > TELLS_APART_NS else 0


def _keep_loaded_s() -> float:
    chosen = os.environ.get("NOCLOBBER_KEEP_LOADED_S", "")
    try:
        return max(0.0, float(chosen or KEEP_LOADED_S))
    except ValueError:
        log.warning("NOCLOBBER_KEEP_LOADED_S is no number of seconds: %r; using %.0f", chosen, KEEP_LOADED_S)
        return KEEP_LOADED_S


def _batch(segments: Sequence[Segment]) -> Iterator[Segment]:
    """The first segments, of one day, not too many spans or bytes; one that is too large by itself goes alone."""
    spans = size = 0
    for _, of_day in groupby(segments, key=lambda segment: segment.day):
        for segment in of_day:
            spans, size = spans + segment.spans, size + size_of(segment.path)
            if segment is not segments[0] and (spans > SPANS_MAX or size > BYTES_MAX):
                return
            yield segment
        return
