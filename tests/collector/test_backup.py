"""Backup and restore: the same rows on the other side, whichever kind of store is on either."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import ACCESS, NASTY, PROCESS, accesses, attributes, request

from noclobber_collector.backup import TABLES, BackupError, backup, restore
from noclobber_collector.loader import Loader
from noclobber_collector.requests import count_spans
from noclobber_collector.segments import closed_segments
from noclobber_collector.spool import Spool
from noclobber_collector.store import Store

ELSEWHERE = """
import sys
from pathlib import Path
from noclobber_collector.backup import restore
from noclobber_collector.store import open_store
from noclobber_collector.loader import Loader
made, target = sys.argv[1:]
store = open_store(f"chdb://{target}/store")
restore(store, Path(made), Path(target) / "spool")
loader = Loader(store, Path(target) / "spool")
loader.start()
assert loader.stop(30)
for sql in sys.stdin.read().splitlines():
    print(store.rows(sql))
"""
PRINTS = [
    "SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM accesses",
    "SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM findings",
    "SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM transitions",
    "SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM cursors",
    "SELECT count(), groupBitXor(cityHash64(toString(tuple(*)))) FROM otel_traces",
]


def full(load: Callable[..., Store]) -> Store:
    """A store with spans of every form, and rows in the other tables."""
    odd: dict[str, object] = {f"t{at}": text for at, text in enumerate(NASTY)}
    odd |= {
        "n": -5,
        "yes": True,
        "x": 0.1 + 0.2,
        "raw": b"\x00\xff",
        "list": ["a", 1],
        "noclobber.locks": ["a\tb", "c"],
    }
    made = request([{**ACCESS, **odd}], {**PROCESS, **{f"r{at}": text for at, text in enumerate(NASTY)}})
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.trace_id = bytes(range(9, 25))  # tab, newline, carriage return and others among its bytes
    event = span.events.add()
    event.name = "it's"
    attributes(event.attributes, odd)
    store = load(made.SerializeToString(), accesses(3_000).SerializeToString(), accesses(200).SerializeToString())
    for table, at in (("findings", "found_ns"), ("transitions", "at_ns")):
        rows = [(text, "i", time.time_ns(), text * 9) for text in NASTY]
        store.insert(table, ("id", "issue", at, "body"), rows)
    store.insert("cursors", ("analyzer", "at_ns", "body"), [("live", time.time_ns(), "{}")])
    return store


def prints(store: Store) -> list[str]:
    return [str(store.rows(sql)) for sql in PRINTS]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noclobber_collector.backup.ROWS_AT_ONCE", 1_000)


def test_a_new_store_has_the_same_rows(load: Callable[..., Store], tmp_path: Path) -> None:
    """In another engine: every column of every row, waiting segments loaded."""
    store = full(load)
    spool = Spool(tmp_path / "waiting")
    data = accesses(5).SerializeToString()
    spool.put(data, count_spans(data)).result(10)
    spool.close()
    told: list[str] = []
    made = backup(store, tmp_path / "backup", time.time_ns(), tmp_path / "waiting", told.append)
    assert made.rows["accesses"] == 3_201
    assert len(told) == len(TABLES)
    assert len(made.segments) == 1
    loader = Loader(store, tmp_path / "waiting")
    loader.start()
    assert loader.stop(30)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "backup"), str(tmp_path / "new")],
        input="\n".join(PRINTS), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == prints(store), done.stderr


def test_into_the_same_kind_of_store(load: Callable[..., Store], tmp_path: Path) -> None:
    """Once it was emptied: a restore over rows is refused, and so is a backup into a folder with something in it."""
    store = full(load)
    before = prints(store)
    backup(store, tmp_path / "backup", time.time_ns())
    with pytest.raises(BackupError, match=r"is not empty \(accesses has 3,201 rows\): restore into a new store"):
        restore(store, tmp_path / "backup")
    with pytest.raises(BackupError, match="is not empty: name a new folder"):
        backup(store, tmp_path / "backup", time.time_ns())
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    restore(store, tmp_path / "backup")
    assert prints(store) == before


def cut(folder: Path) -> None:
    """The manifest is missing: it was not finished."""
    (folder / "manifest.json").unlink()


def bent(folder: Path) -> None:
    """One byte of a file is another."""
    file = next(folder.glob("findings-*"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def torn(folder: Path) -> None:
    """A file is missing."""
    next(folder.glob("findings-*")).unlink()


def newer(folder: Path) -> None:
    """A later version made it."""
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"form": 1', '"form": 2'))


def foreign(folder: Path) -> None:
    """It names a column that no table has."""
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"found_ns"', '"x) SELECT 1 --"'))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "not finished"),
        (bent, "is damaged: findings"),
        (torn, "is not whole: findings"),
        (newer, "newer noclobber"),
        (foreign, "columns of findings that this store has not"),
    ],
)
def test_what_is_no_whole_backup_is_refused(
    load: Callable[..., Store], tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    """By name, and what to do."""
    store = load(accesses(2).SerializeToString())
    store.insert("findings", ("id", "found_ns", "body"), [("f", time.time_ns(), "x" * 100)])
    backup(store, tmp_path / "backup", time.time_ns())
    harm(tmp_path / "backup")
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    with pytest.raises(BackupError, match=said):
        restore(store, tmp_path / "backup")


def test_the_commands(load: Callable[..., Store], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a folder and back, over a store that a URL names; closed segments of the data folder come along."""
    import argparse

    from noclobber_analyzer.commands import backup as commands

    store = load(accesses(2).SerializeToString())
    if store.name.startswith("chdb:"):
        return  # the engine is the test's own; the commands' way to it is that of `analyze`
    url = store.name.replace("***", "secret")

    def run(command: Any, *words: str) -> int:
        parser = argparse.ArgumentParser()
        command.configure(parser)
        return int(command.run(parser.parse_args([*words, "--store", url])))

    assert run(commands.BACKUP, str(tmp_path / "backup")) == 0
    for table in TABLES:
        store.command(f"TRUNCATE TABLE {table}")
    assert run(commands.RESTORE, str(tmp_path / "backup")) == 0
    assert "2 rows restored" in capsys.readouterr().out or store.rows("SELECT count() FROM accesses") == [(2,)]
    assert not closed_segments(tmp_path / "spool")
    shutil.rmtree(tmp_path / "backup")
