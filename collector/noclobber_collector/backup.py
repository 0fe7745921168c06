"""Copies what is stored into a folder, and brings it back into an empty store.

A backup is made of the tables' rows as tab-separated text, a row a line, a file for some tens of thousands of them,
each packed and with its checksum in a manifest that is written last: a folder without one is no backup. It goes through
the store's own statements, so it is the same for the embedded engine, beside a running one, and for a server, needs no
rights on the server's disks, and can be brought back into any of them. Segments that were acknowledged and not yet
loaded are copied from the spool before the rows are, so that what is loaded meanwhile is there twice rather than never:
the loader counts, and loads nothing twice.

How far the analyzer is is copied first, so that it repeats something after a restore rather than miss it. Large servers
have BACKUP, which copies files and knows increments; see the guide.

Source: storage.md 4 (a segment is counted before it is loaded); ClickHouse, "TabSeparated" (what it escapes).
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from noclobber_collector.errors import CollectorError
from noclobber_collector.migrate import migrations
from noclobber_collector.segments import closed_segments
from noclobber_collector.store import Store

__all__ = ["BackupError", "Manifest", "backup", "restore"]

FORM: Final = 1
FORMAT: Final = "TabSeparated"
MANIFEST: Final = "manifest.json"
SPOOL: Final = "spool"
TABLES: Final = (
    "cursors", "conflicts", "accesses", "ingest", "defended", "findings", "transitions", "deliveries", "forgotten",
    "minute_stats",
)  # fmt: skip
"""What is copied, in this order; who judges what now (`leases`) is nobody's after a restore."""
MUST_BE_EMPTY: Final = ("accesses", "findings", "transitions")
ROWS_AT_ONCE: Final = 50_000
"""Rows in one file: they are in memory once, here and in the engine."""
NAMES: Final = (
    "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} "
    "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') ORDER BY position"
)


class BackupError(CollectorError):
    """A folder that is no whole backup, or a store that is not empty; says what to do."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file of rows."""

    file: str
    table: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        at_ns: when it was made. migration: the newest that its store had.
        columns: of each table. chunks: the files of rows. segments: files of the spool.
        form: of this record; a newer one is not read.
    """

    at_ns: int
    migration: int
    columns: Mapping[str, Sequence[str]]
    chunks: Sequence[Chunk] = ()
    segments: Sequence[str] = ()
    form: int = field(default=FORM)

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows by table."""
        return {table: sum(chunk.rows for chunk in self.chunks if chunk.table == table) for table in self.columns}


