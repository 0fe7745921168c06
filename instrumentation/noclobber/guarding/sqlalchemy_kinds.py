"""Which values a database gives back exactly as it got them, and compares as Python does.

An object holds what was loaded or what it has flushed itself, and nobody can tell which. A value that the database may
have rounded, cut, padded or turned is therefore never compared, else an object's own write would look like another's.
"""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

__all__ = ["is_exact"]

NEVER: Final = frozenset({"CHAR", "NCHAR", "CITEXT", "Float"})
"""Classes of types that are padded, blind to case, or rounded, and those that derive from them."""


def is_exact(value: Any, kind: Any, dialect: str) -> bool:
    """Whether `value` of a column of SQLAlchemy's type `kind` is what the database has."""
    from sqlalchemy.types import TypeDecorator

    if isinstance(kind, TypeDecorator):
        ways = ("process_bind_param", "process_result_value", "bind_processor", "result_processor")
        if any(getattr(type(kind), way) is not getattr(TypeDecorator, way) for way in ways):
            return False
        kind = kind.impl_instance
    names = [each.__name__ for each in type(kind).__mro__]
    if NEVER.intersection(names) or getattr(kind, "collation", None):
        return False
    known = {**_EVERYWHERE, **_POSTGRESQL} if dialect == "postgresql" else _EVERYWHERE
    family = next((name for name in names if name in known), None)
    return family is not None and (value is None or known[family](value, kind))


def _text(value: Any, kind: Any) -> bool:
    return type(value) is str and (kind.length is None or len(value) <= kind.length)


def _number(value: Any, kind: Any) -> bool:
    if type(value) is not Decimal or not value.is_finite():
        return False
    exponent = value.as_tuple().exponent
    return kind.scale is None or (isinstance(exponent, int) and -exponent <= kind.scale)


def _moment(value: Any, kind: Any) -> bool:
    zoned = type(value) is datetime and value.tzinfo is not None
    return type(value) is datetime and zoned is bool(kind.timezone) and getattr(kind, "precision", None) is None


_EVERYWHERE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Integer": lambda value, _kind: isinstance(value, int),
    "Enum": lambda value, _kind: isinstance(value, Enum) or type(value) is str,
    "String": _text,
    "Boolean": lambda value, _kind: type(value) is bool,
    "Uuid": lambda value, _kind: type(value) is UUID,
}
"""Class of a type -> whether a value of it is exact."""
_POSTGRESQL: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "Numeric": _number,
    "DateTime": _moment,
    "Date": lambda value, _kind: type(value) is date,
}
"""As above; SQLite keeps these as floats, and as texts that can be written in more than one way."""
