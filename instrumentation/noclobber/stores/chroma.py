"""Chroma: a collection's records by id, over any client (ephemeral, persistent, HTTP, asyncio).

Methods of `Collection` and `AsyncCollection` are wrapped. A collection's uuid names it in every process and is never
given again. Records are merged: `update` and `upsert` change the text, and of the metadata the keys that they are
given, so those are the parts of such a write. Chroma says of no write whether it did anything. `add` leaves a record
that is there as it is, so its outcome is `unknown`: nothing rests on it until somebody reads what it made.

Source: chromadb/api/models/Collection.py (1.5); capture.md section 2.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import Attr, Guard, Outcome, WriteMode
from noclobber.resources import quoted, uri
from noclobber.stores import points
from noclobber.stores.deeds import Deed, Note, recorded, recorded_async
from noclobber.stores.points import Pieces
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "chromadb"
SYSTEM: Final = "chroma"
REFUSALS: Final = (
    "ValueError", "TypeError", "InvalidArgumentError", "InvalidDimensionException", "DuplicateIDError",
    "IDAlreadyExistsError", "NotFoundError", "InvalidCollectionException",
)  # fmt: skip
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "add": ("ids", "embeddings", "metadatas", "documents", "images", "uris"),
    "update": ("ids", "embeddings", "metadatas", "documents", "images", "uris"),
    "upsert": ("ids", "embeddings", "metadatas", "documents", "images", "uris"),
    "get": ("ids", "where", "limit", "offset", "where_document", "include"),
    "query": (
        "query_embeddings", "query_texts", "query_images", "query_uris", "ids", "n_results", "where", "where_document",
        "include",
    ),
    "delete": ("ids", "where", "where_document"),
}  # fmt: skip
_NARROWING: Final = ("where", "where_document", "limit", "offset")
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap the methods that touch records."""
    from chromadb.api.models.AsyncCollection import AsyncCollection
    from chromadb.api.models.Collection import Collection

    hooks: list[Hook] = [(Collection, name, recorded(LIBRARY, _noting(name))) for name in _ORDER]
    hooks += [(AsyncCollection, name, recorded_async(LIBRARY, _noting(name))) for name in _ORDER]
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- at the call ---------------------------------------------------------------------------------------------------


def _noting(name: str) -> Note:
    def note(collection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        asked = {**dict(zip(_ORDER[name], args, strict=False)), **kwargs}
        return _NOTES[name](name, _place(collection), asked)

    return note


def _place(collection: Any) -> str:
    return uri("chroma", collection.tenant, collection.database, str(collection.id)) + "/"


def _one(place: str, identifier: str) -> str:
    return place + quoted(identifier)


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, str) else list(given)


def _note_write(name: str, place: str, asked: dict[str, Any]) -> Deed:
    ids = _listed(asked["ids"])
    metadatas, documents, uris = asked.get("metadatas"), asked.get("documents"), asked.get("uris")
    metadatas = [metadatas] if isinstance(metadatas, Mapping) else metadatas
    vectors = asked.get("embeddings")
    if vectors is not None and len(vectors) and not hasattr(vectors[0], "__len__"):
        vectors = [vectors]
    given = []
    for number, identifier in enumerate(ids):
        fields = metadatas[number] if metadatas is not None else None
        text = (_listed(documents) if documents is not None else _listed(uris))[number] if documents or uris else None
        vector = vectors[number] if vectors is not None else None
        given.append((_one(place, identifier), points.pieces(fields, "metadata", text, vector)))
    return Deed(name, len(given), _writes, given, _nothing, REFUSALS)


