"""What lies on disk: the bytes of a ClickHouse folder as they are, and unpacked."""

import struct
from collections.abc import Iterator
from pathlib import Path

import lz4.block  # type: ignore[import-untyped]  # it has no types
import zstandard

__all__ = ["files_with"]

LZ4, ZSTD, NONE = 0x82, 0x90, 0x02
HEAD = 25
"""Checksum (16), method, size with this head of nine bytes, size unpacked."""


def files_with(folder: Path, text: bytes) -> list[str]:
    """Files that hold a text, in their raw bytes or in a block that ClickHouse has compressed."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            data = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:  # parts go while we look
            continue
        if text in data or any(text in block for block in _blocks(data)):
            found.append(str(path.relative_to(folder)))
    return found


def _blocks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + HEAD <= len(data):
        method, size, unpacked = struct.unpack_from("<BII", data, at + 16)
        body = data[at + HEAD : at + 16 + size]
        if method not in (LZ4, ZSTD, NONE) or size <= 9 or len(body) != size - 9:
            return
        if method == LZ4:
            yield lz4.block.decompress(body, uncompressed_size=unpacked)
        elif method == ZSTD:
            yield zstandard.ZstdDecompressor().decompress(body, max_output_size=unpacked)
        at += 16 + size
