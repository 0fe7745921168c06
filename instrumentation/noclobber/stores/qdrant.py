"""Qdrant: a collection's points by id, over `QdrantClient` and `AsyncQdrantClient`, embedded or with a server.

`upsert` and `overwrite_payload` replace what a point says, `set_payload` merges the keys that it is given. A write that
does not wait for the server (`wait=False`), or is given a condition (`update_filter`, `update_mode`), returns without
saying whether it was applied: that is `unknown`, and nothing rests on it until somebody reads what it made.

An embedded database is its folder; one in memory belongs to its process.

Source: qdrant_client/qdrant_client.py (1.20); capture.md section 2.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from noclobber import strands
from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind
from noclobber.resources import authority, host_name, quoted, uri
from noclobber.stores import points
from noclobber.stores.deeds import Deed, Note, recorded, recorded_async
from noclobber.stores.points import Pieces
from noclobber.stores.wrapping import Hook, Wrapping

__all__ = ["INTEGRATION"]

LIBRARY: Final = "qdrant_client"
SYSTEM: Final = "qdrant"
PORT: Final = 6333
REFUSALS: Final = ("ValueError", "TypeError", "AssertionError", "ValidationError")
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "upsert": ("points",),
    "retrieve": ("ids", "with_payload", "with_vectors"),
    "scroll": ("scroll_filter", "limit", "order_by", "offset", "with_payload", "with_vectors"),
    "query_points": ("query", "using", "prefetch", "query_filter", "search_params", "limit", "offset", "with_payload"),
    "set_payload": ("payload", "points", "key"),
    "overwrite_payload": ("payload", "points"),
    "delete_payload": ("keys", "points"),
    "clear_payload": ("points_selector",),
    "update_vectors": ("points",),
    "delete": ("points_selector",),
    "batch_update_points": (),
    "upload_points": (),
    "upload_collection": (),
    "delete_collection": (),
}
"""What follows the collection's name in each method."""
_ONLY_PLAIN: Final = frozenset({"upload_points", "upload_collection"})
"""Not coroutines in the asyncio client."""
_wrapping = Wrapping(LIBRARY)
_in_memory = itertools.count(1)


def install(library: ModuleType) -> None:
    """Wrap the methods that touch points."""
    hooks: list[Hook] = []
    for name in _ORDER:
        hooks.append((library.QdrantClient, name, recorded(LIBRARY, _noting(name))))
        way = recorded if name in _ONLY_PLAIN else recorded_async
        hooks.append((library.AsyncQdrantClient, name, way(LIBRARY, _noting(name))))
    _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- names ---------------------------------------------------------------------------------------------------------


def _container(client: Any, collection: str) -> str:
    return f"{_place(client._client)}/{quoted(str(collection))}/"


def _place(inner: Any) -> str:
    known = inner.__dict__.get("_noclobber_place")
    if known is None:
        known = inner.__dict__["_noclobber_place"] = _named(inner)
    return str(known)


def _named(inner: Any) -> str:
    location = getattr(inner, "location", None)
    if location is None:
        server = urlsplit(inner.rest_uri)
        return f"qdrant://{authority(server.hostname, server.port, PORT)}"
    if location == ":memory:":
        return uri("qdrant", "memory", strands.process_id(), str(next(_in_memory)))
    return uri("qdrant", host_name(), *os.path.realpath(location).lstrip("/").split("/"))


def _point(container: str, identifier: Any) -> str:
    return container + quoted(str(identifier))


# -- at the call ---------------------------------------------------------------------------------------------------


