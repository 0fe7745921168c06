"""What has arrived since: rows of the store in the order in which they arrived, never by their own times.

Spans come late and out of order, so the cursor counts segments: of each collector the last one read. A segment
becomes visible whole, and is noted in the table `ingest` once its rows were counted; only noted ones are read. One
that was lost and loaded again keeps its number, so what was noted in the last minutes is looked at whatever its
number is, and read unless it was. The cursor is data: written to the checkpoint, it makes a new process go on where
the old one was.

Where much waits, the next portion is fetched on a thread of its own while the last one is worked on: a store that
answers a question in a tenth of a second would else let the analyzer idle a fifth of its time.

Source: storage.md 8.2, analysis.md 9.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import msgspec

from noclobber_analyzer.clock import SECOND_NS
from noclobber_analyzer.columnar import Stored, read_accesses
from noclobber_analyzer.rows import ColumnStore
from noclobber_analyzer.tables import Store as TableStore

__all__ = [
    "BATCH_ROWS_MAX", "Batch", "Cursor", "Feed", "Note", "Reader", "SegmentId", "Store", "batch_of", "came_between",
    "notes_between", "opened_ns", "portions", "read_segments",
]  # fmt: skip

BATCH_ROWS_MAX = 25_000
"""Rows taken in one pull (one segment at least): bounds the memory of a pass."""
TIMES_BEHIND = 2
"""So many times as many are taken where more wait than that: rows that were merged meanwhile lie scattered over large
parts, and looking through these costs the same for many as for few."""
OVERLAP_NS = 120 * SECOND_NS
SEGMENTS_MAX = 5_000
"""Segments looked at in one pull."""

SegmentId = tuple[str, int]
"""Collector and number; the number is the milliseconds of its opening, 16 bits to the left, plus a counter."""


class Store(TableStore, ColumnStore, Protocol):
    """A store that gives rows and columns."""


class Note(NamedTuple):
    """What the table `ingest` says of a segment: its newest attempt, when it was noted, how many rows it has."""

    collector: str
    segment: int
    attempt: int
    noted_ns: int
    rows: int

    @property
    def id(self) -> SegmentId:
        """The segment."""
        return self.collector, self.segment


class Cursor(msgspec.Struct):
    """How far an analyzer has read.

    Attributes:
        last: by collector, the greatest segment read.
        noted_ns: the latest time at which a segment that was read had been noted.
        recent: segments noted in the last minutes, as (collector, segment, attempt, noted at).
    """

    last: dict[str, int] = {}
    noted_ns: int = 0
    recent: list[tuple[str, int, int, int]] = []


class Batch(msgspec.Struct, frozen=True):
    """Some segments and what they hold.

    Attributes:
        segments: in cursor order. rows: theirs, by the times of their calls.
        noted_ns: by segment, when it was noted.
        more: whether there is more to read at once.
    """

    segments: list[SegmentId]
    rows: list[Stored]
    noted_ns: dict[SegmentId, int]
    more: bool


def opened_ns(segment: int) -> int:
    """When the receiver opened a segment, in ns."""
    return (segment >> 16) * 1_000_000


class Feed:
    """Reads what arrives.

    Args:
        store: holds `ingest` and `accesses`.
        cursor: where to go on; changed by `pull`.
        batch_rows_max: rows in one pull.
        read: reads the rows of segments; all of them where None.
        ahead: whether the next portion may be fetched while the last is worked on; not where what `read` gives depends
            on what is made of that one.
    """

    def __init__(
        self,
        store: Store,
        cursor: Cursor,
        batch_rows_max: int = BATCH_ROWS_MAX,
        read: "Reader | None" = None,
        *,
        ahead: bool = False,
    ) -> None:
        self.cursor = cursor
        self._store = store
        self._read = read or read_segments
        self._batch_rows_max = batch_rows_max
        self._ahead = ahead
        self._coming: Future[_Fetched] | None = None

    def pull(self) -> Batch | None:
        """The next segments; None: nothing has arrived."""
        coming, self._coming = self._coming, None
        taken, batch = coming.result() if coming is not None else self._fetch()
        if batch is None:
            return None
        self._advance(taken)
        if coming is not None and not batch.more and self._fresh():
            batch = msgspec.structs.replace(batch, more=True)  # arrived since it was asked for
        if batch.more and self._ahead:
            self._coming = _begun(self._fetch)
        return batch

    def close(self) -> None:
        """Wait for what is being fetched, and read it another time."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.exception()

    def _fetch(self) -> "_Fetched":
        """The notes and rows of the next segments; changes nothing."""
        fresh = self._fresh()
        if not fresh:
            return [], None
        much = TIMES_BEHIND * self._batch_rows_max
        is_behind = sum(note.rows for note in fresh) > much
        taken = next(portions(fresh, much if is_behind else self._batch_rows_max))
        return taken, batch_of(self._store, taken, more=len(taken) < len(fresh), read=self._read)

    def _fresh(self) -> list[Note]:
        """Notes of segments not read yet."""
        last = self.cursor.last or {"": 0}
        sql = (
            "SELECT collector, segment, max(attempt), max(loaded_ns), argMax(stored, attempt) FROM ingest "
            "WHERE segment > transform(collector, {names:Array(String)}, {last:Array(UInt64)}, toUInt64(0)) "
            "OR loaded_ns >= {since:UInt64} GROUP BY collector, segment ORDER BY segment, collector "
            "LIMIT {most:UInt32}"
        )
        rows = self._store.rows(
            sql,
            {
                "names": list(last),
                "last": list(last.values()),
                "since": max(0, self.cursor.noted_ns - OVERLAP_NS),
                "most": SEGMENTS_MAX + len(self.cursor.recent),
            },
        )
        known = {(name, segment, attempt) for name, segment, attempt, _ in self.cursor.recent}
        return [note for note in map(_note, rows) if note[:3] not in known]

    def _advance(self, taken: Sequence[Note]) -> None:
        cursor = self.cursor
        for note in taken:
            cursor.last[note.collector] = max(note.segment, cursor.last.get(note.collector, 0))
            cursor.noted_ns = max(note.noted_ns, cursor.noted_ns)
        horizon_ns = cursor.noted_ns - OVERLAP_NS
        recent = [*cursor.recent, *((n.collector, n.segment, n.attempt, n.noted_ns) for n in taken)]
        cursor.recent = [note for note in recent if note[3] >= horizon_ns]