def backup(
    store: Store, folder: Path, now_ns: int, spool: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Copy what is stored.

    Args:
        store: to copy.
        folder: made anew; it must not hold anything.
        now_ns: wall time, for the manifest.
        spool: of the collector, where it is on this machine.
        tell: told of each table.

    Raises:
        BackupError: the folder holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: name a new folder")
    segments = _copied(spool, folder / SPOOL) if spool is not None else []
    there = {str(name) for (name,) in store.rows("SHOW TABLES")}
    tables: list[str] = [table for table in TABLES if table in there]
    columns: dict[str, Sequence[str]] = {
        table: [str(name) for (name,) in store.rows(NAMES, {"table": table})] for table in tables
    }
    chunks: list[Chunk] = []
    for table in tables:
        found = list(_saved(store, table, columns[table], folder))
        tell(f"{table}: {sum(chunk.rows for chunk in found):,} rows")
        chunks += found
    (newest,) = store.rows("SELECT max(number) FROM schema_migrations")
    manifest = Manifest(now_ns, int(newest[0]), columns, chunks, segments)
    _write(folder / MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
    return manifest


def restore(
    store: Store, folder: Path, spool: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Bring a backup into an empty store.

    Args:
        store: with its tables made, and nothing in them.
        folder: a backup.
        spool: where segments go that were not loaded yet; None: they stay behind.
        tell: told of each table.

    Raises:
        BackupError: the folder is no whole backup or a newer version's, or the store is not empty.
    """
    manifest = _read(folder)
    if manifest.migration > max(migrations()):
        raise BackupError(f"{folder} was made by a newer noclobber: upgrade this one")
    for table in MUST_BE_EMPTY:
        if (count := _count(store, table)) > 0:
            raise BackupError(f"{store.name} is not empty ({table} has {count:,} rows): restore into a new store")
    for table, columns in manifest.columns.items():
        known = {str(name) for (name,) in store.rows(NAMES, {"table": table})} if table in TABLES else set()
        if not known.issuperset(columns):
            raise BackupError(f"{folder} has columns of {table} that this store has not: it is another version's")
    attempt = uuid.uuid4().hex
    for table in manifest.columns:
        if table == "minute_stats":  # the rows of `accesses` have been summed again on their way in
            store.alter("TRUNCATE TABLE {table}{on_cluster}", table)
        for chunk in (chunk for chunk in manifest.chunks if chunk.table == table):
            _load(store, chunk, manifest.columns[table], folder, attempt)
        count, wanted = _count(store, table), manifest.rows[table]
        if count > wanted:
            raise BackupError(
                f"{table} has {count:,} rows after the restore, the backup {wanted:,}: somebody else writes"
            )
        tell(f"{table}: {count:,} rows" + (f" of {wanted:,}, the others have run out" if count < wanted else ""))
    if spool is not None:
        _copied_back(folder / SPOOL, manifest.segments, spool)
    return manifest


def _count(store: Store, table: str) -> int:
    return int(store.rows("SELECT count() FROM {table:Identifier}", {"table": table})[0][0])


def _saved(store: Store, table: str, columns: Sequence[str], folder: Path) -> Iterator[Chunk]:
    """The rows of one table, written; empty portions leave no file."""
    names = ", ".join(f"`{name}`" for name in columns)
    number = 0
    for where, values in _portions(store, table):
        sql = "SELECT " + names + " FROM {table:Identifier} WHERE " + where  # noqa: S608  names of our own columns
        data = store.raw(sql, {**values, "table": table}, {}, FORMAT)[1]
        rows = data.count(b"\n")
        if rows:
            packed = zstandard.ZstdCompressor(level=3).compress(data)
            name = f"{table}-{number:06d}.tsv.zst"
            _write(folder / name, packed)
            yield Chunk(name, table, rows, hashlib.sha256(packed).hexdigest())
            number += 1


def _portions(store: Store, table: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Conditions that divide a table: the accesses by segments as they arrived, all else by a hash of the row."""
    if table != "accesses":
        pieces = max(1, -(-_count(store, table) // ROWS_AT_ONCE))
        for piece in range(pieces):
            yield "cityHash64(*) % {pieces:UInt64} = {piece:UInt64}", {"pieces": str(pieces), "piece": str(piece)}
        return
    first = last = rows = 0
    for segment, count in store.rows("SELECT segment, count() FROM accesses GROUP BY segment ORDER BY segment"):
        if rows and rows + count > ROWS_AT_ONCE:
            yield _BETWEEN, {"first": str(first), "last": str(last)}
            rows = 0
        first = first if rows else segment
        last, rows = segment, rows + count
    if rows:
        yield _BETWEEN, {"first": str(first), "last": str(last)}


_BETWEEN: Final = "segment >= {first:UInt64} AND segment <= {last:UInt64}"


def _load(store: Store, chunk: Chunk, columns: Sequence[str], folder: Path, attempt: str) -> None:
    try:
        packed = (folder / chunk.file).read_bytes()
    except OSError as error:
        raise BackupError(f"{folder} is not whole: {chunk.file}: {error.strerror}") from error
    if hashlib.sha256(packed).hexdigest() != chunk.sha256:
        raise BackupError(f"{folder} is damaged: {chunk.file} is not as it was written")
    names = ", ".join(f"`{name}`" for name in columns)
    settings = {"insert_deduplication_token": f"restore-{attempt}-{chunk.file}"}
    statement = f"INSERT INTO {chunk.table} ({names}) FORMAT {FORMAT}"  # reviewed: names that the store itself has
    store.insert_raw(statement, FORMAT, zstandard.ZstdDecompressor().decompress(packed), settings)


def _copied(spool: Path, to: Path) -> list[str]:
    """Segments that are not loaded yet; one that is loaded while we copy may be gone, and is in the rows then."""
    to.mkdir()
    names = []
    for segment in closed_segments(spool):
        try:
            shutil.copyfile(segment.path, to / segment.path.name)
        except FileNotFoundError:
            continue
        names.append(segment.path.name)
    return names


def _copied_back(of: Path, names: Sequence[str], spool: Path) -> None:
    spool.mkdir(parents=True, exist_ok=True)
    for name in names:
        beside = spool / f"{name}.coming"
        shutil.copyfile(of / name, beside)
        beside.rename(spool / name)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path) -> Manifest:
    try:
        found: dict[str, Any] = orjson.loads((folder / MANIFEST).read_bytes())
        if found["form"] > FORM:
            raise BackupError(f"{folder} was made by a newer noclobber: upgrade this one")
        chunks = [Chunk(**chunk) for chunk in found["chunks"]]
        if any(chunk.table not in found["columns"] or "/" in chunk.file for chunk in chunks):
            raise BackupError(f"{folder / MANIFEST} names what is not in it")
        return Manifest(**{**found, "chunks": chunks})
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no backup, or one that was not finished: it has no {MANIFEST}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{folder / MANIFEST} can't be read: {error}") from error
