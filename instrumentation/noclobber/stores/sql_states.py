"""What a row holds, as versions and prints on an access.

A row with a version column has that number as its version, for the whole of it; other rows have prints of the columns
that a statement names, one by one, so that a later write of one of them finds its base.

Source: contract, `noclobber.version.*`, `noclobber.content.*`; capture.md, section 2.1.
"""

from collections.abc import Sequence
from typing import Any

from noclobber.access import Access, AttributeValue
from noclobber.contract import Attr, VersionKind
from noclobber.stores.sql_statement import Statement
from noclobber.stores.sql_tables import Table
from noclobber.stores.sql_values import Kept, State, name_of_key, print_of, state

__all__ = ["number_of", "put_inserted", "put_read", "put_updated", "state_of"]


def put_read(access: Access, table: Table, values: dict[str, Any]) -> None:
    """Put the state of a row that was read on `access`."""
    content = table.content(values)
    if _put_number(access, table, values, (Attr.VERSION_READ, Attr.CONTENT_READ)):
        return
    columns = content or tuple(sorted(values))
    found = state_of(values, columns)
    access.part = () if table.is_whole(content) and table.version is None else columns
    access.part_versions = found.parts
    access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    access.attributes[Attr.VERSION_READ] = found.version
    if found.weak:
        access.attributes[Attr.VERSION_WEAK] = True
    _put_facts(access.attributes, found)


def put_inserted(access: Access, table: Table, values: dict[str, Any], *, whole: bool) -> None:
    """Put the state of a new row on `access`."""
    content, attributes = table.content(values), access.attributes
    if _put_number(access, table, values, (Attr.VERSION_WRITTEN, Attr.CONTENT_WRITTEN)):
        return
    attributes[Attr.VERSION_KIND] = table.version_kind if table.version else VersionKind.FINGERPRINT
    if table.version is not None or not content:
        return
    found = state_of(values, content)
    if whole and (table.columns is None or table.is_whole(content)):
        attributes[Attr.VERSION_WRITTEN] = found.version
        if found.weak:
            attributes[Attr.VERSION_WEAK] = True
    access.part_versions = found.parts
    _put_facts(attributes, found)


def put_updated(
    access: Access, statement: Statement, given: dict[str, Any], *, values_only: bool,
    reply: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Put the columns that an UPDATE gives new values on `access`."""
    table, attributes = statement.plan.table, access.attributes
    content = table.content(given)
    if any(each.column == table.version for each in statement.plan.sets):
        attributes[Attr.VERSION_KIND] = table.version_kind
        _put_number(access, table, given, (Attr.VERSION_WRITTEN, Attr.CONTENT_WRITTEN))
        return
    others = tuple(sorted(each.column for each in statement.plan.sets))
    access.part = () if table.is_whole(content) and table.version is None else content or others
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    if not content or not values_only:
        return
    answered = reply is not None and all(column in reply for column in content)
    found = state_of(reply if answered and reply is not None else given, content)
    attributes[Attr.VERSION_WRITTEN] = found.version
    if found.weak:
        attributes[Attr.VERSION_WEAK] = True
    access.part_versions = found.parts
    _put_facts(attributes, found, request=not answered)


def number_of(table: Table, values: dict[str, Any]) -> tuple[VersionKind, str] | None:
    """Kind and value of the version column in a row, None where there is none."""
    if table.version is None or values.get(table.version) is None:
        return None
    value = values[table.version]
    if type(value) is int and value >= 0:
        return table.version_kind, str(value)
    return VersionKind.CHAIN, print_of(value) if isinstance(value, Kept) else name_of_key(value)


def _put_number(access: Access, table: Table, values: dict[str, Any], names: tuple[str, str]) -> bool:
    """Put a version column's number on `access`, if there is one; `names`: attributes for it and for the content.

    The number is the whole row's, so there is no part; the content goes along only if it is all of it.
    """
    number = number_of(table, values)
    if number is None:
        return False
    attributes = access.attributes
    attributes[Attr.VERSION_KIND], attributes[names[0]] = number
    content = table.content(values)
    if content and table.is_whole(content):
        found = state_of(values, content)
        attributes[names[1]] = found.version
        _put_facts(attributes, found)
    return True


def state_of(values: dict[str, Any], columns: Sequence[str]) -> State:
    """The state of some columns of a row; at least one."""
    return state({column: values[column] for column in columns})


def _put_facts(attributes: dict[str, AttributeValue], found: State, *, request: bool = True) -> None:
    attributes[Attr.SIZE] = found.size
    if found.numeric:
        attributes[Attr.CONTENT_NUMERIC] = True
    if request:
        attributes[Attr.VERSION_VERBATIM] = False