_Fetched = tuple[list[Note], Batch | None]


def _begun(fetch: Callable[[], _Fetched]) -> "Future[_Fetched]":
    """What `fetch` will have given, on a thread that keeps no process from ending."""
    coming: Future[_Fetched] = Future()

    def run() -> None:
        try:
            coming.set_result(fetch())
        except BaseException as error:  # raised again where it is waited for
            coming.set_exception(error)

    threading.Thread(target=run, name="noclobber-feed", daemon=True).start()
    return coming


def portions(notes: Sequence[Note], rows_max: int) -> Iterator[list[Note]]:
    """Notes in portions of so many rows at most; one segment that has more goes alone."""
    portion: list[Note] = []
    rows = 0
    for note in notes:
        if portion and rows + note.rows > rows_max:
            yield portion
            portion, rows = [], 0
        portion.append(note)
        rows += note.rows
    if portion:
        yield portion


Reader = Callable[[Store, Sequence[SegmentId]], list[Stored]]
"""Reads the rows of some segments, by the times of their calls."""


def batch_of(store: Store, notes: Sequence[Note], *, more: bool, read: Reader | None = None) -> Batch:
    """The rows of some segments."""
    segments = [note.id for note in notes]
    rows = (read or read_segments)(store, segments)
    return Batch(segments, rows, {note.id: note.noted_ns for note in notes}, more)


def _note(row: Sequence[Any]) -> Note:
    return Note(str(row[0]), int(row[1]), int(row[2]), int(row[3]), int(row[4]))


def read_segments(store: Store, segments: Sequence[SegmentId]) -> list[Stored]:
    """The rows of some segments, by the times of their calls; those of other instrumentations are left out."""
    where = "collector = {name:String} AND segment IN {segments:Array(UInt64)} AND op != ''"
    found: list[Stored] = []
    names = list(dict.fromkeys(name for name, _ in segments))
    for name in names:
        numbers = [segment for of, segment in segments if of == name]
        found += read_accesses(store, where, {"name": name, "segments": numbers})
    if len(names) > 1:
        found.sort(key=itemgetter(0))
    return found


def notes_between(store: Store, since_ns: int, until: Cursor) -> list[Note]:
    """Notes of segments that a cursor has read and that were opened at a time or later, in order."""
    sql = (
        "SELECT collector, segment, max(attempt), max(loaded_ns), argMax(stored, attempt) FROM ingest "
        "WHERE segment >= {least:UInt64} "
        "AND segment <= transform(collector, {names:Array(String)}, {last:Array(UInt64)}, toUInt64(0)) "
        "GROUP BY collector, segment ORDER BY segment, collector"
    )
    least = max(0, since_ns // 1_000_000) << 16
    last = until.last or {"": 0}
    rows = store.rows(sql, {"least": least, "names": list(last), "last": list(last.values())})
    return [_note(row) for row in rows]


def came_between(store: Store, after: Cursor, before_ns: int) -> bool:
    """Whether there are segments that a cursor has not read and that were opened before a time."""
    sql = (
        "SELECT count() FROM ingest WHERE segment < {below:UInt64} "
        "AND segment > transform(collector, {names:Array(String)}, {last:Array(UInt64)}, toUInt64(0))"
    )
    last = after.last or {"": 0}
    below = max(0, before_ns // 1_000_000) << 16
    return bool(store.rows(sql, {"below": below, "names": list(last), "last": list(last.values())})[0][0])
