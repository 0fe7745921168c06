"""Secrets that were planted in values, and every form in which one could have left the process."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import xxhash

__all__ = ["found_in"]

HASHES = (
    hashlib.md5, hashlib.sha1, hashlib.sha224, hashlib.sha256, hashlib.sha384, hashlib.sha512, hashlib.sha3_256,
    hashlib.blake2s, hashlib.blake2b, xxhash.xxh32, xxhash.xxh64, xxhash.xxh3_64, xxhash.xxh3_128,
)  # fmt: skip
SIZES = (8, 12, 16, 20, 32)


def found_in(data: bytes, secret: str) -> list[str]:
    """The forms of `secret` that stand in `data`: plain, encoded, or as a hash that no key went into."""
    return [name for name, form in _forms(secret) if form in data]


def _forms(secret: str) -> Iterator[tuple[str, bytes]]:
    raw = secret.encode()
    yield "plain", raw
    yield "reversed", raw[::-1]
    yield "UTF-16", secret.encode("utf-16-le")
    yield "JSON", json.dumps(secret)[1:-1].encode()
    yield "URL-encoded", quote(secret, safe="").encode()
    yield "URL-encoded", quote_plus(secret).encode()
    yield from _encoded("", raw)
    for spelled in (raw, secret.lower().encode(), json.dumps(secret).encode()):
        for make in HASHES:
            yield from _digests(make(spelled).digest(), make.__name__)
        for size in SIZES:
            yield from _digests(hashlib.blake2b(spelled, digest_size=size).digest(), f"blake2b {size}")
        yield "crc32", f"{binascii.crc32(spelled):08x}".encode()


def _digests(digest: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    for part in {digest, digest[:16], digest[:8]}:  # whoever cuts one
        yield from _encoded(name, part)


def _encoded(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield f"{name} hex", raw.hex().encode()
    yield f"{name} HEX", raw.hex().upper().encode()
    for shift in range(3) if len(raw) > 16 else (0,):  # where it stands inside something longer
        middle = base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]
        yield f"{name} base64", middle
        yield f"{name} base64", middle.replace(b"+", b"-").replace(b"/", b"_")
