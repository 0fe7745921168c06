"""Which store a saver or a LangGraph store writes to: equal names mean the same state, and nothing else does."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.memory import InMemoryStore

from noclobber.frameworks.langgraph_places import place_of
from noclobber.testing import capture


def connect(path: object, **settings: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(str(path), check_same_thread=False, **settings)
    return connection


async def test_one_file_is_one_place_however_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path, from its folder, through a link, as a URI, with any factory, sync or async."""
    path = tmp_path / "a.db"
    (tmp_path / "link.db").symlink_to(path)
    monkeypatch.chdir(tmp_path)

    class Connection(sqlite3.Connection):
        pass

    connections = [
        connect(path), connect("a.db"), connect(tmp_path / "link.db"), connect(f"file:{path}?mode=rwc", uri=True),
        connect(path, factory=Connection),
    ]  # fmt: skip
    connections[0].row_factory = lambda *_: {}
    connections[1].text_factory = bytes
    places = {place_of(SqliteSaver(connection)) for connection in connections}
    for name in (path, "a.db", str(path).encode(), f"file:{path}?mode=rwc"):
        async with aiosqlite.connect(name, uri=True) as asynchronous:  # type: ignore[arg-type]  # bytes it takes too
            places.add(place_of(AsyncSqliteSaver(asynchronous)))
    other = place_of(SqliteSaver(connect(tmp_path / "b.db")))
    for connection in connections:
        connection.close()
    (place,) = places
    assert place is not None
    assert place.startswith("a.db~")
    assert other != place


async def test_what_lies_in_memory_is_named_by_process_and_object() -> None:
    """Each object is a place of its own, also a SQLite database in memory; and another process has other names."""
    connection = connect(":memory:")
    holders: list[Any] = [InMemorySaver(), InMemoryStore(), InMemoryStore(), SqliteSaver(connection)]
    async with aiosqlite.connect(":memory:") as asynchronous:
        holders.append(AsyncSqliteSaver(asynchronous))
        places = [place_of(holder) for holder in holders]
    assert len(set(places)) == 5
    assert places == [place_of(holder) for holder in holders]
    with capture():
        assert set(places).isdisjoint({place_of(holder) for holder in holders})
    connection.close()


def test_of_other_stores_nothing_is_known() -> None:
    """Their namespace is the whole name, in every process the same; a broken one is asked once."""

    class Elsewhere:
        conn = object()

    closed = connect(os.devnull)
    closed.close()

    class Closed:
        conn = closed

    assert place_of(Elsewhere()) is None
    broken = Closed()
    assert [place_of(broken), place_of(broken)] == [None, None]
