"""Which store a saver or a LangGraph store writes to, as a segment of the resource's name.

Equal names must mean the same state, from whatever process they come. What lies in a process's memory is therefore
named after the process and the object: two programs that both keep thread `1` in memory do not share it. A SQLite
file is named by its path on this host. Of other stores nothing is known here: one namespace is one resource.
"""

import hashlib
import itertools
import threading
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import strands
from noclobber.guard import GUARD
from noclobber.resources import host_name

__all__ = ["place_of", "remember"]

MEMORY: Final = ":memory:"
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
    """Find out where `holder` writes: the name of a file, or the number of an object in memory."""
    with _lock:
        if holder not in _known:
            _known[holder] = _place(holder)
        return _known[holder]


def _place(holder: Any) -> str | int | None:
    if any(
        each.__module__.startswith(("langgraph.store.memory", "langgraph.checkpoint.memory"))
        for each in type(holder).__mro__
    ):
        return next(_numbers)
    path = _sqlite_path(getattr(holder, "conn", None))
    if path is None:
        return None
    if path in ("", MEMORY) or "mode=memory" in path:
        return next(_numbers)
    full = str(Path(path.removeprefix("file:").partition("?")[0]).resolve())
    digest = hashlib.blake2b(f"{host_name()}:{full}".encode(), digest_size=4).hexdigest()
    return f"{Path(full).name}~{digest}"


def _sqlite_path(connection: Any) -> str | None:
    """The path of a SQLite connection, None where it is none."""
    module = type(connection).__module__
    if module == "sqlite3":
        return next((row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"), "")
    if module.startswith("aiosqlite"):  # its connection lives in a thread of its own: ask what it was opened with
        connector = getattr(connection, "_connector", None)
        code = getattr(connector, "__code__", None)
        cells = getattr(connector, "__closure__", None) or ()
        opened = dict(zip(code.co_freevars if code else (), cells, strict=False)).get("database")
        return None if opened is None else _text(opened.cell_contents)
    return None


def _text(database: object) -> str:
    return database.decode() if isinstance(database, bytes) else str(database)
