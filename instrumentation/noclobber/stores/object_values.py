"""Python objects as states of a store that pickles them: their bytes for a print, taken at the call.

An object that its author may go on changing has to be looked at before the call returns; texts, bytes and numbers are
kept as they are. Two objects have equal bytes where their content is equal, whatever their identity; what would not
hold that has no bytes and so no version: an object whose `repr` is its address, or is cut (`...`).

Source: contract, `noclobber.version.verbatim`; capture.md section 2.1.
"""

import json
from typing import Any, Final

from noclobber.access import AttributeValue
from noclobber.contract import Attr, VersionKind
from noclobber.versions import encode, fingerprint, is_numeric, is_weak

__all__ = ["UNKNOWN", "Kept", "kept", "state"]

ITEMS_MAX: Final = 100_000
"""Elements of the largest container that is looked at: the caller waits for it."""
_AS_THEY_ARE: Final = frozenset({str, bytes, int})


class Kept:
    """An object at one moment: its bytes, None where it has none. `verbatim`: whether a store gives it back so."""

    __slots__ = ("data", "verbatim")

    def __init__(self, data: bytes | None, *, verbatim: bool) -> None:
        self.data = data
        self.verbatim = verbatim


UNKNOWN: Final = Kept(None, verbatim=False)


def kept(value: Any) -> Kept:
    """`value` as it is now."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return Kept(encode(value), verbatim=True)
    try:
        if kind is bool or kind is float or value is None:
            return Kept(encode(value), verbatim=False)
        if kind in (dict, list, tuple, set, frozenset) and len(value) > ITEMS_MAX:
            return UNKNOWN
        return Kept(_structure(value), verbatim=False)
    except Exception:  # an object of somebody's that can't be shown
        return UNKNOWN


def _structure(value: Any) -> bytes:
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return _array(value).encode()
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_shown, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _shown(value: Any) -> Any:
    """What stands for an object that JSON does not know."""
    if isinstance(value, bytes | bytearray):
        return ["bytes", bytes(value).hex()]
    if isinstance(value, set | frozenset):
        return ["set", sorted(json.dumps(each, sort_keys=True, default=_shown) for each in value)]
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return _array(value)
    text = repr(value)
    if " at 0x" in text or "..." in text:
        raise ValueError("an object that does not show its content")
    return [type(value).__qualname__, text]


def _array(value: Any) -> str:
    return f"{value.dtype}{tuple(value.shape)}:{value.tobytes().hex()}"


def state(value: Kept, attributes: dict[str, AttributeValue], name: str) -> str | None:
    """Put the print of `value` under `name`, with what is known about it; returns the print."""
    if value.data is None:
        return None
    version = fingerprint(value.data)
    attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
    attributes[name] = version
    attributes[Attr.SIZE] = len(value.data)
    if is_weak(value.data) or value.data in (b"[]", b"{}"):
        attributes[Attr.VERSION_WEAK] = True
    if is_numeric(value.data):
        attributes[Attr.CONTENT_NUMERIC] = True
    if not value.verbatim:
        attributes[Attr.VERSION_VERBATIM] = False
    return version