def _noting(name: str) -> Note:
    def note(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        asked = {**dict(zip(("collection_name", *_ORDER[name]), args, strict=False)), **kwargs}
        return _NOTES[name](name, _container(client, asked["collection_name"]), asked)

    return note


def _surely(asked: dict[str, Any]) -> bool:
    """Whether a write that returns was applied."""
    conditions = (asked.get("update_filter"), asked.get("update_mode"))
    return asked.get("wait", True) is not False and all(each is None for each in conditions)


def _note_upsert(name: str, container: str, asked: dict[str, Any]) -> Deed:
    given = asked["points"]
    if hasattr(given, "ids"):  # a Batch
        payloads = given.payloads or [None] * len(given.ids)
        rows = list(zip(given.ids, payloads, _vectors(given), strict=True))
    else:
        rows = [(each.id, each.payload, each.vector) for each in given]
    facts = [(_point(container, each[0]), points.pieces(each[1], "payload", None, each[2])) for each in rows]
    guard = None if asked.get("update_filter") is None else points.predicate(str(asked["update_filter"]))
    return Deed(name, len(facts), _writes, (facts, True, _surely(asked), guard), _applied, REFUSALS)


def _vectors(batch: Any) -> Sequence[Any]:
    if isinstance(batch.vectors, Mapping):
        names = list(batch.vectors)
        return [dict(zip(names, each, strict=True)) for each in zip(*batch.vectors.values(), strict=True)]
    return batch.vectors or [None] * len(batch.ids)


def _note_retrieve(name: str, container: str, asked: dict[str, Any]) -> Deed:
    ids = list(asked["ids"])
    payload = asked.get("with_payload", True)
    facts = [(str(each), _point(container, each)) for each in ids]
    return Deed(name, len(ids), _reads, (facts, payload is True, payload is False), _records, REFUSALS)


def _note_scroll(name: str, container: str, asked: dict[str, Any]) -> Deed:
    narrowed = asked.get("scroll_filter")
    about = "*" if narrowed is None else points.predicate(str(narrowed))
    whole = asked.get("with_payload", True) is True
    facts = (container, about, whole, False, asked.get("offset") is not None)
    return Deed(name, 1, _scan, facts, _scrolled, REFUSALS)


def _note_query(name: str, container: str, asked: dict[str, Any]) -> Deed:
    about = points.predicate(*(str(asked.get(each)) for each in _ORDER["query_points"][:-1]))
    whole = asked.get("with_payload", True) is True
    return Deed(name, 1, _scan, (container, about, whole, True, False), _queried, REFUSALS)


def _selected(container: str, selector: Any) -> list[str] | None:
    """The points that are named; None where a condition selects them."""
    named = getattr(selector, "points", selector)
    return [_point(container, each) for each in named] if isinstance(named, list | tuple) else None


def _note_payload(name: str, container: str, asked: dict[str, Any]) -> Deed:
    chosen = _selected(container, asked["points"])
    if chosen is None or asked.get("key") is not None:
        return _note_change(name, container, asked)
    made = points.pieces(asked["payload"], "payload")
    facts = ([(each, made) for each in chosen], name == "overwrite_payload", _surely(asked), None)
    return Deed(name, len(chosen), _writes, facts, _applied, REFUSALS)


def _note_vectors(name: str, container: str, asked: dict[str, Any]) -> Deed:
    facts = [(_point(container, each.id), points.pieces(None, "", None, each.vector)) for each in asked["points"]]
    return Deed(name, len(facts), _writes, (facts, False, _surely(asked), None), _applied, REFUSALS)


def _note_delete(name: str, container: str, asked: dict[str, Any]) -> Deed:
    chosen = _selected(container, asked["points" if name == "delete_payload" else "points_selector"])
    if chosen is None:
        return _note_change(name, container, asked)
    part = tuple(f"payload.{each}" for each in asked.get("keys", ()))
    return Deed(name, len(chosen), _deletes, (chosen, part, _surely(asked)), _applied, REFUSALS)


def _note_clear(name: str, container: str, asked: dict[str, Any]) -> Deed:
    chosen = _selected(container, asked["points_selector"])
    if chosen is None:
        return _note_change(name, container, asked)
    nothing: list[tuple[str, Pieces]] = [(each, {}) for each in chosen]
    return Deed(name, len(chosen), _writes, (nothing, True, _surely(asked), None), _applied, REFUSALS)


def _note_change(name: str, container: str, _asked: dict[str, Any]) -> Deed:
    return Deed(name, 1, _change, container, _nothing, REFUSALS)


_NOTES: Final = {
    "upsert": _note_upsert, "retrieve": _note_retrieve, "scroll": _note_scroll, "query_points": _note_query,
    "set_payload": _note_payload, "overwrite_payload": _note_payload, "delete_payload": _note_delete,
    "clear_payload": _note_clear, "update_vectors": _note_vectors, "delete": _note_delete,
    "batch_update_points": _note_change, "upload_points": _note_change, "upload_collection": _note_change,
    "delete_collection": _note_change,
}  # fmt: skip


# -- what is kept of a reply ---------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _applied(reply: Any) -> bool:
    return str(getattr(reply.status, "value", reply.status)) == "completed"


def _records(reply: Any) -> dict[str, Pieces]:
    return {str(each.id): points.pieces(each.payload, "payload", None, each.vector) for each in reply}


def _scrolled(reply: Any) -> tuple[dict[str, Pieces], bool]:
    found, following = reply
    return _records(found), following is not None


def _queried(reply: Any) -> tuple[dict[str, Pieces], bool]:
    return _records(reply.points), False


# -- in the drain --------------------------------------------------------------------------------------------------


def _writes(deed: Deed) -> list[Access]:
    facts, whole, surely, guard = deed.facts
    accesses = [points.write(resource, SYSTEM, made, whole=whole) for resource, made in facts]
    for access in accesses:
        if guard is not None:
            access.attributes |= {Attr.GUARD: Guard.VERSION, Attr.VERSION_EXPECTED: guard}
        _conclude(deed, access, surely=surely)
    return accesses


def _conclude(deed: Deed, access: Access, *, surely: bool) -> None:
    if deed.error is None and not (surely and deed.reply):
        access.outcome = Outcome.UNKNOWN


def _reads(deed: Deed) -> list[Access]:
    facts, whole, bare = deed.facts
    accesses = []
    for identifier, resource in facts:
        found = {} if deed.reply is None else deed.reply.get(identifier)
        access = points.read(resource, SYSTEM, found, whole=whole)
        access.remembered = not bare or found is None  # without its payload only whether it is there
        accesses.append(access)
    return accesses


def _scan(deed: Deed) -> list[Access]:
    container, about, whole, approximate, cut = deed.facts
    found, more = deed.reply or ({}, False)
    members = [(_point(container, identifier), each) for identifier, each in found.items()]
    return [points.scan(container, SYSTEM, about, members, whole=whole, approximate=approximate, cut=cut or more)]


def _deletes(deed: Deed) -> list[Access]:
    chosen, part, surely = deed.facts
    accesses = [points.delete(resource, SYSTEM, part) for resource in chosen]
    for access in accesses:
        _conclude(deed, access, surely=surely)
    return accesses


def _change(deed: Deed) -> list[Access]:
    if deed.name != "delete_collection":
        return [points.changed(deed.facts, SYSTEM)]
    access = Access(Op.DELETE, deed.facts, SYSTEM)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
