"""pymongo: documents by `_id`, sync and asyncio, transactions; a cursor's batches as scans.

The methods of `Collection` and `AsyncCollection` are wrapped, since commands as its listeners see them have lost which
call they belong to and carry values. What names a document by its `_id` is told of that document; what selects by
anything else is a scan of the collection, or (a write) a partial update of it. A write that asks for more than the
`_id` and found nothing was refused; without, there was nothing. Writes that are not acknowledged are `unknown`.

`find_one_and_update` and its kin tell what they replaced, where they are asked for the document before.

Source: pymongo/synchronous/collection.py, cursor.py and client_session.py of pymongo 4.20; capture.md section 2.
"""

from types import ModuleType
from typing import Any, Final

from noclobber.access import Access
from noclobber.bootstrap.registry import Integration
from noclobber.contract import ABSENT, Attr, Guard, Op, Outcome, VersionKind, WriteMode
from noclobber.stores import mongodb, points, pymongo_sessions
from noclobber.stores.deeds import Deed, Note, recorded, recorded_async
from noclobber.stores.mongodb import SYSTEM, Asked, Filter
from noclobber.stores.pymongo_bulk import note_bulk, note_insert_many
from noclobber.stores.pymongo_words import REFUSALS, asked_of, inserted, taken_for_there
from noclobber.stores.wrapping import Hook, Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "pymongo"
_wrapping = Wrapping(LIBRARY)


def install(_library: ModuleType) -> None:
    """Wrap collections, cursors and sessions of both kinds."""
    with knowing(LIBRARY):
        from pymongo.asynchronous import client_session as async_session
        from pymongo.asynchronous import collection as async_collection
        from pymongo.asynchronous import cursor as async_cursor
        from pymongo.synchronous import client_session, collection, cursor

        hooks: list[Hook] = []
        for name, note in _NOTES.items():
            noting = pymongo_sessions.in_transaction(_noting(name, note))
            hooks.append((collection.Collection, name, recorded(LIBRARY, noting)))
            hooks.append((async_collection.AsyncCollection, name, recorded_async(LIBRARY, noting)))
        batch = pymongo_sessions.in_transaction(_note_batch)
        hooks.append((cursor.Cursor, "_refresh", recorded(LIBRARY, batch)))
        hooks.append((async_cursor.AsyncCursor, "_refresh", recorded_async(LIBRARY, batch)))
        hooks += pymongo_sessions.hooks(client_session.ClientSession, async_session.AsyncClientSession)
        _wrapping.wrap(hooks)


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


# -- at the call ---------------------------------------------------------------------------------------------------


