"""Which store a saver or a LangGraph store writes to, as a segment of the resource's name.

Equal names must mean the same state, from whatever process they come. What lies in a process's memory is therefore
named after the process and the object: two programs that both keep thread `1` in memory do not share it. A SQLite
file is named by its path on this host. Of other stores nothing is known here: one namespace is one resource.
"""

import contextlib
import itertools
import sys
import threading
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import strands
from noclobber.frameworks.places import of_file
from noclobber.guard import GUARD

__all__ = ["place_of", "remember"]

IN_MEMORY: Final = ("langgraph.store.memory", "langgraph.checkpoint.memory")
"""Modules whose classes keep everything in the process."""
_numbers = itertools.count(1)
_known: "WeakKeyDictionary[Any, str | int | None]" = WeakKeyDictionary()
_lock = threading.Lock()


def place_of(holder: Any) -> str | None:
    """The segment that names `holder`'s store, None where nothing is known.

    Args:
        holder: a checkpoint saver or a store.
    """
    found: str | int | None = None
    with GUARD:
        found = _known[holder] if holder in _known else remember(holder)
    return f"{strands.process_id()}.{found}" if isinstance(found, int) else found


def remember(holder: Any) -> str | int | None:
    """Find out where `holder` writes: the name of a file, or the number of an object in memory; asked once."""
    with _lock:
        if holder not in _known:
            _known[holder] = None
            with GUARD:
                _known[holder] = _place(holder)
        return _known[holder]


def _place(holder: Any) -> str | int | None:
    if any(each.__module__.startswith(IN_MEMORY) for each in type(holder).__mro__):
        return next(_numbers)
    path = _sqlite_path(getattr(holder, "conn", None))
    if path is None:
        return None
    if not path or ":memory:" in path or "mode=memory" in path:
        return next(_numbers)
    return of_file(path)


def _sqlite_path(connection: Any) -> str | None:
    """The path of a SQLite connection, empty where it is in memory, None where it is none."""
    sqlite3 = sys.modules.get("sqlite3")
    if sqlite3 is not None and isinstance(connection, sqlite3.Connection):
        try:
            with contextlib.closing(connection.cursor()) as cursor:
                cursor.row_factory = None
                found = {_text(name): _text(file) for _, name, file in cursor.execute("PRAGMA database_list")}
        except sqlite3.Error:
            return None  # it is closed, or in a thread of its own: where it led nobody can say now
        return found.get("main", "")
    if type(connection).__module__.startswith("aiosqlite"):  # it lives in a thread of its own: what was it opened with?
        connector = getattr(connection, "_connector", None)
        code, cells = getattr(connector, "__code__", None), getattr(connector, "__closure__", None) or ()
        opened = dict(zip(code.co_freevars if code else (), cells, strict=False)).get("database")
        return None if opened is None else _text(opened.cell_contents)
    return None


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name or "")
