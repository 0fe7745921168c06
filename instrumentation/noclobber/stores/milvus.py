"""Milvus: a collection's rows by primary key, over `MilvusClient` and `AsyncMilvusClient`, Milvus Lite included.

`upsert` replaces a row, or with `partial_update` the fields that it is given. Which field is the key is not asked for:
a reply names the keys of what was written, and of a row that was asked for by its key the field is known that holds it.
`insert` puts rows beside those that have the same key.

Source: pymilvus/milvus_client/milvus_client.py (3.0); capture.md section 2.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Op, VersionKind, WriteMode
from noclobber.resources import authority, quoted
from noclobber.stores import points
from noclobber.stores.deeds import Deed, Note, recorded, recorded_async
from noclobber.stores.object_values import kept
from noclobber.stores.points import Pieces
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pymilvus"
SYSTEM: Final = "milvus"
PORT: Final = 19530
KEY: Final = "id"
MANY: Final = 256
"""Rows in one call from which on it is a bulk load."""
REFUSALS: Final = ("ParamError", "DataNotMatchException", "SchemaNotReadyException", "TypeError", "ValueError")
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "insert": ("data",),
    "upsert": ("data",),
    "get": ("ids", "output_fields"),
    "query": ("filter", "output_fields", "timeout", "ids"),
    "search": ("data", "filter", "limit", "output_fields"),
    "delete": ("ids", "timeout", "filter"),
    "drop_collection": (),
}
"""What follows the collection's name in each method."""
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap the methods that touch rows."""
    hooks: list[Hook] = []
    for name in _ORDER:
        hooks.append((library.MilvusClient, name, recorded(LIBRARY, _noting(name))))
        hooks.append((library.AsyncMilvusClient, name, recorded_async(LIBRARY, _noting(name))))
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- at the call ---------------------------------------------------------------------------------------------------


def _noting(name: str) -> Note:
    def note(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        asked = {**dict(zip(("collection_name", *_ORDER[name]), args, strict=False)), **kwargs}
        return _NOTES[name](name, _container(client, asked), asked)

    return note


def _container(client: Any, asked: dict[str, Any]) -> str:
    server = urlsplit(client._config.uri)
    base = f"milvus://{authority(server.hostname, server.port, PORT)}/{quoted(client._config.db_name or 'default')}"
    return f"{base}/{quoted(str(asked['collection_name']))}/"


def _row(container: str, key: Any) -> str:
    return container + quoted(str(key))


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _pieces(row: Mapping[str, Any], key: str = KEY) -> dict[str, Any]:
    fields = {name: value for name, value in row.items() if name not in (key, KEY) and not _is_vector(value)}
    if fields:
        return {name: kept(value) for name, value in fields.items()}
    vector = next((value for value in row.values() if _is_vector(value)), None)
    return points.pieces(None, "", None, vector)


def _is_vector(value: Any) -> bool:
    if hasattr(value, "dtype"):
        return bool(getattr(value, "ndim", 0))
    return isinstance(value, bytes) or (isinstance(value, list) and bool(value) and isinstance(value[0], float))


def _note_write(name: str, container: str, asked: dict[str, Any]) -> Deed:
    rows = [asked["data"]] if isinstance(asked["data"], Mapping) else asked["data"]
    if not isinstance(rows, list) or len(rows) > MANY:
        return Deed(name, 1, _change, container, _nothing, REFUSALS)
    facts = [(each.get(KEY), _pieces(each)) for each in rows]
    whole = not asked.get("partial_update")
    return Deed(name, len(facts), _writes, (container, facts, whole), _written, REFUSALS)


def _whole(asked: dict[str, Any]) -> bool:
    return asked.get("output_fields") in (None, ["*"])


def _note_get(name: str, container: str, asked: dict[str, Any]) -> Deed:
    ids = _listed(asked["ids"])
    return Deed(name, len(ids), _reads, (container, ids, _whole(asked)), lambda reply: _by_key(reply, ids), REFUSALS)


def _note_query(name: str, container: str, asked: dict[str, Any]) -> Deed:
    condition, ids = asked.get("filter"), asked.get("ids")
    if ids is not None and not condition:
        return _note_get(name, container, {**asked, "ids": ids})
    about = points.predicate(str(condition), asked.get("limit"), asked.get("offset"))
    cut = asked.get("limit") is not None or asked.get("offset") is not None
    return Deed(name, 1, _scan, (container, about, _whole(asked), False, cut), _rows, REFUSALS)


def _note_search(name: str, container: str, asked: dict[str, Any]) -> Deed:
    about = points.predicate(*(str(asked.get(each)) for each in ("data", "filter", "limit")))
    return Deed(name, 1, _scan, (container, about, False, True, False), _hits, REFUSALS)


def _note_delete(name: str, container: str, asked: dict[str, Any]) -> Deed:
    ids = asked.get("ids")
    if ids is None or asked.get("filter"):
        return Deed(name, 1, _change, container, _nothing, REFUSALS)
    facts = [_row(container, each) for each in _listed(ids)]
    return Deed(name, len(facts), _deletes, facts, _nothing, REFUSALS)


def _note_drop(name: str, container: str, _asked: dict[str, Any]) -> Deed:
    return Deed(name, 1, _drop, container, _nothing, REFUSALS)


_NOTES: Final = {
    "insert": _note_write, "upsert": _note_write, "get": _note_get, "query": _note_query, "search": _note_search,
    "delete": _note_delete, "drop_collection": _note_drop,
}  # fmt: skip


# -- what is kept of a reply ---------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _written(reply: Any) -> list[Any]:
    return list(reply.get("ids") or reply.get("primary_keys") or ())


def _by_key(reply: Sequence[Mapping[str, Any]], ids: Sequence[Any]) -> dict[str, Pieces]:
    """Rows by their keys, which stand in the field that holds one of `ids`."""
    found: dict[str, Pieces] = {}
    for row in reply:
        names = [name for name in (KEY, *row) if name in row and row[name] in ids]
        if names:
            found[str(row[names[0]])] = _pieces(row, names[0])
    return found


def _rows(reply: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Pieces]]:
    return [(each.get(KEY), _pieces(each)) for each in reply[:MANY]]


def _hits(reply: Sequence[Sequence[Any]]) -> list[tuple[Any, Pieces]]:
    return [(each.get(KEY), {}) for hits in reply for each in hits[:MANY]]


# -- in the drain --------------------------------------------------------------------------------------------------


def _writes(deed: Deed) -> list[Access]:
    container, facts, whole = deed.facts
    keys = deed.reply if deed.reply and len(deed.reply) == len(facts) else [key for key, _ in facts]
    mode = WriteMode.INSERT if deed.name == "insert" else None
    accesses = []
    for key, (_, made) in zip(keys, facts, strict=True):
        if key is None:
            accesses.append(points.changed(container, SYSTEM))
        else:
            accesses.append(points.write(_row(container, key), SYSTEM, made, whole=whole, mode=mode))
    return accesses


def _reads(deed: Deed) -> list[Access]:
    container, ids, whole = deed.facts
    found: Mapping[str, Pieces | None] = {str(each): {} for each in ids} if deed.reply is None else deed.reply
    return [points.read(_row(container, each), SYSTEM, found.get(str(each)), whole=whole) for each in ids]


def _scan(deed: Deed) -> list[Access]:
    container, about, whole, likeness, cut = deed.facts
    rows = deed.reply or ()
    found = [(_row(container, key), each) for key, each in rows if key is not None]
    cut = cut or len(found) < len(rows) or len(rows) >= MANY
    return [points.scan(container, SYSTEM, about, found, whole=whole, approximate=likeness, cut=cut)]


def _deletes(deed: Deed) -> list[Access]:
    return [points.delete(resource, SYSTEM) for resource in deed.facts]


def _change(deed: Deed) -> list[Access]:
    return [points.changed(deed.facts, SYSTEM)]


def _drop(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, deed.facts, SYSTEM)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
