"""LanceDB: rows by their `id`, in embedded tables, sync and asyncio.

A table has no key of its own; agents that share rows name them by a column, so a row is known where a condition says
`id = ..` (and nothing that can't be read here), or `id IN (..)` alone, or a `merge_insert` is made on that column.
Everything else is told of the table as a whole, as a scan or a partial update. The table's version counts every write
to any row: two agents that change different rows would look like a race, so a row's state is the print of its columns,
which are its parts. Where a change of several named rows met some of them, its outcome is unknown for each.

`update` whose condition also names the columns that it sets is a compare-and-set: it is guarded, and refused where it
changed no row. With other conditions beside the key the store looks and writes at once: an update in place.

The sync table runs the asyncio one on a loop of its own; that is the same call and told once.

Source: lancedb/table.py, query.py, merge.py (0.40); capture.md section 2.
"""

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Guard, Op, Outcome, WriteMode
from noclobber.resources import host_name, quoted, uri
from noclobber.stores import points
from noclobber.stores.deeds import Deed, Note, recorded, recorded_async
from noclobber.stores.object_values import Kept, kept
from noclobber.stores.points import Pieces
from noclobber.stores.wrapping import Hook, Wrapping
from noclobber.versions import fingerprint, fingerprint_parts

__all__ = ["INTEGRATION"]

LIBRARY: Final = "lancedb"
SYSTEM: Final = "lancedb"
KEY: Final = "id"
ROWS_MAX: Final = 256
"""Rows of a reply that are looked at; a longer one is a partial scan."""
REFUSALS: Final = ("ValueError", "TypeError")
_URI = re.compile(r"\buri=([^,)]+)")
_TERM = re.compile(r"[`\"]?(\w+)[`\"]?\s*==?\s*(?:'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?)|(true|false))", re.IGNORECASE)
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_LITERAL = re.compile(r"'((?:[^']|'')*)'|(-?\d+)")
_IN = re.compile(
    rf"[`\"]?{KEY}[`\"]?\s+in\s*\(\s*((?:{_LITERAL.pattern})(?:\s*,\s*(?:{_LITERAL.pattern}))*)\s*\)", re.IGNORECASE
)
_wrapping = Wrapping(LIBRARY)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that names one row: its key, and what else has to hold of its columns."""

    key: str
    others: Pieces


def install(_library: ModuleType) -> None:
    """Wrap the methods that touch rows."""
    from lancedb import query, table

    hooks: list[Hook] = []
    for owner, way in ((table.LanceTable, recorded), (table.AsyncTable, recorded_async)):
        hooks += [(owner, name, way(LIBRARY, note)) for name, note in _NOTES.items()]
    hooks += [
        (query.LanceEmptyQueryBuilder, "to_arrow", recorded(LIBRARY, _note_query)),
        (query.LanceVectorQueryBuilder, "to_arrow", recorded(LIBRARY, _note_query)),
        (query.AsyncQueryBase, "to_arrow", recorded_async(LIBRARY, _note_query)),
    ]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- names ---------------------------------------------------------------------------------------------------------


def _place(table: Any) -> str | None:
    """The table's URI with a slash at its end; None where it is not an embedded one, or runs for a sync table."""
    inner = getattr(table, "_table", table)
    if inner is table and threading.current_thread().name == "LanceDBBackgroundEventLoop":
        return None
    known = inner.__dict__.get("_noclobber_place")
    if known is None:
        known = inner.__dict__["_noclobber_place"] = _named(repr(inner))
    return str(known) or None


def _named(shown: str) -> str:
    found = _URI.search(shown)
    if found is None:
        return ""
    scheme, separator, path = found[1].strip().rpartition("://")
    place = host_name() if not separator or scheme == "file" else scheme
    return uri("lance", place, *path.lstrip("/").split("/")) + "/"


def _row(place: str, key: str) -> str:
    return f"{place}{KEY}={quoted(key)}"


def _condition(where: Any) -> Condition | None:
    """What `where` says, if it names one row by its key and is made of nothing but equalities."""
    if not isinstance(where, str):
        return None
    found: dict[str, Any] = {}
    for term in _AND.split(where.strip()):
        match = _TERM.fullmatch(term.strip())
        if match is None or match[1] in found:
            return None
        found[match[1]] = _literal(match)
    if KEY not in found:
        return None
    return Condition(str(found.pop(KEY)), {name: kept(value) for name, value in found.items()})


