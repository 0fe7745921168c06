"""Prints: what stands for a state where its store gives no version.

A print is a keyed BLAKE2b hash over the bytes as the store would hold them, so an int that was sent and the bytes that
come back give one print. Long values are hashed with xxh3-128 first, and the print is taken over that digest and the
length: never over a silent cut. Values so common that their print names no single state are *weak*: equal prints of
them are still equal content, but link no read to one write.

Source: contract, `noclobber.version.*`.
"""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

__all__ = [
    "encode", "fingerprint", "fingerprint_parts", "is_numeric", "is_weak", "key_identity", "shortened", "size_of",
    "use_key",
]  # fmt: skip

DIRECT_MAX: Final = 4096
"""Bytes up to which a value is hashed directly."""
HELD_MAX: Final = 65_536
"""Bytes of a value that may wait for the drain as they are."""
PRINT_BYTES: Final = 16
WEAK_WORD_MAX: Final = 8
"""Words and numbers of up to so many bytes are too common to name one state."""
_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_BEGINS: Final = frozenset({bytes((each,)) for each in b"0123456789.+-"})
_WORD = re.compile(rb"[\w.:+-]*", re.ASCII)

_key = b""
_key_id = ""
_keyed = hashlib.blake2b(digest_size=PRINT_BYTES)
"""A hash that has taken in the key already: to copy it costs a quarter of beginning anew."""


def use_key(key: bytes) -> bytes:
    """Take all prints under `key` (32 bytes, or none) from now on; returns the key before."""
    from noclobber.keys import key_id

    global _key, _key_id, _keyed  # noqa: PLW0603  one a process
    before = _key
    _key, _key_id = key, key_id(key) if key else ""
    _keyed = hashlib.blake2b(key=key, digest_size=PRINT_BYTES)
    return before


def key_identity() -> str:
    """Name of the key in use, empty where none was set."""
    return _key_id


class _Short(bytes):
    """What stands for a long value: it has the same print.

    Attributes:
        size: bytes of the value.
    """

    size: int


def shortened(data: bytes) -> bytes:
    """What may wait in the place of `data`, where that is too long to be held: it has the same print and size."""
    if len(data) <= HELD_MAX:
        return data
    short = _Short(_digest(data))
    short.size = len(data)
    return short


def size_of(data: bytes) -> int:
    """Bytes of a value, or of what something short stands for."""
    return data.size if type(data) is _Short else len(data)


def _digest(data: bytes | bytearray) -> bytes:
    import xxhash

    return b"long:%d:" % len(data) + xxhash.xxh3_128_digest(data)


def fingerprint(data: bytes | bytearray) -> str:
    """Keyed print of `data`, 32 hex digits."""
    if len(data) > DIRECT_MAX:
        data = _digest(data)
    hashed = _keyed.copy()
    hashed.update(data)
    return hashed.hexdigest()


def fingerprint_parts(parts: Mapping[str, str]) -> str:
    """Print of several parts' prints, the same in every order of the parts."""
    joined = "\x00".join(f"{name}\x01{parts[name]}" for name in sorted(parts))
    hashed = _keyed.copy()
    hashed.update(joined.encode())
    return hashed.hexdigest()


def is_weak(data: bytes) -> bool:
    """Whether `data` is null, empty, a boolean, a small number or a short word."""
    return len(data) <= WEAK_WORD_MAX and _WORD.fullmatch(data) is not None


def is_numeric(data: bytes) -> bool:
    """Whether `data` is the text of one number."""
    return len(data) <= 64 and data[:1] in _BEGINS and _NUMBER.fullmatch(data) is not None


def encode(value: object) -> bytes:
    """Canonical bytes of a Python value: what Redis or an SQL driver would send for it.

    Text is UTF-8, numbers are their shortest decimal text, containers are compact JSON with sorted keys. What has no
    such form is its `repr`, which is equal for equal simple objects.
    """
    match value:
        case bytes():
            return value
        case str():
            return value.encode("utf-8", "surrogatepass")
        case bytearray() | memoryview():
            return bytes(value)
        case None:
            return b""
        case bool():
            return b"true" if value else b"false"
        case int():
            return b"%d" % value
        case float():
            return repr(value).encode()
        case Decimal():
            return str(value).encode()
    return _structure(value)


def _structure(value: object) -> bytes:
    import json

    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_shown, ensure_ascii=False).encode(
            "utf-8", "surrogatepass"
        )
    except (TypeError, ValueError, RecursionError):
        return repr(value).encode("utf-8", "surrogatepass")


def _shown(value: object) -> str:
    """What stands for an object that JSON does not know: an array's numbers, since its `repr` leaves some out."""
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return f"{value.dtype}{getattr(value, 'shape', '')}:{value.tobytes().hex()}"
    return repr(value)
