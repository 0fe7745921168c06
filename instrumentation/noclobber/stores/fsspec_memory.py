"""fsspec's memory file system: files that agents of one process share by name.

What is read and written whole by one call (`cat`, `cat_file`, `pipe`, `pipe_file`) is told with the print of its bytes,
and so are removals. A file that is opened hands out the stored buffer itself, which whoever holds it goes on reading
and changing: it is told as a look, or as an update of unknown content, and partial, so that nothing that rests on it is
more than `possible`.

All instances share one store, unless they were made with `global_store=False`. Files on disk that fsspec opens are told
as local files (`files`).

Source: fsspec 2024.10 to 2026.9 (implementations/memory.py, spec.py).
"""

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final
from weakref import WeakKeyDictionary

from noclobber import strands
from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.resources import uri
from noclobber.stores.deeds import Deed, Note, recorded
from noclobber.stores.object_values import UNKNOWN, Kept, kept, state
from noclobber.stores.wrapping import Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "fsspec-memory"
SYSTEM: Final = "fsspec.memory"
REFUSALS: Final = ("FileNotFoundError", "FileExistsError", "IsADirectoryError", "ValueError")
_wrapping = Wrapping(LIBRARY)
_numbers = itertools.count(1)
_places: "WeakKeyDictionary[Any, str]" = WeakKeyDictionary()
"""Instance that has a store of its own -> what it is called."""


def install(library: ModuleType) -> None:
    """Wrap what touches a file's content."""
    system = library.MemoryFileSystem
    _wrapping.wrap(
        [
            (system, "cat_file", recorded(LIBRARY, _looking)),
            (system, "pipe_file", recorded(LIBRARY, _writing)),
            (system, "_open", recorded(LIBRARY, _opening)),
            (system, "cp_file", recorded(LIBRARY, _copying)),
            (system, "_rm", recorded(LIBRARY, _noting(_remove))),
        ]
    )


def _place(system: Any, path: Any) -> str:
    if system.store is type(system).store:
        place = "memory"
    else:
        place = _places.get(system) or _places.setdefault(system, f"memory-{next(_numbers)}")
    return uri("fsspec", strands.process_id(), place, *system._strip_protocol(path).strip("/").split("/"))


# -- at the call ---------------------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _noting(describe: Callable[[Deed], list[Access]]) -> Note:
    def note(system: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed:
        path = args[0] if args else kwargs["path"]
        return Deed(LIBRARY, 1, describe, _place(system, path), _nothing, REFUSALS)

    return note


def _looking(system: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed:
    asked = {**dict(zip(("path", "start", "end"), args, strict=False)), **kwargs}
    whole = asked.get("start") is None and asked.get("end") is None
    return Deed(LIBRARY, 1, _read, _place(system, asked["path"]), kept if whole else _unknown, REFUSALS)


def _unknown(_reply: Any) -> Kept:
    return UNKNOWN


def _writing(system: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed:
    asked = {**dict(zip(("path", "value", "mode"), args, strict=False)), **kwargs}
    value = asked["value"]
    made = kept(bytes(value)) if isinstance(value, bytes | bytearray | memoryview) else UNKNOWN
    facts = (_place(system, asked["path"]), made, asked.get("mode") == "create")
    return Deed(LIBRARY, 1, _write, facts, _nothing, REFUSALS)


def _opening(system: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed:
    asked = {"mode": "rb", **dict(zip(("path", "mode"), args, strict=False)), **kwargs}
    describe = _read if asked["mode"] == "rb" else _change
    return Deed(LIBRARY, 1, describe, _place(system, asked["path"]), _unknown, REFUSALS)


def _copying(system: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed:
    path = args[1] if len(args) > 1 else kwargs["path2"]
    return Deed(LIBRARY, 1, _change, _place(system, path), _nothing, REFUSALS)


# -- in the drain --------------------------------------------------------------------------------------------------


def _read(deed: Deed) -> list[Access]:
    access = Access(Op.READ, deed.facts, SYSTEM)
    if isinstance(deed.error, FileNotFoundError):
        access.outcome = Outcome.NOT_FOUND
        access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_READ: ABSENT}
    elif deed.reply is UNKNOWN:
        access.attributes[Attr.PARTIAL] = True
    elif deed.reply is not None:
        state(deed.reply, access.attributes, Attr.VERSION_READ)
    return [access]


def _write(deed: Deed) -> list[Access]:
    place, made, creates = deed.facts
    access = Access(Op.WRITE, place, SYSTEM, finds_base=True)
    state(made, access.attributes, Attr.VERSION_WRITTEN)
    if creates:
        access.attributes |= {Attr.GUARD: Guard.UNIQUE, Attr.WRITE_MODE: WriteMode.INSERT}
        if isinstance(deed.error, FileExistsError):
            access.outcome = Outcome.REJECTED
    return [access]


def _change(deed: Deed) -> list[Access]:
    access = Access(Op.UPDATE, deed.facts, SYSTEM)
    access.attributes |= {Attr.WRITE_MODE: WriteMode.MERGE, Attr.PARTIAL: True}
    return [access]


def _remove(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, deed.facts, SYSTEM, finds_base=True)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    if isinstance(deed.error, FileNotFoundError):
        access.outcome = Outcome.NO_EFFECT
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, _wrapping.restore)
