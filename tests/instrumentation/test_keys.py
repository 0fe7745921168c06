"""The fingerprint key: two first starts agree, it is private, and nothing of it is told."""

import multiprocessing
import os
from pathlib import Path

import pytest

from noclobber import keys
from noclobber.keys import KEY_BYTES, key_id, load_key


def _start(folder: str, start: object, found: object) -> None:
    start.wait(20)  # type: ignore[attr-defined]
    found.put(load_key(folder=Path(folder)))  # type: ignore[attr-defined]


def test_first_starts_agree(tmp_path: Path) -> None:
    """Processes that start at once, without a key on disk, end up with one."""
    context = multiprocessing.get_context("fork")
    start, found = context.Event(), context.Queue()
    processes = [context.Process(target=_start, args=(str(tmp_path), start, found)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    got = {found.get(timeout=20) for _ in processes}
    for process in processes:
        process.join(20)
    assert got == {load_key(folder=tmp_path)}
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_key_is_private(tmp_path: Path) -> None:
    """Only its user may read it."""
    load_key(folder=tmp_path)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_torn_key_is_made_again(tmp_path: Path) -> None:
    """A file of another length is no key."""
    (tmp_path / "key").write_bytes(b"short")
    assert load_key(folder=tmp_path) == (tmp_path / "key").read_bytes()
    assert len(load_key(folder=tmp_path)) == KEY_BYTES


def test_a_configured_key_needs_no_file(tmp_path: Path) -> None:
    """Any text is a key, the same on every host."""
    assert load_key("one", tmp_path) == load_key("one", tmp_path) != load_key("two", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_the_key_lives_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that can't be, or a user without a home: a key all the same, another each time, which its id shows."""
    one, two = load_key(folder=Path("/proc/none")), load_key(folder=Path("/proc/none"))
    assert (len(one), key_id(one) == key_id(two)) == (KEY_BYTES, False)

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(keys, "_user_folder", homeless)
    assert len(load_key()) == KEY_BYTES
    assert os.getpid()


def test_an_id_names_the_key_without_telling_it() -> None:
    """Short, stable, and not part of the key."""
    key = bytes(range(32))
    assert key_id(key) == key_id(bytes(range(32)))
    assert (len(key_id(key)), key_id(key) in key.hex()) == (12, False)
