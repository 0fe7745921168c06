"""What pymongo's methods are called with, and what all of its inserts share."""

from typing import Any, Final

from noclobber.access import Access
from noclobber.contract import Attr, Guard, Outcome, WriteMode
from noclobber.resources import quoted
from noclobber.stores import mongodb, points

__all__ = ["DUPLICATE", "REFUSALS", "asked_of", "inserted", "taken_for_there"]

DUPLICATE: Final = 11000
REFUSALS: Final = (
    "OperationFailure", "WriteError", "DuplicateKeyError", "InvalidDocument", "InvalidName", "InvalidOperation",
    "ConfigurationError", "DocumentTooLarge", "TypeError", "ValueError", "BulkWriteError",
)  # fmt: skip
"""Errors that say that nothing was done, or (of many) what was."""
_ORDER: Final[dict[str, tuple[str, ...]]] = {
    "find_one": ("filter", "projection"),
    "insert_one": ("document",),
    "insert_many": ("documents", "ordered"),
    "update_one": ("filter", "update", "upsert"),
    "update_many": ("filter", "update", "upsert"),
    "replace_one": ("filter", "replacement", "upsert"),
    "find_one_and_update": ("filter", "update", "projection", "sort", "upsert", "return_document"),
    "find_one_and_replace": ("filter", "replacement", "projection", "sort", "upsert", "return_document"),
    "find_one_and_delete": ("filter", "projection"),
    "delete_one": ("filter",),
    "delete_many": ("filter",),
    "bulk_write": ("requests", "ordered"),
    "drop": (),
}


def asked_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by name."""
    return {**dict(zip(_ORDER[name], args, strict=False)), **kwargs}


def inserted(container: str, document: Any, identifier: Any) -> Access:
    """A document that was made, by its `_id` where that is known."""
    if identifier is None:
        return points.changed(container, mongodb.SYSTEM)
    resource = container + quoted(mongodb.name_of(identifier))
    access = mongodb.write(resource, document, whole=True, mode=WriteMode.INSERT)
    access.attributes[Attr.GUARD] = Guard.UNIQUE
    return access


def taken_for_there(access: Access, error: BaseException | None) -> None:
    """An insert of what is there already is refused."""
    if getattr(error, "code", None) == DUPLICATE:
        access.outcome = Outcome.REJECTED
