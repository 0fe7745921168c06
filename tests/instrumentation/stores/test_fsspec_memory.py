"""fsspec's memory file system: what is read and written whole, what only looks, what is refused."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver_stage import findings
from fsspec.implementations.memory import MemoryFileSystem

import noclobber
from noclobber.testing import capture


@pytest.fixture
def system() -> Iterator[Any]:
    """A store of its own."""
    made = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    yield made
    made.store.clear()


def told(captured: Any) -> list[str]:
    """Each access in a few words."""
    return [
        " ".join(
            [
                each["noclobber.op"], each["noclobber.resource"].rpartition("/")[2], each["noclobber.outcome"],
                *(["partial"] if each.get("noclobber.partial") else []),
            ]
        )
        for each in captured.accesses
    ]  # fmt: skip


def test_whole_files(system: Any) -> None:
    """A write knows what was read before it; a name that is taken is refused; nothing there is a state."""
    with capture() as captured:
        with pytest.raises(FileNotFoundError):
            system.cat("/a")
        system.pipe("/a", b"the first words")
        assert system.cat_file("a") == b"the first words"
        system.pipe_file("memory://a", b"and others")
        system.rm("/a")
    assert told(captured) == ["read a not_found", "write a ok", "read a ok", "write a ok", "delete a ok"]
    _, first, read, second, _ = captured.accesses
    assert first["noclobber.version.base"] == "absent"
    assert second["noclobber.version.base"] == read["noclobber.version.read"] == first["noclobber.version.written"]
    assert len({each["noclobber.resource"] for each in captured.accesses}) == 1


def test_what_is_opened_is_partial(system: Any) -> None:
    """A handle reads and changes the stored buffer itself, unseen."""
    with capture() as captured:
        with system.open("/a", "w") as file:
            file.write("some words")
        with system.open("/a") as file:
            assert file.read() == b"some words"
        system.cp_file("/a", "/b")
        assert system.cat_file("/b", end=0) == b""
        with pytest.raises(FileNotFoundError):
            system.open("/none")
    assert told(captured) == [
        "update a ok partial", "read a ok partial", "update b ok partial", "read b ok partial", "read none not_found",
    ]  # fmt: skip


def test_a_look_by_a_handle_accuses_nobody(system: Any, tmp_path: Path) -> None:
    """Who reads again by a handle and then writes is not accused from what it had read before."""
    system.pipe("/a", b"the first words")
    with capture(fixed=False) as captured:
        with noclobber.agent("one"):
            system.cat("/a")
        with noclobber.agent("two"):
            system.pipe("/a", system.cat("/a") + b", and more")
        with noclobber.agent("one"), system.open("/a") as file:
            system.pipe("/a", file.read() + b", and the last")
    assert [each for each in findings(captured, tmp_path) if each[1] != "possible"] == []


@pytest.mark.skipif(
    "global_store" not in inspect.signature(MemoryFileSystem.__init__).parameters,
    reason="this fsspec has one store for all",
)
def test_two_stores_are_two(system: Any) -> None:
    """One that is not shared is not taken for the one that is."""
    shared = MemoryFileSystem()
    with capture() as captured:
        system.pipe("/noclobber-test", b"x y z")
        shared.pipe("/noclobber-test", b"x y z")
    shared.rm("/noclobber-test")
    assert len({each["noclobber.resource"] for each in captured.accesses}) == 2