def _noting(name: str, note: Any) -> Note:
    def noting(collection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deed | None:
        try:
            deed: Deed | None = note(name, mongodb.container_of(collection), asked_of(name, args, kwargs))
        except AttributeError:  # no filter, no document: pymongo will refuse it
            return None
        return deed

    return noting


def _note_find_one(name: str, container: str, asked: dict[str, Any]) -> Deed:
    facts = (Filter.of(container, asked.get("filter")), asked.get("projection") is None)
    return Deed(name, 1, _found_one, facts, _document, REFUSALS)


def _note_batch(cursor: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Deed | None:
    """One batch of what a cursor finds; its documents are taken before the caller gets them."""
    if cursor._data or cursor._killed or cursor._id == 0:
        return None
    about = Filter.of(mongodb.container_of(cursor._collection), cursor._spec)
    cut = cursor._id is not None or bool(cursor._limit) or bool(cursor._skip)
    facts = (about, cursor._projection is None)

    def keep(_reply: Any) -> tuple[list[tuple[str | None, Any]], bool]:
        found = [(about.key_of(each), mongodb.said(each)) for each in cursor._data]
        return found, cut or bool(cursor._id)

    return Deed("find", 1, _found, facts, keep, REFUSALS)


def _note_insert(name: str, container: str, asked: dict[str, Any]) -> Deed:
    document = asked["document"]
    return Deed(name, 1, _inserted, (container, mongodb.said(document), document.get("_id")), _whole, REFUSALS)


def _note_change(name: str, container: str, asked: dict[str, Any]) -> Deed:
    """`update_one`, `replace_one`, `find_one_and_*`: one document."""
    about = Filter.of(container, asked.get("filter"))
    if "replacement" in asked:
        change = Asked(None, whole=mongodb.said(asked["replacement"]))
    else:
        change = mongodb.changes_of(asked["update"])
    finds = name.startswith("find_one_and")
    if about.key is None and not finds:
        return Deed(name, 1, _somewhere, (container, bool(asked.get("upsert"))), _told, REFUSALS)
    facts = (about, change, bool(asked.get("upsert")), asked.get("projection") is None and not _after(asked))
    return Deed(
        name, change.count, _found_and_changed if finds else _changed, facts, _both if finds else _told, REFUSALS
    )


def _after(asked: dict[str, Any]) -> bool:
    return bool(asked.get("return_document"))


def _note_delete(name: str, container: str, asked: dict[str, Any]) -> Deed:
    about = Filter.of(container, asked.get("filter"))
    finds = name == "find_one_and_delete"
    if about.key is None and not finds:
        return Deed(name, 1, _somewhere, (container, False), _told, REFUSALS)
    whole = asked.get("projection") is None
    return Deed(name, 1, _deleted, (about, finds and whole), _both if finds else _told, REFUSALS)


def _note_many(name: str, container: str, asked: dict[str, Any]) -> Deed:
    about = Filter.of(container, asked.get("filter"))
    if about.key is not None:
        return _note_delete(name, container, asked) if name == "delete_many" else _note_change(name, container, asked)
    return Deed(name, 1, _somewhere, (container, bool(asked.get("upsert"))), _told, REFUSALS)


def _note_drop(name: str, container: str, _asked: dict[str, Any]) -> Deed:
    return Deed(name, 1, _dropped, container, _nothing, REFUSALS)


_NOTES: Final = {
    "find_one": _note_find_one, "insert_one": _note_insert, "insert_many": note_insert_many,
    "update_one": _note_change, "replace_one": _note_change, "find_one_and_update": _note_change,
    "find_one_and_replace": _note_change, "update_many": _note_many, "delete_one": _note_delete,
    "find_one_and_delete": _note_delete, "delete_many": _note_many, "bulk_write": note_bulk, "drop": _note_drop,
}  # fmt: skip


# -- what is kept of a reply ---------------------------------------------------------------------------------------


def _nothing(_reply: Any) -> None:
    return None


def _document(reply: Any) -> tuple[Any, dict[str, Any]] | None:
    """A document's `_id` (in a mapping, if it is there) and what it says."""
    if reply is None:
        return None
    return {name: reply[name] for name in ("_id",) if name in reply}, mongodb.said(reply)


def _both(reply: Any) -> tuple[bool | None, Any]:
    return reply is not None, _document(reply)


def _whole(reply: Any) -> tuple[bool, Any]:
    return bool(reply.acknowledged), reply.inserted_id


def _told(reply: Any) -> tuple[bool | None, Any]:
    """Whether something was found (None: nobody said), and the `_id` of what was made."""
    if not reply.acknowledged:
        return None, None
    if hasattr(reply, "deleted_count"):
        return reply.deleted_count > 0, None
    return reply.matched_count > 0, reply.upserted_id


# -- in the drain --------------------------------------------------------------------------------------------------


def _found_one(deed: Deed) -> list[Access]:
    about, whole = deed.facts
    if about.key is None:
        found = [] if deed.reply is None else [(about.key_of(deed.reply[0]), deed.reply[1])]
        return [_scan(about, found, whole=whole, cut=bool(found))]
    return [_read(deed, about, deed.reply and deed.reply[1], whole=whole)]


def _found(deed: Deed) -> list[Access]:
    about, whole = deed.facts
    found, cut = deed.reply or ([], False)
    if about.key is None:
        return [_scan(about, found, whole=whole, cut=cut)]
    return [_read(deed, about, found[0][1] if found else None, whole=whole)]


def _read(deed: Deed, about: Filter, document: Any, *, whole: bool) -> Access:
    if deed.error is not None or (document is None and about.guards):  # it may be there, and not as was asked
        outcome = Outcome.ERROR if deed.error is not None else Outcome.NOT_FOUND
        return Access(Op.READ, about.key or about.container, SYSTEM, outcome, remembered=False)
    access = points.read(about.key or about.container, SYSTEM, document, whole=whole)
    if document is not None and whole:
        mongodb.saw(access.resource, document)
    return access


def _scan(about: Filter, found: Any, *, whole: bool, cut: bool) -> Access:
    members = [(resource, document) for resource, document in found if resource is not None]
    for resource, document in members if whole else ():
        mongodb.saw(resource, document)
    cut = cut or len(members) < len(found)
    return points.scan(about.container, SYSTEM, about.about, members, whole=whole, approximate=False, cut=cut)


def _inserted(deed: Deed) -> list[Access]:
    container, document, identifier = deed.facts
    acknowledged, made = deed.reply or (True, None)
    access = inserted(container, document, made if identifier is None else identifier)
    taken_for_there(access, deed.error)
    if not acknowledged:
        access.outcome = Outcome.UNKNOWN
    return [access]


def _changed(deed: Deed) -> list[Access]:
    about, change, upsert, _ = deed.facts
    accesses = accesses_of(about.key, change)
    matched, made = deed.reply or (True, None)
    for access in accesses:
        _conclude(access, about, matched, inserting=made is not None or (upsert and matched is False))
    return accesses


def accesses_of(resource: str, change: Asked) -> list[Access]:
    """What one change is, without its outcome."""
    if change.whole is not None:
        return [mongodb.write(resource, change.whole, whole=True)]
    accesses = [mongodb.write(resource, change.sets, whole=False)] if change.sets else []
    if change.opaque or change.computes:
        accesses.append(mongodb.update(resource, change))
    return accesses


def _conclude(access: Access, about: Filter, matched: bool | None, *, inserting: bool = False) -> None:
    """How a change ended, by whether the filter found something."""
    if inserting:
        access.attributes[Attr.GUARD] = Guard.UNIQUE
        access.attributes[Attr.WRITE_MODE] = WriteMode.INSERT
        return
    mongodb.guard(access, about)
    if matched is None:
        access.outcome = Outcome.UNKNOWN
    elif not matched:
        access.outcome = Outcome.REJECTED if about.guards else Outcome.NO_EFFECT


def _found_and_changed(deed: Deed) -> list[Access]:
    about, change, upsert, before = deed.facts
    found, document = deed.reply or (True, None)
    resource = about.key if document is None else about.key_of(document[0])
    accesses = accesses_of(resource or about.container, change)
    for access in accesses:
        _conclude(access, about, found, inserting=not found and upsert)
        if resource is None or access.resource == about.container:
            access.attributes[Attr.PARTIAL] = True
        elif document is not None and before:
            mongodb.overwrote(access, document[1])
    return accesses


def _deleted(deed: Deed) -> list[Access]:
    about, tells = deed.facts
    matched, document = deed.reply or (True, None)
    resource = about.key if document is None else about.key_of(document[0])
    if resource is None:  # none fitted, or it is not told which did
        access = points.changed(about.container, SYSTEM)
        access.outcome = Outcome.OK if matched else Outcome.NO_EFFECT
        return [access]
    access = points.delete(resource, SYSTEM)
    _conclude(access, about, matched)
    if tells and document is not None:
        mongodb.overwrote(access, document[1])
    return [access]


def _somewhere(deed: Deed) -> list[Access]:
    """A change of what a filter selects: of some documents of the collection, nobody can say which."""
    container, upsert = deed.facts
    access = points.changed(container, SYSTEM)
    matched, _ = deed.reply or (True, None)
    if matched is False and not upsert:
        access.outcome = Outcome.NO_EFFECT
    elif matched is None:
        access.outcome = Outcome.UNKNOWN
    return [access]


def _dropped(deed: Deed) -> list[Access]:
    access = Access(Op.DELETE, deed.facts, SYSTEM)
    access.attributes |= {Attr.VERSION_KIND: VersionKind.FINGERPRINT, Attr.VERSION_WRITTEN: ABSENT}
    return [access]


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
