"""FAISS: vectors by id in an `IndexIDMap` that threads of one process share.

An index has neither a name nor versions: it is named by its process and a number, a state by the print of its vector in
single precision. `add_with_ids` puts another vector beside one of the same id and replaces nothing; a change is a
`remove_ids` and an `add_with_ids`, and what may lose another's work is the removal. Bulk loads, selectors and indexes
without ids are not told by vector; files (`write_index`) are not followed.

Source: faiss/class_wrappers.py (1.15); capture.md section 2.
"""

import itertools
from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Op, Outcome, VersionKind, WriteMode
from noclobber.resources import uri
from noclobber.stores import points
from noclobber.stores.deeds import Deed, Note, recorded
from noclobber.stores.points import Pieces
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "faiss"
SYSTEM: Final = "faiss"
MANY: Final = 64
"""Vectors in one call from which on it is a bulk load, or a bulk removal."""
REFUSALS: Final = ("AssertionError", "TypeError", "ValueError")
_wrapping = Wrapping(LIBRARY)
_numbers = itertools.count(1)


def install(library: ModuleType) -> None:
    """Wrap the methods of indexes that have ids."""
    hooks: list[Hook] = [
        (owner, name, recorded(LIBRARY, note))
        for owner in (library.IndexIDMap, library.IndexIDMap2)
        for name, note in _NOTES.items()
        if owner is library.IndexIDMap or name in vars(owner)
    ]
    hooks.append((library.IndexIDMap2, "reconstruct", recorded(LIBRARY, _note_reconstruct)))
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _place(index: Any) -> str:
    known = index.__dict__.get("_noclobber_place")
    if known is None:
        known = index.__dict__["_noclobber_place"] = uri("faiss", strands.process_id(), str(next(_numbers))) + "/"
    return str(known)


# -- at the call ---------------------------------------------------------------------------------------------------


def _note_add(index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    vectors, ids = ({**dict(zip(("x", "ids"), args, strict=False)), **kwargs}[name] for name in ("x", "ids"))
    place = _place(index)
    if len(ids) > MANY:
        return Deed("add_with_ids", 1, _change, place, _nothing, REFUSALS)
    facts = [(f"{place}{int(each)}", points.pieces(None, "", None, vectors[at])) for at, each in enumerate(ids)]
    return Deed("add_with_ids", len(facts), _adds, facts, _nothing, REFUSALS)


def _note_remove(index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    chosen, place = args[0] if args else kwargs["x"], _place(index)
    if not hasattr(chosen, "__len__") or len(chosen) > MANY:
        return Deed("remove_ids", 1, _change, place, int, REFUSALS)
    return Deed("remove_ids", len(chosen), _removes, [f"{place}{int(each)}" for each in chosen], int, REFUSALS)


def _note_reconstruct(index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    key = args[0] if args else kwargs["key"]
    return Deed("reconstruct", 1, _read, f"{_place(index)}{int(key)}", _vector, REFUSALS)


def _note_search(index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    asked = {**dict(zip(("x", "k"), args, strict=False)), **kwargs}
    about = points.predicate(asked["x"], asked["k"])
    return Deed("search", 1, _scan, (_place(index), about), _ids, REFUSALS)


def _note_reset(index: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Deed | None:
    return Deed("reset", 1, _reset, _place(index), _nothing, REFUSALS)


_NOTES: Final[dict[str, Note]] = {
    "add_with_ids": _note_add, "remove_ids": _note_remove, "search": _note_search, "reset": _note_reset,
}  # fmt: skip


def _nothing(_reply: Any) -> None:
    return None


def _vector(reply: Any) -> Pieces:
    return points.pieces(None, "", None, reply)


def _ids(reply: Any) -> list[int]:
    """The ids that a search found; -1 stands for none."""
    found = dict.fromkeys(int(each) for each in reply[1].ravel()[: 2 * MANY] if each >= 0)
    return list(found)


# -- in the drain --------------------------------------------------------------------------------------------------


def _adds(deed: Deed) -> list[Access]:
    return [points.write(each, SYSTEM, made, whole=True, mode=WriteMode.INSERT) for each, made in deed.facts]


def _removes(deed: Deed) -> list[Access]:
    accesses = [points.delete(resource, SYSTEM) for resource in deed.facts]
    removed = deed.reply if deed.error is None else None
    for access in accesses:
        if removed == 0:
            access.outcome = Outcome.NO_EFFECT
        elif removed is not None and removed < len(accesses):
            access.outcome = Outcome.UNKNOWN  # some of them were not there
    return accesses


def _read(deed: Deed) -> list[Access]:
    if deed.error is not None and "not found" in str(deed.error):
        return [points.read(deed.facts, SYSTEM, None, whole=True)]
    return [points.read(deed.facts, SYSTEM, deed.reply or {}, whole=True)]


def _scan(deed: Deed) -> list[Access]:
    place, about = deed.facts
    found: list[tuple[str, Pieces]] = [(f"{place}{each}", {}) for each in deed.reply or ()]
    return [points.scan(place, SYSTEM, about, found, whole=False, approximate=True)]


def _change(deed: Deed) -> list[Access]:
    access = points.changed(deed.facts, SYSTEM)
    if deed.reply == 0:
        access.outcome = Outcome.NO_EFFECT
    return [access]


def _reset(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, deed.facts, SYSTEM)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
