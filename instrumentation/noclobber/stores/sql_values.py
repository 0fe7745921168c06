"""Values of SQL rows and parameters: how they are kept, how they name a row, how they become prints.

A value that the caller may change after the call (a list, a dictionary, a driver's wrapper of one) is turned into its
bytes at once; everything else waits for the drain as it is. A row's columns are printed one by one, so that a later
write of one of them finds its base. NULL prints as something that no text is.

Source: contract, `noclobber.version.*`; capture.md, section 2.1.
"""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from noclobber.versions import (
    HELD_MAX,
    encode,
    fingerprint,
    fingerprint_parts,
    is_numeric,
    is_weak,
    shortened,
    size_of,
)  # fmt: skip

__all__ = ["Kept", "State", "kept_all", "kept_row", "name_of_key", "print_of", "state"]

IMMUTABLE: Final = frozenset(
    {
        int, str, bytes, float, bool, type(None), Decimal, uuid.UUID, dt.datetime, dt.date, dt.time,
        dt.timedelta,
    }
)  # fmt: skip
_FIXED: Final = IMMUTABLE - {str, bytes}
"""Kinds of values that are never too long to wait."""
NULL: Final = b"\x00NULL"


@dataclass(frozen=True, slots=True)
class Kept:
    """The bytes of a value that could have changed since."""

    data: bytes


def kept_row(row: Sequence[Any]) -> tuple[Any, ...]:
    """A row as it is now, whatever its owner does to it later."""
    if _FIXED.issuperset(map(type, row)):
        return tuple(row)
    if IMMUTABLE.issuperset(map(type, row)) and not any(map(_is_long, row)):
        return tuple(row)
    return tuple(value if _may_wait(value) else Kept(shortened(_bytes(value))) for value in row)


def _is_long(value: Any) -> bool:
    """Whether it is too long to wait for the drain as it is."""
    kind = type(value)
    return (kind is str or kind is bytes) and len(value) > HELD_MAX


def _may_wait(value: Any) -> bool:
    return type(value) in IMMUTABLE and not _is_long(value)


def kept_all(parameters: Any) -> Any:
    """Parameters as they are now: a mapping stays one, a sequence becomes a tuple; lists of key values stay lists."""
    if type(parameters) is not tuple and isinstance(parameters, Mapping):
        if all(map(_may_wait, parameters.values())):
            return dict(parameters)
        return {name: _kept_parameter(value) for name, value in parameters.items()}
    if _FIXED.issuperset(map(type, parameters)) or all(map(_may_wait, parameters)):
        return tuple(parameters)
    return tuple(map(_kept_parameter, parameters))


def _kept_parameter(value: Any) -> Any:
    if _may_wait(value):
        return value
    if type(value) in (list, tuple) and IMMUTABLE.issuperset(map(type, value)):
        return tuple(value)
    return Kept(shortened(_bytes(value)))


def _bytes(value: Any) -> bytes:
    kind = type(value)
    if kind is str or kind is int:  # nearly all
        return encode(value)
    if isinstance(value, Kept):
        return value.data
    if value is None:
        return NULL
    wrapped = getattr(value, "obj", None)  # psycopg's Json and Jsonb, whose repr is cut short
    if wrapped is not None and type(value).__name__ in ("Json", "Jsonb"):
        return encode(wrapped)
    if isinstance(value, uuid.UUID):
        return str(value).encode()
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat().encode()
    return encode(value)


def name_of_key(value: Any) -> str:
    """A key column's value as it stands in a resource name."""
    if type(value) is int:
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return _bytes(value).decode("utf-8", "backslashreplace")


def print_of(value: Any) -> str:
    """Keyed print of one column's value."""
    return fingerprint(_bytes(value))


@dataclass(slots=True)
class State:
    """What some columns of one row hold; never changed.

    Attributes:
        version: print of all of them. parts: print of each.
        size: bytes. weak: whether the print is too common to name one state. numeric: one value, a number.
    """

    version: str
    parts: dict[str, str]
    size: int
    weak: bool
    numeric: bool


def state(values: Mapping[str, Any]) -> State:
    """The state of columns, by name; at least one."""
    if len(values) == 1:
        ((name, value),) = values.items()
        data = _bytes(value)
        version = fingerprint(data)
        return State(
            version,
            {name: version},
            0 if data == NULL else size_of(data),
            data == NULL or is_weak(data),
            is_numeric(data),
        )
    encoded = {name: _bytes(value) for name, value in values.items()}
    parts = {name: fingerprint(data) for name, data in encoded.items()}
    version = fingerprint_parts(parts)
    weak = all(data == NULL or is_weak(data) for data in encoded.values())
    size = sum(size_of(data) for data in encoded.values() if data != NULL)
    return State(version, parts, size, weak, numeric=False)