def _keys(where: Any) -> list[str]:
    """The keys of the rows that `where` names, if it says nothing else; none where it does."""
    condition = _condition(where)
    if condition is not None:
        return [] if condition.others else [condition.key]
    match = _IN.fullmatch(where.strip()) if isinstance(where, str) else None
    found = [text.replace("''", "'") or number for text, number in _LITERAL.findall(match[1])] if match else []
    return list(dict.fromkeys(found)) if len(found) <= ROWS_MAX else []


def _literal(match: re.Match[str]) -> Any:
    if match[2] is not None:
        return match[2].replace("''", "'")
    if match[4] is not None:
        return match[4].lower() == "true"
    return float(match[3]) if "." in match[3] else int(match[3])


def _pieces(row: Mapping[str, Any]) -> dict[str, Kept]:
    """What a row says; its vectors follow from that, and what a search adds is not the row's."""
    return {
        name: kept(value)
        for name, value in row.items()
        if name != KEY and not name.startswith("_") and not _is_vector(value)
    }


def _is_vector(value: Any) -> bool:
    if hasattr(value, "dtype"):
        return bool(getattr(value, "ndim", 0))
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], float)


# -- at the call ---------------------------------------------------------------------------------------------------


def _note_update(table: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    place = _place(table)
    if place is None:
        return None
    sync = hasattr(table, "_table")
    asked = {**dict(zip(("where", "values") if sync else ("updates",), args, strict=False)), **kwargs}
    values = asked.get("values" if sync else "updates")
    computed = asked.get("values_sql" if sync else "updates_sql")
    condition = _condition(asked.get("where"))
    made = _pieces(values or {})
    if condition is None:
        rows = [] if computed else [_row(place, key) for key in _keys(asked.get("where"))]
        if not rows:
            return Deed("update", 1, _change, place, _nothing, REFUSALS)
        return Deed("update", len(rows), _updates, (rows, made), _changed, REFUSALS)
    return Deed("update", 1, _update, (_row(place, condition.key), condition, made, bool(computed)), _changed, REFUSALS)


def _note_delete(table: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    place = _place(table)
    if place is None:
        return None
    rows = [_row(place, key) for key in _keys(args[0] if args else kwargs["where"])]
    if not rows:
        return Deed("delete", 1, _change, place, _nothing, REFUSALS)
    return Deed("delete", len(rows), _deletes, rows, _deleted, REFUSALS)


def _note_add(table: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    place, data = _place(table), args[0] if args else kwargs["data"]
    if place is None:
        return None
    mode = args[1] if len(args) > 1 else kwargs.get("mode", "append")
    rows = _rows(place, data) if mode in ("append", None) else None
    if rows is None:
        return Deed("add", 1, _change, place, _nothing, REFUSALS)
    return Deed("add", len(rows), _writes, (rows, WriteMode.INSERT), _nothing, REFUSALS)


def _note_merge(table: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
    place = _place(table)
    if place is None:
        return None
    merge, data = args[0], args[1] if len(args) > 1 else kwargs["new_data"]
    plain = (
        list(merge._on) == [KEY] and merge._when_matched_update_all and merge._when_not_matched_insert_all
        and merge._when_matched_update_all_condition is None and not merge._when_not_matched_by_source_delete
    )  # fmt: skip
    rows = _rows(place, data) if plain else None
    if rows is None:
        return Deed("merge_insert", 1, _change, place, _nothing, REFUSALS)
    return Deed("merge_insert", len(rows), _writes, (rows, None), _nothing, REFUSALS)


def _rows(place: str, data: Any) -> list[tuple[str, Pieces]] | None:
    """Each row's name and content; None where they can't be told."""
    if not isinstance(data, list) or not 0 < len(data) <= ROWS_MAX:
        return None
    if not all(isinstance(each, dict) and each.get(KEY) is not None for each in data):
        return None
    return [(_row(place, str(each[KEY])), _pieces(each)) for each in data]


def _note_query(query: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Deed | None:
    place = _place(query._table) if query._table is not None else None
    if place is None:
        return None
    asked = query.to_query_object()
    likeness = asked.vector is not None or asked.full_text_query is not None
    whole = asked.columns is None
    condition = None if likeness else _condition(asked.filter)
    if condition is not None and not condition.others and not asked.offset:
        return Deed("search", 1, _read, (place, condition.key, whole), _found, REFUSALS)
    everything = asked.filter is None and not likeness
    about = "*" if everything else points.predicate(*(str(each) for each in (asked.filter, asked.vector, asked.limit)))
    cut = asked.offset is not None or (not likeness and asked.limit is not None)
    return Deed("search", 1, _scan, (place, about, whole, likeness, cut), _found, REFUSALS)


def _note_all(table: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Deed | None:
    place = _place(table)
    return None if place is None else Deed("to_arrow", 1, _scan, (place, "*", True, False, False), _found, REFUSALS)


_NOTES: Final[dict[str, Note]] = {
    "update": _note_update, "delete": _note_delete, "add": _note_add, "_do_merge": _note_merge, "to_arrow": _note_all,
}  # fmt: skip


# -- what is kept of a reply ---------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _changed(reply: Any) -> int | None:
    return getattr(reply, "rows_updated", None)


def _deleted(reply: Any) -> int | None:
    return getattr(reply, "num_deleted_rows", None)


Row = tuple[str | None, Pieces]


def _found(reply: Any) -> tuple[list[Row], bool]:
    """The rows' keys and contents, and whether there are more."""
    rows: Iterable[dict[str, Any]] = reply.slice(0, ROWS_MAX).to_pylist()
    found: list[Row] = [(None if each.get(KEY) is None else str(each[KEY]), _pieces(each)) for each in rows]
    return found, bool(reply.num_rows > ROWS_MAX)


# -- in the drain --------------------------------------------------------------------------------------------------


def _update(deed: Deed) -> list[Access]:
    resource, condition, made, computed = deed.facts
    guarded = set(condition.others) == set(made) and bool(made)
    if computed or (condition.others and not guarded):
        part = () if computed else tuple(sorted(made))
        access = Access(Op.UPDATE, resource, SYSTEM, part=part, attributes={Attr.WRITE_MODE: WriteMode.MERGE})
        if computed and made:
            access.attributes[Attr.PARTIAL] = True
    else:
        access = points.write(resource, SYSTEM, made, whole=False)
        if guarded:
            prints = {name: fingerprint(each.data or b"") for name, each in condition.others.items()}
            access.attributes[Attr.GUARD] = Guard.VERSION
            access.attributes[Attr.VERSION_EXPECTED] = (
                fingerprint_parts(prints) if len(prints) > 1 else next(iter(prints.values()))
            )
    if deed.error is None and deed.reply == 0:
        access.outcome = Outcome.REJECTED if condition.others else Outcome.NO_EFFECT
    elif deed.reply is not None and deed.reply > 1:
        access.attributes[Attr.PARTIAL] = True  # an id that is not unique
    return [access]


def _updates(deed: Deed) -> list[Access]:
    rows, made = deed.facts
    return _of_so_many([points.write(resource, SYSTEM, made, whole=False) for resource in rows], deed)


def _deletes(deed: Deed) -> list[Access]:
    return _of_so_many([points.delete(resource, SYSTEM) for resource in deed.facts], deed)


def _of_so_many(accesses: list[Access], deed: Deed) -> list[Access]:
    """Changes of rows of which the store says how many it met: which ones, if not all, it does not say."""
    count, asked = deed.reply, len(accesses)
    for access in accesses if deed.error is None and count is not None else ():
        if count < asked:
            access.outcome = Outcome.UNKNOWN if count else Outcome.NO_EFFECT
        elif count > asked:
            access.attributes[Attr.PARTIAL] = True  # an id that is not unique
    return accesses


def _writes(deed: Deed) -> list[Access]:
    rows, mode = deed.facts
    return [points.write(resource, SYSTEM, made, whole=True, mode=mode) for resource, made in rows]


def _read(deed: Deed) -> list[Access]:
    place, key, whole = deed.facts
    resource = _row(place, key)
    if deed.reply is None:
        return [Access(Op.READ, resource, SYSTEM)]
    rows, _ = deed.reply
    if len(rows) > 1:  # an id that is not unique names no row
        return [Access(Op.READ, resource, SYSTEM, attributes={Attr.PARTIAL: True}, remembered=False)]
    return [points.read(resource, SYSTEM, rows[0][1] if rows else None, whole=whole)]


def _scan(deed: Deed) -> list[Access]:
    place, about, whole, likeness, cut = deed.facts
    rows, more = deed.reply or ([], False)
    named = [(_row(place, key), each) for key, each in rows if key is not None]
    cut = cut or more or len(named) < len(rows)
    return [points.scan(place, SYSTEM, about, named, whole=whole, approximate=likeness, cut=cut)]


def _change(deed: Deed) -> list[Access]:
    access = points.changed(deed.facts, SYSTEM)
    if deed.name == "add":
        access.attributes[Attr.WRITE_MODE] = WriteMode.APPEND
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
