"""pymongo's `insert_many` and `bulk_write`: one access a document, ended as far as the one answer for all tells.

Where all that were to be found were found, each was applied. Where fewer were, nobody can say which: those with a
guard are `unknown`, the others partial. Of a batch that failed, the errors name their places; in an ordered one what
comes after the first was not tried.

Source: pymongo/results.py, `BulkWriteError.details`.
"""

from typing import Any, Final

from noclobber.access import Access
from noclobber.contract import Attr, Op, Outcome
from noclobber.stores import mongodb, points
from noclobber.stores.deeds import Deed
from noclobber.stores.mongodb import SYSTEM, Asked, Filter
from noclobber.stores.pymongo_words import DUPLICATE, REFUSALS, inserted

__all__ = ["note_bulk", "note_insert_many"]

MANY_MAX: Final = 1000
"""Requests that are told one by one; more are told together, in part."""
Request = tuple[str, Any, Any, bool]
"""Kind, filter, what is made of it, whether it makes what is not there."""


def note_insert_many(name: str, container: str, asked: dict[str, Any]) -> Deed:
    """`insert_many`; an iterator is left alone, and told in part."""
    documents = asked["documents"]
    if not isinstance(documents, list | tuple) or not 0 < len(documents) <= MANY_MAX:
        return Deed(name, 1, _opaque, container, _nothing)
    requests: list[Request] = [("insert", each, mongodb.said(each), False) for each in documents]
    return _deed(name, container, requests, ordered=bool(asked.get("ordered", True)))


def note_bulk(name: str, container: str, asked: dict[str, Any]) -> Deed:
    """`bulk_write`."""
    given = asked["requests"]
    if not isinstance(given, list | tuple) or not 0 < len(given) <= MANY_MAX:
        return Deed(name, 1, _opaque, container, _nothing)
    requests = [_request(container, each) for each in given]
    return _deed(name, container, requests, ordered=bool(asked.get("ordered", True)))


def _deed(name: str, container: str, requests: list[Request], *, ordered: bool) -> Deed:
    count = sum(made.count if kind == "change" and isinstance(made, Asked) else 1 for kind, _, made, _ in requests)
    return Deed(name, count, _all, (container, requests, ordered), _counts, REFUSALS)


def _request(container: str, asked: Any) -> Request:
    kind = type(asked).__name__
    if kind == "InsertOne":
        return "insert", asked._doc, mongodb.said(asked._doc), False
    about = Filter.of(container, asked._filter)
    if about.key is None or kind not in ("UpdateOne", "ReplaceOne", "DeleteOne"):
        return "some", about, None, bool(getattr(asked, "_upsert", False))
    if kind == "DeleteOne":
        return "delete", about, None, False
    whole = Asked(None, whole=mongodb.said(asked._doc)) if kind == "ReplaceOne" else None
    return "change", about, whole or mongodb.changes_of(asked._doc), bool(asked._upsert)


def _nothing(_reply: Any) -> None:
    return None


def _counts(reply: Any) -> tuple[int, int] | None:
    """How many changes and how many deletions found something; None where nobody said."""
    if not reply.acknowledged:
        return None
    return getattr(reply, "matched_count", 0), getattr(reply, "deleted_count", 0)


# -- in the drain --------------------------------------------------------------------------------------------------


def _opaque(deed: Deed) -> list[Access]:
    return [points.changed(deed.facts, SYSTEM)]


def _all(deed: Deed) -> list[Access]:
    container, requests, ordered = deed.facts
    failed = _failures(deed.error)
    changes = sum(kind == "change" for kind, *_ in requests)
    deletions = sum(kind == "delete" for kind, *_ in requests)
    matched, deleted = deed.reply or (changes, deletions)
    sure = {"change": matched >= changes, "delete": deleted >= deletions, "insert": True, "some": True}
    accesses: list[Access] = []
    for at, request in enumerate(requests):
        for access in _one(container, request):
            accesses.append(access)
            ended = _ended(at, failed, ordered=ordered)
            if deed.error is None and deed.reply is None:
                access.outcome = Outcome.UNKNOWN
            elif ended is not None:
                access.outcome = ended
            elif deed.error is not None or not sure[request[0]] or request[3]:
                _unsure(access, request)
    return accesses


def _one(container: str, request: Request) -> list[Access]:
    kind, about, made, _ = request
    if kind == "insert":
        return [inserted(container, made, about.get("_id"))]  # pymongo has given it one by now
    if kind == "some":
        return [points.changed(container, SYSTEM)]
    if kind == "delete":
        accesses = [points.delete(about.key, SYSTEM)]
    elif made.whole is not None:
        accesses = [mongodb.write(about.key, made.whole, whole=True)]
    else:
        accesses = [mongodb.write(about.key, made.sets, whole=False)] if made.sets else []
        accesses += [mongodb.update(about.key, made)] if made.opaque or made.computes else []
    for access in accesses:
        mongodb.guard(access, about)
    return accesses


def _failures(error: BaseException | None) -> dict[int, int]:
    """Place of each request that failed, and its code."""
    details = getattr(error, "details", None)
    errors = details.get("writeErrors") if isinstance(details, dict) else None
    return {each.get("index", -1): each.get("code", 0) for each in errors or ()}


def _ended(at: int, failed: dict[int, int], *, ordered: bool) -> Outcome | None:
    if at in failed:
        return Outcome.REJECTED if failed[at] == DUPLICATE else Outcome.ERROR
    return Outcome.ERROR if ordered and failed and at > min(failed) else None


def _unsure(access: Access, request: Request) -> None:
    kind, about, *_ = request
    if kind in ("change", "delete") and about.guards:
        access.outcome = Outcome.UNKNOWN
    elif access.op is not Op.SCAN:
        access.attributes[Attr.PARTIAL] = True