def _note_get(name: str, place: str, asked: dict[str, Any]) -> Deed:
    include = tuple(asked.get("include") or ("metadatas", "documents"))
    whole = "metadatas" in include and "documents" in include
    narrowed = any(asked.get(each) is not None for each in _NARROWING)
    if asked.get("ids") is not None and not narrowed:
        ids = _listed(asked["ids"])
        facts = [(identifier, _one(place, identifier)) for identifier in ids]
        return Deed(name, len(ids), _reads, (facts, whole), _found, REFUSALS)
    everything = not narrowed
    about = "*" if everything else points.predicate(*(asked.get(each) for each in (*_NARROWING, "ids")))
    cut = asked.get("limit") is not None or asked.get("offset") is not None
    return Deed(name, 1, _scan, (place, about, whole, False, cut), _found, REFUSALS)


def _note_query(name: str, place: str, asked: dict[str, Any]) -> Deed:
    include = tuple(asked.get("include") or ("metadatas", "documents", "distances"))
    whole = "metadatas" in include and "documents" in include
    about = points.predicate(*(asked.get(each) for each in _ORDER["query"][:-1]))
    return Deed(name, 1, _scan, (place, about, whole, True, False), _found_by_likeness, REFUSALS)


def _note_delete(name: str, place: str, asked: dict[str, Any]) -> Deed:
    ids = asked.get("ids")
    if ids is None or any(asked.get(each) is not None for each in _NARROWING):
        return Deed(name, 1, _change, place, _nothing, REFUSALS)
    facts = [_one(place, identifier) for identifier in _listed(ids)]
    return Deed(name, len(facts), _deletes, facts, _nothing, REFUSALS)


_NOTES: Final = {
    "add": _note_write, "update": _note_write, "upsert": _note_write,
    "get": _note_get, "query": _note_query, "delete": _note_delete,
}  # fmt: skip


# -- what is kept of a reply ---------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _found(reply: Any) -> dict[str, Pieces]:
    """Id -> what was given of it."""
    return _records(reply["ids"], reply.get("metadatas"), reply.get("documents"), reply.get("uris"))


def _found_by_likeness(reply: Any) -> dict[str, Pieces]:
    found: dict[str, Pieces] = {}
    for number, ids in enumerate(reply["ids"]):
        columns = (reply.get(each) for each in ("metadatas", "documents", "uris"))
        found |= _records(ids, *(column[number] if column is not None else None for column in columns))
    return found


def _records(
    ids: Sequence[str], metadatas: Sequence[Any] | None, documents: Sequence[Any] | None, uris: Sequence[Any] | None
) -> dict[str, Pieces]:
    found: dict[str, Pieces] = {}
    for number, identifier in enumerate(ids):
        fields, text, place = (
            column[number] if column is not None else None for column in (metadatas, documents, uris)
        )
        found[identifier] = points.pieces(fields, "metadata", text if text is not None else place)
    return found


# -- in the drain --------------------------------------------------------------------------------------------------


def _writes(deed: Deed) -> list[Access]:
    mode = WriteMode.INSERT if deed.name == "add" else None
    accesses = []
    for resource, given in deed.facts:
        access = points.write(resource, SYSTEM, given, whole=deed.name == "add", mode=mode)
        if deed.name == "add":
            access.attributes[Attr.GUARD] = Guard.UNIQUE
            access.outcome = Outcome.UNKNOWN
        accesses.append(access)
    return accesses


def _reads(deed: Deed) -> list[Access]:
    facts, whole = deed.facts
    if deed.reply is None:
        return [points.read(resource, SYSTEM, {}, whole=whole) for _, resource in facts]
    return [points.read(resource, SYSTEM, deed.reply.get(identifier), whole=whole) for identifier, resource in facts]


def _scan(deed: Deed) -> list[Access]:
    place, about, whole, approximate, cut = deed.facts
    found = [(_one(place, identifier), each) for identifier, each in (deed.reply or {}).items()]
    return [points.scan(place, SYSTEM, about, found, whole=whole, approximate=approximate, cut=cut)]


def _deletes(deed: Deed) -> list[Access]:
    return [points.delete(resource, SYSTEM) for resource in deed.facts]


def _change(deed: Deed) -> list[Access]:
    return [points.changed(deed.facts, SYSTEM)]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
